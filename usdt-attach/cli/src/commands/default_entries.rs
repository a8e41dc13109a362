//! What `export` exports without a configuration.

use indexmap::IndexMap;
use usdt_attach::discover::select::Selected;
use usdt_export::config::{Config, Count, CountedElsewhere, Globs, Latency, Span};
use usdt_export::pairs;

/// Arguments that are labels, by provider: those with few values that distinguish requests.
const LABELS: &[(&str, &[&str])] =
    &[("net_http", &["method", "route", "status"]), ("grpc", &["method", "code"])];

/// Pairs whose names do not show that they are the start and the end of the same work.
const PAIRS: &[(&str, &str, &str)] =
    &[("net_http", "client_request_start", "client_response_received")];

/// Adds entries for probes that match the globs: a count of each, and a latency histogram of each
/// pair of start and end that there is already. With a collector, each pair is a span, too.
pub(super) fn add_default_entries(config: &mut Config, globs: &[String], selected: &[Selected]) {
    let mut providers: IndexMap<&str, Vec<&str>> = IndexMap::new();
    for one in selected {
        let names = providers.entry(&one.probe.provider).or_default();
        if !names.contains(&one.probe.name.as_str()) {
            names.push(&one.probe.name);
        }
    }
    add_counts(config, globs, selected, &providers);
    for (provider, names) in &providers {
        for name in names {
            let Some(end) = end_of(provider, name, names) else { continue };
            let (start, end) = (format!("{provider}:{name}"), format!("{provider}:{end}"));
            let key = common_key(selected, &start, &end);
            let latency = Latency {
                start: start.clone(),
                end: end.clone(),
                key: key.clone(),
                labels: labels(selected, provider, &[&start, &end]),
                ..Latency::default()
            };
            config.latency.push(latency);
            if config.otlp.is_some() {
                config.span.push(Span { start, end, key, ..Span::default() });
            }
        }
    }
}

/// Adds an entry for each set of labels, and one for all other probes that match the globs, also
/// those of files that are loaded later.
fn add_counts(
    config: &mut Config,
    globs: &[String],
    selected: &[Selected],
    providers: &IndexMap<&str, Vec<&str>>,
) {
    let mut counts: IndexMap<Vec<String>, Vec<String>> = IndexMap::new();
    for (provider, names) in providers {
        for name in names {
            let full_name = format!("{provider}:{name}");
            let labels = labels(selected, provider, &[&full_name]);
            if !labels.is_empty() {
                counts.entry(labels).or_default().push(full_name);
            }
        }
    }
    let all = match globs {
        [] => vec!["*".to_owned()],
        globs => globs.to_vec(),
    };
    let labeled = counts.iter().flat_map(|(labels, probes)| {
        let counted =
            |probe: &String| CountedElsewhere { probe: probe.clone(), labels: labels.clone() };
        probes.iter().map(counted)
    });
    let except = labeled.collect();
    config.count.push(Count { probes: Globs(all), except, ..Count::default() });
    for (labels, probes) in counts {
        config.count.push(Count { probes: Globs(probes), labels, ..Count::default() });
    }
}

fn end_of<'a>(provider: &str, start: &str, names: &[&'a str]) -> Option<&'a str> {
    let listed = PAIRS.iter().find(|(p, s, _)| *p == provider && *s == start);
    match listed {
        Some((_, _, end)) => names.iter().copied().find(|name| name == end),
        None => pairs::end(start, names),
    }
}

/// The labels that one of the probes has. Of a probe in several files, each must have the argument.
fn labels(selected: &[Selected], provider: &str, probes: &[&str]) -> Vec<String> {
    let Some((_, names)) = LABELS.iter().find(|(name, _)| *name == provider) else {
        return Vec::new();
    };
    let is_label = |name: &&&str| probes.iter().any(|probe| all_have(selected, probe, name));
    names.iter().filter(is_label).map(|name| (*name).to_owned()).collect()
}

fn all_have(selected: &[Selected], full_name: &str, argument: &str) -> bool {
    let mut files = selected.iter().filter(|s| s.probe.full_name() == full_name).peekable();
    files.peek().is_some()
        && files.all(|one| {
            let schema = one.probe.schema.as_ref();
            schema.is_some_and(|schema| schema.args.iter().any(|arg| arg.name == argument))
        })
}

/// Returns `id` if both probes have an argument of that name. Without it, starts and ends are
/// paired by goroutine.
fn common_key(selected: &[Selected], start: &str, end: &str) -> Option<String> {
    let has_id = |full_name| all_have(selected, full_name, "id");
    (has_id(start) && has_id(end)).then(|| "id".to_owned())
}
