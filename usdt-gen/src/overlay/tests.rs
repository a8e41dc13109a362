//! Tests of the edits, and of the catalog page that documents their probes.

use super::*;
use std::collections::HashSet;

#[test]
fn fires_every_probe_of_the_catalog() {
    assert_eq!(provider_names(), ["go", "net_http", "sql", "tls", "net"]);
    for provider in gobinary::catalog::providers() {
        let model = catalog::model(provider.name).unwrap();
        let probes = &model.providers[provider.name].probes;
        assert_eq!(probes.len(), provider.probes.len());
        let edits = &EDITS[provider.name];
        for file in &edits.files {
            assert!(ADDED_SOURCES.iter().any(|(name, _)| *name == file.source), "{}", file.source);
        }
        let fired: HashSet<&str> =
            edits.edits.iter().flat_map(|e| &e.probes).map(String::as_str).collect();
        let declared: HashSet<&str> = provider.probes.iter().map(|p| p.name).collect();
        assert_eq!(fired, declared);
    }
}

/// Returns an edit of `a/b.go` with pairs of anchor and replacement.
fn edit(replacements: &[(&str, &str)]) -> patch::Edit {
    let replacement = |(find, replace): &(&str, &str)| {
        format!("[[replacement]]\nfind = {find:?}\nreplace = {replace:?}\n")
    };
    let replacements: String = replacements.iter().map(replacement).collect();
    toml::from_str(&format!("file = \"a/b.go\"\nprobes = [\"one\", \"two\"]\n{replacements}"))
        .unwrap()
}

#[test]
fn replaces_an_anchor_that_matches_once() {
    let edit = edit(&[("\tb()\n", "\tb()\n\tnew()\n"), ("\tc()\n\td()\n", "\tnew()\n")]);
    assert_eq!(edit.apply("p", "\ta()\n\tb()\n\tx()\n").unwrap(), "\ta()\n\tb()\n\tnew()\n\tx()\n");
    assert_eq!(edit.apply("p", "\tc()\n\td()\n").unwrap(), "\tnew()\n");
    // An anchor matches only whole lines.
    assert_eq!(
        edit.apply("p", "\tb()\n\tif x {\t\tb()\n").unwrap(),
        "\tb()\n\tnew()\n\tif x {\t\tb()\n"
    );
}

#[test]
fn reports_how_the_source_differs() {
    let edit = edit(&[("\tb()\n", ""), ("\tc()\n\td()\n", "")]);
    let message = |source: &str| edit.apply("p", source).unwrap_err().to_string();
    let head = "a/b.go differs from the Go releases that this version of usdt-gen knows, \
                so p:one, p:two cannot be added: ";
    let tail = "try a newer usdt-gen, or leave the provider out with --providers";
    assert_eq!(
        message("x\n\tc()\n\te()\n"),
        format!("{head}line 3 differs\n  expected: d()\n  found:    e()\n{tail}")
    );
    assert_eq!(
        message("\tb()\n\tb()\n"),
        format!("{head}these lines occur 2 times:\n\n\tb()\n{tail}")
    );
    assert_eq!(message("x\n"), format!("{head}these lines are missing:\n\n\tc()\n\td()\n{tail}"));
}

/// `cargo xtask golden` writes `docs/catalog.md` from the catalog.
#[test]
fn documented_catalog_is_up_to_date() {
    const HEAD: &str = "\
# The catalog

These are the probes of the Go runtime and standard library.
[Runtime-native probes](runtime-native.md) explains how a binary gets them.
If a binary has them only as function entries, it has the probes and arguments in [the last section](#by-function-entries).

`cargo xtask golden` writes this file from the data in `gobinary/src/catalog`.

";
    let mut page = HEAD.to_owned();
    let mut providers = Vec::new();
    for name in provider_names() {
        providers.extend(catalog::model(name).unwrap().schema().providers);
    }
    page.push_str(&crate::docgen::markdown_reference(&stapsdt::schema::Schema {
        version: 1,
        providers,
    }));
    page.push_str(
        "\n# By function entries\n\n| probe | function | arguments |\n| --- | --- | --- |\n",
    );
    for provider in gobinary::catalog::providers() {
        for (probe, entry) in
            provider.probes.iter().flat_map(|p| p.entries.iter().map(move |e| (p, e)))
        {
            let args: Vec<&str> = entry.arg_names().collect();
            let (provider, probe, function) = (provider.name, probe.name, entry.function);
            // The entry of the newest releases comes first.
            if page.contains(&format!("| `{provider}:{probe}` | `{function}` |")) {
                continue;
            }
            page.push_str(&format!(
                "| `{provider}:{probe}` | `{function}` | {} |\n",
                args.join(", ")
            ));
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/catalog.md");
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&file, &page).unwrap();
    }
    assert!(std::fs::read_to_string(&file).unwrap_or_default() == page, "run `cargo xtask golden`");
}

proptest::proptest! {
    #[test]
    fn changes_only_the_anchor(before in "([ab}\t]{0,3}\n){0,6}", after in "([ab}\t]{0,3}\n){0,6}") {
        let edit = edit(&[("\tanchor()\n}\n", "\tnew()\n}\n")]);
        let changed = edit.apply("p", &format!("{before}\tanchor()\n}}\n{after}")).unwrap();
        proptest::prop_assert_eq!(changed, format!("{before}\tnew()\n}}\n{after}"));
        let mismatch = edit.apply("p", &format!("{before}{after}")).unwrap_err();
        proptest::prop_assert!(mismatch.matches == 0 && !mismatch.to_string().is_empty());
    }

    #[test]
    fn changes_or_rejects_any_source(text in "\\PC*", lines in "(\tanchor\\(\\)\n|}\n|x){0,9}") {
        let edit = edit(&[("\tanchor()\n}\n", ""), ("}\n", "")]);
        for source in [text, lines] {
            if let Err(mismatch) = edit.apply("p", &source) {
                proptest::prop_assert!(!mismatch.to_string().is_empty());
            }
        }
    }
}
