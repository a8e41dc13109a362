//! The paths of functions that a configuration names.

use super::Config;
use indexmap::IndexSet;
use usdt_attach::discover::FunctionOptions;
use usdt_attach::filter::{Filter, Subject};

impl Config {
    /// Returns the options of the search for functions, for
    /// [`add_functions`](usdt_attach::discover::add_functions): the paths that entries name are read.
    pub fn function_options(&self) -> FunctionOptions {
        let mut used = IndexSet::new();
        let mut add = |filter: &Option<String>, names: &mut dyn Iterator<Item = &String>| {
            // `check` has reported what is not valid.
            let filter = filter.as_deref().and_then(|filter| Filter::parse(filter).ok());
            used.extend(filter.iter().flat_map(Filter::names).map(str::to_owned));
            let subjects = names.filter_map(|name| Subject::parse(name).ok());
            used.extend(subjects.map(|subject| subject.name));
        };
        for count in &self.count {
            add(&count.filter, &mut count.labels.iter());
        }
        for hist in &self.hist {
            add(&hist.filter, &mut hist.labels.iter().chain([&hist.value]));
        }
        for latency in &self.latency {
            add(&latency.filter, &mut latency.labels.iter().chain(&latency.key));
        }
        for span in &self.span {
            let ids = span.trace.iter().chain(&span.span_id).chain(&span.parent_id);
            let names = ids.chain(&span.key).chain(&span.error);
            add(&None, &mut names.chain(span.attributes.iter().flatten()));
        }
        FunctionOptions { used: used.into_iter().collect(), ..FunctionOptions::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_paths_that_entries_name() {
        let config: Config = toml::from_str(
            r#"
            [[count]]
            probes = "func:main.f"
            labels = ["r.URL.Path", "names[2]"]
            filter = "err.(*fs.PathError).Op == 'open' && len(names) > 2"
            [[hist]]
            probes = "func:main.f"
            value = "len(names)"
            [[latency]]
            start = "func:main.f"
            end = "func:main.f%return"
            labels = ["r.URL.Path", "ret0.n"]
            [[span]]
            start = "func:main.f"
            end = "func:main.f%return"
            key = "r.id"
            error = "ret1"
            attributes = ["r.Host"]
            "#,
        )
        .unwrap();
        let names = [
            "err.(*fs.PathError).Op",
            "len(names)",
            "r.URL.Path",
            "names[2]",
            "ret0.n",
            "r.id",
            "ret1",
            "r.Host",
        ];
        assert_eq!(config.function_options().used, names);
        assert_eq!(
            config.check().unwrap_err(),
            "span: spans need a collector; add [otlp] with an `endpoint`"
        );
    }

    #[test]
    fn rejects_labels_that_are_exported_under_one_name() {
        let text = "[[count]]\nprobes = \"func:main.f\"\nlabels = [\"a.b\", \"a_b\"]\n";
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!(
            config.check().unwrap_err(),
            "count of func:main.f: the labels `a.b` and `a_b` are both exported as `a_b`; leave one out"
        );
    }
}
