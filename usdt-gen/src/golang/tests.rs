//! Generated text, whole: a change of it is a change of every user's package.

use super::{GenerateError, generate};
use crate::dlang;
use crate::model::Model;

fn model(source: &str) -> Model {
    let parsed = dlang::parse(source);
    assert_eq!(parsed.diagnostics, []);
    parsed.model.unwrap()
}

#[test]
fn a_small_package() {
    let model = model(
        "/** Demo. */\nprovider app {\n\t/** A request came in.\n\t * Twice. */\n\tprobe request__start(uint64_t id, string method, const char *path);\n\tprobe tick();\n};\n",
    );
    for file in generate(&model, "probes.d", "app").unwrap() {
        insta::assert_snapshot!(file.name.replace('.', "_"), file.text);
    }
}

#[test]
fn a_taken_name_gets_its_provider_in_front() {
    let model = model("provider a { probe hit(); probe x(); }; provider b { probe hit(); probe y(); };");
    let files = generate(&model, "p.d", "p").unwrap();
    for name in ["func Hit()", "func X()", "func BHit()", "func Y()"] {
        assert!(files[0].text.contains(name), "{name}");
        assert!(files[3].text.contains(name), "{name}");
    }
}

#[test]
fn names_that_cannot_be_told_apart_are_numbered() {
    let functions = |source: &str| {
        let files = generate(&model(source), "p.d", "p").unwrap();
        let names = files[0].text.lines().filter_map(|l| l.strip_prefix("func ")?.split_once('('));
        names.map(|(name, _)| name.to_owned()).filter(|n| !n.starts_with("usdt")).collect::<Vec<_>>()
    };
    assert_eq!(
        functions("provider a { probe go_on(); probe go__on(); probe goOn(); };"),
        ["GoOn", "GoOnEnabled", "GoOn2", "GoOn2Enabled", "GoOn3", "GoOn3Enabled"]
    );
    // `XEnabled` is the first probe's test.
    assert_eq!(
        functions("provider a { probe x(); probe x__enabled(); };"),
        ["X", "XEnabled", "XEnabled2", "XEnabled2Enabled"]
    );
}

/// A definition, and the name of its file, may come from anybody.
#[test]
fn what_a_definition_says_is_no_code() {
    let model = model(
        "/**\n * +build ignore\n * go:linkname a b\n */\nprovider a { /** +build x\n\u{c}+build y */ probe x(int a /* #cgo LDFLAGS: -l x */); };",
    );
    for file in generate(&model, "a\nfunc init() {}\r\u{85}\u{2028}.d", "p").unwrap() {
        assert!(!file.text.contains("\nfunc init"), "{}", file.text);
        for line in file.text.lines().filter_map(|line| line.trim_start().strip_prefix("//")) {
            assert!(!line.trim_start().starts_with("+build") && !line.starts_with("go:link"), "{line}");
        }
    }
}

#[test]
fn a_package_needs_a_name() {
    let model = model("provider a { probe x(); };");
    assert_eq!(generate(&model, "p.d", "my-pkg"), Err(GenerateError::Package("my-pkg".into())));
}

#[test]
fn both_architectures_agree_on_the_blob() {
    let model = model("provider a { probe p(int a, string b, double c, bytes d, error e, char *f); };");
    let files = generate(&model, "p.d", "p").unwrap();
    let size = |text: &str| text.lines().rev().find_map(|l| l.strip_prefix("GLOBL ")).map(str::to_owned);
    assert_eq!(size(&files[1].text), size(&files[2].text));
}
