//! Generated text, whole: a change of it is a change of every user's package.

use super::{GenerateError, Package, generate};
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
    for file in generate(&model, "probes.d", Package::named("app")).unwrap() {
        insta::assert_snapshot!(file.name.replace('.', "_"), file.text);
    }
}

#[test]
fn annotated_arguments_have_go_types() {
    let model = model(
        "provider app {\n\t/**\n\t * @go status int\n\t * @go time time.Duration\n\t */\n\tprobe end(int64_t status, int64_t time);\n};\n",
    );
    let files = generate(&model, "probes.d", Package::named("app")).unwrap();
    insta::assert_snapshot!("annotated_go", files[0].text);
    for line in ["import \"time\"\n", "func End(status int, time_ time.Duration) {"] {
        assert!(files[4].text.contains(line), "{}", files[4].text);
    }
}

#[test]
fn functions_for_lazy_arguments_are_generated_on_request() {
    let model = model("provider a { probe hit(int n); probe tick(); };");
    for lazy_args in [false, true] {
        let files = generate(&model, "p.d", Package { lazy_args, ..Package::named("p") }).unwrap();
        for file in [&files[0], &files[4]] {
            let declared = file.text.contains("func HitFunc(args func(fire func(n int32))) {");
            assert_eq!(declared, lazy_args, "{}", file.name);
            assert!(!file.text.contains("TickFunc"), "{}", file.name);
        }
    }
}

/// In the runtime, arguments come in the compiler's registers and go on in C's.
#[test]
fn stubs_of_the_runtime_move_their_arguments() {
    let model = model("provider go { probe x(uint64_t a, uint64_t b, uint64_t c, uint64_t d); };");
    let files =
        generate(&model, "p.d", Package { runtime: true, ..Package::named("runtime") }).unwrap();
    let stub: Vec<&str> = files[1]
        .text
        .lines()
        .skip_while(|l| !l.starts_with("TEXT"))
        .take_while(|l| !l.is_empty())
        .collect();
    assert_eq!(
        stub,
        [
            "TEXT ·usdtStubX<ABIInternal>(SB), NOSPLIT|NOFRAME, $0-32",
            "\tMOVQ BX, SI",
            "\tMOVQ CX, DX",
            "\tMOVQ DI, CX",
            "\tMOVQ AX, DI",
            "\tMOVL ·usdtProbeX+44(SB), R8",
            "\tMOVQ (R14)(R8*1), R8",
            "\tJMP ·usdtSiteX(SB)",
        ]
    );
    assert!(files[2].text.contains("$0-32\n\tMOVWU"), "{}", files[2].text);
}

#[test]
fn a_taken_name_gets_its_provider_in_front() {
    let model =
        model("provider a { probe hit(); probe x(); }; provider b { probe hit(); probe y(); };");
    let files = generate(&model, "p.d", Package::named("p")).unwrap();
    for name in ["func Hit()", "func X()", "func BHit()", "func Y()"] {
        assert!(files[0].text.contains(name), "{name}");
        assert!(files[4].text.contains(name), "{name}");
    }
}

#[test]
fn names_that_cannot_be_told_apart_are_numbered() {
    let functions = |source: &str| {
        let files = generate(&model(source), "p.d", Package::named("p")).unwrap();
        let names = files[0].text.lines().filter_map(|l| l.strip_prefix("func ")?.split_once('('));
        names
            .map(|(name, _)| name.to_owned())
            .filter(|n| !n.starts_with("usdt"))
            .collect::<Vec<_>>()
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
    for file in
        generate(&model, "a\nfunc init() {}\r\u{85}\u{2028}.d", Package::named("p")).unwrap()
    {
        assert!(!file.text.contains("\nfunc init"), "{}", file.text);
        for line in file.text.lines().filter_map(|line| line.trim_start().strip_prefix("//")) {
            assert!(
                !line.trim_start().starts_with("+build") && !line.starts_with("go:link"),
                "{line}"
            );
        }
    }
}

#[test]
fn a_package_needs_a_name() {
    let model = model("provider a { probe x(); };");
    assert_eq!(
        generate(&model, "p.d", Package::named("my-pkg")),
        Err(GenerateError::Package("my-pkg".into()))
    );
}

#[test]
fn both_architectures_agree_on_the_blob() {
    let model =
        model("provider a { probe p(int a, string b, double c, bytes d, error e, char *f); };");
    let files = generate(&model, "p.d", Package::named("p")).unwrap();
    let size =
        |text: &str| text.lines().rev().find_map(|l| l.strip_prefix("GLOBL ")).map(str::to_owned);
    assert_eq!(size(&files[1].text), size(&files[2].text));
}
