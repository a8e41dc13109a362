//! Generated text, whole: a change of it is a change of every user's package.

use super::{GenerateError, generate};
use crate::dlang;
use crate::provider::Model;

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
fn names_that_cannot_be_told_apart_are_refused() {
    let collide = |source: &str| generate(&model(source), "p.d", "p").unwrap_err();
    assert_eq!(
        collide("provider a { probe go_on(); probe go__on(); };"),
        GenerateError::Collision("go_on".into(), "go__on".into(), "GoOn".into())
    );
    let files = generate(&model("provider a { probe x(); probe x__enabled(); };"), "p.d", "p").unwrap();
    assert!(files[0].text.contains("func AXEnabled()"), "`XEnabled` is taken by the first probe's test");
    let other = model("provider a { probe x(); };");
    assert_eq!(generate(&other, "p.d", "my-pkg"), Err(GenerateError::Package("my-pkg".into())));
}

#[test]
fn both_architectures_agree_on_the_blob() {
    let model = model("provider a { probe p(int a, string b, double c, bytes d, error e, char *f); };");
    let files = generate(&model, "p.d", "p").unwrap();
    let size = |text: &str| text.lines().rev().find_map(|l| l.strip_prefix("GLOBL ")).map(str::to_owned);
    assert_eq!(size(&files[1].text), size(&files[2].text));
}
