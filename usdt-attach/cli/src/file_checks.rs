//! The checks of `doctor` that describe a file: what it is, whether it is sealed, and what could be
//! done next.

use crate::checks::{Finding, State};
use crate::output::text::with_unit;
use indexmap::IndexSet;
use usdt_attach::discover::{FileFacts, Probe, ScannedObject, Source, file_facts};
use usdt_attach::error::Escaped;

/// Describes a file, and says whether other tracers see its probes.
pub(crate) fn describe(object: &ScannedObject) -> Vec<Finding> {
    let facts = file_facts(object);
    let path = object.object.path.to_string_lossy().into_owned();
    let finding = |state, detail: String, hint: Option<String>| Finding {
        check: path.clone(),
        state,
        detail,
        hint,
    };
    let shown = Escaped::new(&object.object.path).to_string();
    let mut out = vec![finding(State::Ok, program(&facts), None)];
    out.push(if object.probes.is_empty() {
        without_probes(&facts, &shown, finding)
    } else {
        with_probes(&object.probes, &shown, finding)
    });
    out
}

fn program(facts: &FileFacts) -> String {
    if !facts.is_go {
        return "not a Go program".to_owned();
    }
    let version = facts.go_version.as_deref().unwrap_or("of an unknown version");
    let dwarf = if facts.has_dwarf { "with DWARF" } else { "without DWARF" };
    format!("a Go program ({version}), {dwarf}")
}

fn without_probes(
    facts: &FileFacts,
    path: &str,
    finding: impl FnOnce(State, String, Option<String>) -> Finding,
) -> Finding {
    let (state, detail, hint) = match (facts.is_go, facts.function_entries) {
        (true, 0) => (
            State::Degraded,
            "no probes".to_owned(),
            "build it with a package of probes: `usdt-gen init` creates one".to_owned(),
        ),
        (true, entries) => (
            State::Ok,
            format!(
                "no probes of its own; {} of Go's runtime and library can stand in",
                with_unit(entries as u64, "function")
            ),
            format!(
                "`usdt-attach list {path} 'go:*'` lists them; `usdt-gen init` creates a package of probes"
            ),
        ),
        (false, _) => (
            State::Degraded,
            "no probes".to_owned(),
            "probes may be in its libraries: pass -p PID while it runs".to_owned(),
        ),
    };
    finding(state, detail, Some(hint))
}

fn with_probes(
    probes: &[std::sync::Arc<Probe>],
    path: &str,
    finding: impl FnOnce(State, String, Option<String>) -> Finding,
) -> Finding {
    let names: IndexSet<String> = probes.iter().map(|probe| probe.full_name()).collect();
    let providers: IndexSet<&str> = probes.iter().map(|probe| probe.provider.as_str()).collect();
    let providers: Vec<&str> = providers.into_iter().collect();
    let count = format!(
        "{} of {} ({})",
        with_unit(names.len() as u64, "probe"),
        with_unit(providers.len() as u64, "provider"),
        shortened(&providers)
    );
    if probes.iter().any(|probe| probe.source == Source::Blob) {
        let hint = format!(
            "`usdt-gen seal {path}` writes the notes that bpftrace, bcc, perf, gdb and SystemTap read"
        );
        return finding(
            State::Ok,
            format!("not sealed: {count}, which only usdt-attach finds"),
            Some(hint),
        );
    }
    let sealed = if probes.iter().any(|probe| probe.generated) { "sealed: " } else { "" };
    finding(State::Ok, format!("{sealed}{count}, in notes that every tracer reads"), None)
}

/// The first names, and the number of the others.
fn shortened(names: &[&str]) -> String {
    const SHOWN: usize = 4;
    let first: Vec<&str> = names.iter().take(SHOWN).copied().collect();
    match names.len().saturating_sub(SHOWN) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_can_be_done_with_a_go_program_without_probes() {
        let finding = |state, detail, hint| Finding { check: "f".into(), state, detail, hint };
        let go = FileFacts { is_go: true, function_entries: 17, ..FileFacts::default() };
        let found = without_probes(&go, "./app", finding);
        assert_eq!(found.state, State::Ok);
        assert!(found.hint.unwrap().starts_with("`usdt-attach list ./app 'go:*'`"));
        assert_eq!(without_probes(&FileFacts::default(), "f", finding).state, State::Degraded);
    }

    #[test]
    fn shortens_long_lists_of_providers() {
        assert_eq!(shortened(&["a", "b"]), "a, b");
        assert_eq!(shortened(&["a", "b", "c", "d", "e", "f"]), "a, b, c, d and 2 more");
    }
}
