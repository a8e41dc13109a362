//! Checks of a configuration that the types do not express.

use super::{Config, Globs, Limits, LinearBuckets, Prometheus, TargetConfig};
use crate::metric::to_metric_chars;
use std::collections::{HashMap, HashSet};
use usdt_attach::filter::{Filter, Subject};

impl Config {
    /// Checks what the types do not express: names, filters, labels, limits and the target.
    ///
    /// # Errors
    ///
    /// Fails with a message that starts with the entry, such as `count of app:*: …`.
    ///
    /// # Examples
    ///
    /// ```
    /// use usdt_export::config::{Config, Count, Globs};
    ///
    /// let count = Count { probes: Globs(vec!["app:*".to_owned()]), ..Count::default() };
    /// let mut config = Config { count: vec![count], ..Config::default() };
    /// assert_eq!(config.check(), Ok(()));
    /// config.count[0].filter = Some("status ==".to_owned());
    /// assert!(config.check().unwrap_err().starts_with("count of app:*: "));
    /// ```
    pub fn check(&self) -> Result<(), String> {
        let mut names = HashSet::new();
        for count in &self.count {
            check_probes("count", &count.probes)?;
            let entry = format!("count of {}", count.probes);
            check_name(&entry, &mut names, &count.name)?;
            check_labels(&entry, &count.labels)?;
            check_expressions(&entry, &count.filter, &count.labels)?;
        }
        for hist in &self.hist {
            check_probes("hist", &hist.probes)?;
            let entry = format!("hist of {}", hist.probes);
            if let Some(LinearBuckets { start, end, width }) = hist.buckets
                && (start >= end || width == 0)
            {
                return Err(format!(
                    "{entry}: buckets: `start` must be below `end`, and `width` at least 1"
                ));
            }
            check_name(&entry, &mut names, &hist.name)?;
            check_labels(&entry, &hist.labels)?;
            check_expressions(&entry, &hist.filter, hist.labels.iter().chain([&hist.value]))?;
        }
        for latency in &self.latency {
            let entry = format!("latency of {}", latency.end);
            check_name(&entry, &mut names, &latency.name)?;
            check_labels(&entry, &latency.labels)?;
            let subjects = latency.labels.iter().chain(&latency.key);
            check_expressions(&entry, &latency.filter, subjects)?;
        }
        self.limits.check()?;
        if let Some(target) = &self.target {
            target.check()?;
        }
        if let Some(prometheus) = &self.prometheus {
            Prometheus::parse_address(&prometheus.listen)
                .map_err(|problem| format!("prometheus: `listen`: {problem}"))?;
        }
        match &self.otlp {
            Some(otlp) if !is_collector_url(&otlp.endpoint) => Err(format!(
                "otlp: `endpoint` must be http://HOST:PORT, not `{}`; for TLS, run a collector on this host",
                otlp.endpoint
            )),
            None if !self.span.is_empty() => {
                Err("span: spans need a collector; add [otlp] with an `endpoint`".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl Limits {
    fn check(&self) -> Result<(), String> {
        if self.series == 0 || self.open_spans == 0 || self.queue == 0 {
            return Err(
                "limits: `series`, `open-spans` and `queue` must each be at least 1".to_owned()
            );
        }
        let is_valid = |size: &u32| size.is_power_of_two() && (1 << 16..=1 << 30).contains(size);
        if let Some(size) = self.buffer.filter(|size| !is_valid(size)) {
            return Err(format!(
                "limits: `buffer` must be a power of two from 65536 to 1073741824, not {size}"
            ));
        }
        Ok(())
    }
}

impl TargetConfig {
    fn check(&self) -> Result<(), String> {
        let fields = [!self.pids.is_empty(), self.exe.is_some(), self.cgroup.is_some(), self.all];
        if fields.iter().filter(|is_set| **is_set).count() == 1 {
            return Ok(());
        }
        Err("target: set exactly one of `pids`, `exe`, `cgroup` and `all`".to_owned())
    }
}

/// Whether a URL is `http://HOST:PORT`, with a path or without.
fn is_collector_url(url: &str) -> bool {
    let parsed = url.parse::<ureq::http::Uri>();
    url.starts_with("http://") && parsed.is_ok_and(|uri| uri.host().is_some_and(|h| !h.is_empty()))
}

fn check_probes(table: &str, probes: &Globs) -> Result<(), String> {
    if probes.0.is_empty() {
        return Err(format!("{table}: `probes` is empty; name at least one glob"));
    }
    Ok(())
}

/// Checks that a name is valid and that no earlier entry has it.
fn check_name(
    entry: &str,
    names: &mut HashSet<String>,
    name: &Option<String>,
) -> Result<(), String> {
    let Some(name) = name else { return Ok(()) };
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if name.is_empty()
        || name.starts_with(|c: char| c.is_ascii_digit())
        || !name.chars().all(is_valid)
    {
        return Err(format!(
            "{entry}: `{name}` is not a metric name; use letters, digits, `_` and `:`, and no digit at the start"
        ));
    }
    if !names.insert(name.clone()) {
        return Err(format!(
            "{entry}: another entry has the name `{name}`; choose a different one"
        ));
    }
    Ok(())
}

/// Checks that the labels have different names in Prometheus: `a.b` is `a_b` there.
fn check_labels(entry: &str, labels: &[String]) -> Result<(), String> {
    let mut names: HashMap<String, &String> = HashMap::new();
    for label in labels {
        let name = to_metric_chars(label);
        if let Some(other) = names.insert(name.clone(), label) {
            return Err(format!(
                "{entry}: the labels `{other}` and `{label}` are both exported as `{name}`; leave one out"
            ));
        }
    }
    Ok(())
}

/// Checks a filter and the names of labels, values and keys.
fn check_expressions<'a>(
    entry: &str,
    filter: &Option<String>,
    subjects: impl IntoIterator<Item = &'a String>,
) -> Result<(), String> {
    if let Some(filter) = filter {
        Filter::parse(filter).map_err(|error| format!("{entry}: filter: {error}"))?;
    }
    for subject in subjects {
        Subject::parse(subject).map_err(|error| format!("{entry}: {error}"))?;
    }
    Ok(())
}
