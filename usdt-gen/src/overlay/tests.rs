use super::*;
use std::collections::HashSet;

#[test]
fn every_probe_of_the_catalogue_is_fired_somewhere() {
    assert_eq!(names(), ["go", "net_http", "sql", "tls", "net"]);
    for provider in gobinary::catalogue::providers() {
        let model = catalogue::model(provider.name).unwrap();
        let probes = &model.providers[provider.name].probes;
        assert_eq!(probes.len(), provider.probes.len());
        let edits = &EDITS[provider.name];
        for file in &edits.files {
            assert!(TEXTS.iter().any(|(name, _)| *name == file.text), "{}", file.text);
        }
        let fired: HashSet<&str> =
            edits.edits.iter().flat_map(|e| &e.probes).map(String::as_str).collect();
        let declared: HashSet<&str> = provider.probes.iter().map(|p| p.name).collect();
        assert_eq!(fired, declared);
    }
}

fn edit(places: &[(&str, &str)]) -> patch::Edit {
    let place = |(find, put): &(&str, &str)| format!("[[place]]\nfind = {find:?}\nput = {put:?}\n");
    let text: String = places.iter().map(place).collect();
    toml::from_str(&format!("file = \"a/b.go\"\nprobes = [\"one\", \"two\"]\n{text}")).unwrap()
}

#[test]
fn one_place_once() {
    let edit = edit(&[("\tb()\n", "\tb()\n\tnew()\n"), ("\tc()\n\td()\n", "\tnew()\n")]);
    assert_eq!(edit.apply("p", "\ta()\n\tb()\n\tx()\n").unwrap(), "\ta()\n\tb()\n\tnew()\n\tx()\n");
    assert_eq!(edit.apply("p", "\tc()\n\td()\n").unwrap(), "\tnew()\n");
    // Only whole lines are places.
    assert_eq!(
        edit.apply("p", "\tb()\n\tif x {\t\tb()\n").unwrap(),
        "\tb()\n\tnew()\n\tif x {\t\tb()\n"
    );
}

#[test]
fn what_differs_is_said() {
    let edit = edit(&[("\tb()\n", ""), ("\tc()\n\td()\n", "")]);
    let said = |text: &str| edit.apply("p", text).unwrap_err().to_string();
    let head =
        "a/b.go is not as this version of usdt-gen knows it, so p:one, p:two cannot be added: ";
    let tail = "a newer usdt-gen may know this release of Go; --providers leaves a provider out";
    assert_eq!(
        said("x\n\tc()\n\te()\n"),
        format!("{head}line 3 differs\n  wanted: d()\n  found:  e()\n{tail}")
    );
    assert_eq!(
        said("\tb()\n\tb()\n"),
        format!("{head}the place is there 2 times:\n\n\tb()\n{tail}")
    );
    assert_eq!(said("x\n"), format!("{head}this is nowhere in it:\n\n\tc()\n\td()\n{tail}"));
}

/// `docs/catalogue.md` is written from the catalogue (`cargo xtask golden`).
#[test]
fn the_documented_catalogue_is_this_one() {
    const HEAD: &str = "\
# The catalogue

The probes of Go's runtime and standard library, by whichever way a binary has them ([runtime-native probes](runtime-native.md)).
`cargo xtask golden` writes this file from the data in `gobinary/src/catalogue`. Function entries give what a function's beginning shows:
the probes and arguments named at the end.

";
    let mut text = HEAD.to_owned();
    let mut providers = Vec::new();
    for name in names() {
        providers.extend(catalogue::model(name).unwrap().schema().providers);
    }
    text.push_str(&crate::docgen::reference(&stapsdt::schema::Schema { version: 1, providers }));
    text.push_str(
        "\n# By function entries\n\n| probe | function | arguments |\n| --- | --- | --- |\n",
    );
    for provider in gobinary::catalogue::providers() {
        for (probe, entry) in
            provider.probes.iter().flat_map(|p| p.entries.iter().map(move |e| (p, e)))
        {
            let args: Vec<&str> = entry.arg_names().collect();
            let (provider, probe, function) = (provider.name, probe.name, entry.function);
            text.push_str(&format!(
                "| `{provider}:{probe}` | `{function}` | {} |\n",
                args.join(", ")
            ));
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/catalogue.md");
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&file, &text).unwrap();
    }
    assert!(std::fs::read_to_string(&file).unwrap_or_default() == text, "run `cargo xtask golden`");
}

proptest::proptest! {
    /// Whatever the source: a place that is there once is changed and nothing else; else it is said why not.
    #[test]
    fn only_the_place_changes(before in "([ab}\t]{0,3}\n){0,6}", behind in "([ab}\t]{0,3}\n){0,6}") {
        let edit = edit(&[("\tplace()\n}\n", "\tnew()\n}\n")]);
        let changed = edit.apply("p", &format!("{before}\tplace()\n}}\n{behind}")).unwrap();
        proptest::prop_assert_eq!(changed, format!("{before}\tnew()\n}}\n{behind}"));
        let mismatch = edit.apply("p", &format!("{before}{behind}")).unwrap_err();
        proptest::prop_assert!(mismatch.found == 0 && !mismatch.to_string().is_empty());
    }

    #[test]
    fn any_source_is_refused_or_changed(text in "\\PC*", lines in "(\tplace\\(\\)\n|}\n|x){0,9}") {
        let edit = edit(&[("\tplace()\n}\n", ""), ("}\n", "")]);
        for text in [text, lines] {
            if let Err(mismatch) = edit.apply("p", &text) {
                proptest::prop_assert!(!mismatch.to_string().is_empty());
            }
        }
    }
}
