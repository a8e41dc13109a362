//! The choice between the injected probes of a function and its code.
//!
//! A file can have both: [`add_functions`](crate::discover::add_functions) finds them under one name,
//! and a plan uses one of them, or each call would count twice.

use super::{Mode, Options};
use crate::discover::select::{RETURN, Selected};
use crate::discover::{ObjectId, Source};
use std::collections::HashSet;

/// When injected probes are used for functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UseInjected {
    /// For each function that has one.
    Each,
    /// Only if all functions have one at both of their ends. The starts and ends of injected probes are
    /// paired by goroutine, those in the functions' code by frame, which also shows that a panic has
    /// ended calls. A session has one way.
    All,
    /// Never: a latency pairs injected probes as a stack of each goroutine, which is complete only if
    /// every call is taken.
    Never,
}

/// The sites that are used, and what to tell about the others.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) selected: Vec<Selected>,
    /// Functions that are not traced, each with the reason.
    pub(super) skipped: Vec<(String, &'static str)>,
    /// Why injected probes are not used although there are some.
    pub(super) message: Option<String>,
}

impl Options {
    /// Returns the sites that a plan uses: each function with injected probes is traced at these or in
    /// its code. [`Plan::new`](super::Plan::new) makes the same choice.
    pub fn choose_sites(&self, selected: &[Selected]) -> Vec<Selected> {
        choose(selected, self).selected
    }

    fn use_injected(&self) -> UseInjected {
        let takes_all =
            self.filter.is_none() && self.sample.is_none_or(|n| n <= 1) && self.rate.is_none();
        match &self.mode {
            Mode::Latency { key: None, .. } if takes_all => UseInjected::All,
            Mode::Latency { .. } => UseInjected::Never,
            Mode::Record if self.call_frames => UseInjected::All,
            _ => UseInjected::Each,
        }
    }
}

/// Chooses the sites of functions; all other sites are used.
pub(super) fn choose(selected: &[Selected], options: &Options) -> Choice {
    let is_at_code = |one: &Selected| one.probe.source == Source::Function;
    let is_injected = |one: &Selected| one.probe.injected.is_some();
    let mut choice = Choice { selected: selected.to_vec(), skipped: Vec::new(), message: None };
    let Some(example) = selected.iter().find(|one| is_injected(one)) else { return choice };
    let at_code: HashSet<_> = selected.iter().filter(|one| is_at_code(one)).map(name).collect();
    let injected: HashSet<_> = selected.iter().filter(|one| is_injected(one)).map(name).collect();
    let use_injected = options.use_injected();
    let uses_injected = match use_injected {
        UseInjected::Each => true,
        UseInjected::All => at_code.is_subset(&injected),
        UseInjected::Never => false,
    };
    if uses_injected {
        choice.selected.retain(|one| !is_at_code(one) || !injected.contains(&name(one)));
        return choice;
    }
    let why = match use_injected {
        UseInjected::Never => {
            "its code cannot be attached to, and its injected probes cannot be measured with a filter, a sample, a rate or a key"
        }
        _ => {
            choice.message = Some(format!(
                "the injected probe of {} is not used: not all of the functions have injected probes for the entry and the return",
                example.probe.full_name()
            ));
            "its injected probe cannot be measured together with functions that have none; measure it with another command"
        }
    };
    for one in choice.selected.extract_if(.., |one| is_injected(one)) {
        if !at_code.contains(&name(&one)) {
            choice.skipped.push((one.probe.full_name(), why));
        }
    }
    choice
}

/// Returns what identifies a function's entry or returns.
fn name(one: &Selected) -> (ObjectId, &str) {
    (one.object.id, &one.probe.name)
}

/// Returns the name of the function of a function probe.
pub(super) fn function_name(probe: &str) -> &str {
    probe.strip_suffix(RETURN).unwrap_or(probe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::select::Glob;
    use crate::discover::{Probe, sample};
    use crate::filter::Filter;
    use crate::plan::{Plan, Scale};
    use gobinary::symbol_pattern::FUNCTIONS;

    fn function(name: &str, injected: Option<&str>) -> Selected {
        sample::selected(Probe {
            provider: FUNCTIONS.into(),
            name: name.into(),
            source: if injected.is_some() { Source::Note } else { Source::Function },
            injected: injected.map(str::to_owned),
            goid_offset: Some(152),
            ..sample::probe("")
        })
    }

    /// `g` with injected probes, and `f` without them, in their code.
    fn sites() -> Vec<Selected> {
        vec![
            function("g", Some("g__entry")),
            function("g%return", Some("g__return")),
            function("f", None),
            function("f%return", None),
            function("g", None),
            function("g%return", None),
        ]
    }

    fn latency() -> Options {
        let (start, end) = (Glob::new("func:*"), Glob::new("func:*%return"));
        let mode = Mode::Latency { start, end, key: None, by: Vec::new(), scale: Scale::Log2 };
        Options { mode, ..Options::default() }
    }

    /// The names of the sites, with `!` at injected probes.
    fn names(choice: &Choice) -> Vec<String> {
        let mark = |one: &Selected| if one.probe.injected.is_some() { "!" } else { "" };
        choice.selected.iter().map(|one| format!("{}{}", one.probe.name, mark(one))).collect()
    }

    #[test]
    fn takes_one_site_of_each_function() {
        let choice = choose(&sites(), &Options::default());
        assert_eq!(names(&choice), ["g!", "g%return!", "f", "f%return"]);
        assert!(choice.skipped.is_empty() && choice.message.is_none());
    }

    #[test]
    fn measures_times_in_one_way() {
        let of_code = ["f", "f%return", "g", "g%return"];
        let choice = choose(&sites(), &latency());
        assert_eq!(names(&choice), of_code);
        let message = choice.message.unwrap();
        assert!(message.starts_with("the injected probe of func:g is not used"), "{message}");
        let mut of_g = sites();
        of_g.retain(|one| one.probe.name.starts_with('g'));
        assert_eq!(names(&choose(&of_g, &latency())), ["g!", "g%return!"]);
        let filter = Some(Filter::parse("pid > 1").unwrap());
        let filtered = choose(&of_g, &Options { filter, ..latency() });
        assert_eq!(names(&filtered), ["g", "g%return"]);
        assert!(filtered.message.is_none());
        let (plan, warnings) = Plan::new(&of_g, &latency()).unwrap();
        assert_eq!(plan.probes().len(), 1, "a row has the name of the function");
        assert_eq!((plan.probes()[0].name.as_str(), warnings.len()), ("g", 0));
    }

    #[test]
    fn skips_functions_that_have_only_the_other_site() {
        let without_code = &sites()[..4];
        let choice = choose(without_code, &latency());
        assert_eq!(names(&choice), ["f", "f%return"]);
        let skipped: Vec<&str> = choice.skipped.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(skipped, ["func:g", "func:g%return"]);
        assert_eq!(Plan::new(without_code, &latency()).unwrap().1.len(), 3);
    }

    #[test]
    fn records_calls_in_one_way() {
        let options = Options { call_frames: true, ..Options::default() };
        assert_eq!(names(&choose(&sites(), &options)), ["f", "f%return", "g", "g%return"]);
        let mut of_g = sites();
        of_g.retain(|one| one.probe.name.starts_with('g'));
        assert_eq!(names(&choose(&of_g, &options)), ["g!", "g%return!"]);
        let without_return = [&of_g[..1], &of_g[2..]].concat();
        assert_eq!(names(&choose(&without_return, &options)), ["g", "g%return"]);
        assert_eq!(names(&choose(&without_return, &Options::default())), ["g!", "g%return"]);
    }
}
