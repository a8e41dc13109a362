//! Tests of whole generated files: a change here changes the packages of all users.

use super::{GenerateError, Package, generate};
use crate::dlang;
use crate::model::Model;

fn model(source: &str) -> Model {
    let parsed = dlang::parse(source);
    assert_eq!(parsed.diagnostics, []);
    parsed.model.unwrap()
}

#[test]
fn generates_all_files_of_a_package() {
    let model = model(
        "/** Demo. */\nprovider app {\n\t/** A request came in.\n\t * Twice. */\n\tprobe request__start(uint64_t id, string method, const char *path);\n\tprobe tick();\n};\n",
    );
    for file in generate(&model, "probes.d", Package::named("app")).unwrap() {
        insta::assert_snapshot!(file.name.replace('.', "_"), file.text);
    }
}

#[test]
fn annotated_arguments_have_the_annotated_go_types() {
    let model = model(
        "provider app {\n\t/**\n\t * @go status int\n\t * @go time time.Duration\n\t */\n\tprobe end(int64_t status, int64_t time);\n};\n",
    );
    let files = generate(&model, "probes.d", Package::named("app")).unwrap();
    insta::assert_snapshot!("annotated_go", files[0].text);
    for line in ["import \"time\"\n", "func End(status int, time_ time.Duration) {"] {
        assert!(files[4].text.contains(line), "{}", files[4].text);
    }
}

/// The go command has prepared only the imports of the package that the files join.
#[test]
fn injected_files_import_nothing_but_unsafe() {
    let model = model(
        "provider app {\n\t/** @go t time.Duration */\n\tprobe T_f__entry(double d, float f, int64_t t, error e);\n};\n",
    );
    let package = Package { prefix: "inj", injected: true, ..Package::named("app") };
    let files = generate(&model, "x.d", package).unwrap();
    let main = &files[0].text;
    for line in [
        "\nimport \"unsafe\"\n",
        "func injT_f__entry(d float64, f float32, t int64, e error) {",
        "*(*uint64)(unsafe.Pointer(&d))",
        "*(*uint32)(unsafe.Pointer(&f))",
        "defer func() { recover() }()",
    ] {
        assert!(main.contains(line), "{line}: {main}");
    }
    assert!(!main.contains("\"math\"") && !main.contains("\"time\""), "{main}");
}

#[test]
fn generates_functions_for_lazy_arguments_only_on_request() {
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

/// Stubs of package runtime get their arguments in the registers of ABIInternal.
#[test]
fn runtime_stubs_move_arguments_to_the_registers_of_the_site() {
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
fn prefixes_a_name_that_another_provider_uses() {
    let model =
        model("provider a { probe hit(); probe x(); }; provider b { probe hit(); probe y(); };");
    let files = generate(&model, "p.d", Package::named("p")).unwrap();
    for name in ["func Hit()", "func X()", "func BHit()", "func Y()"] {
        assert!(files[0].text.contains(name), "{name}");
        assert!(files[4].text.contains(name), "{name}");
    }
}

#[test]
fn numbers_names_that_differ_only_in_underscores() {
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
    // `XEnabled` already belongs to the first probe.
    assert_eq!(
        functions("provider a { probe x(); probe x__enabled(); };"),
        ["X", "XEnabled", "XEnabled2", "XEnabled2Enabled"]
    );
}

/// Definitions and their file names are untrusted input.
#[test]
fn definitions_cannot_inject_code_or_directives() {
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
fn rejects_an_invalid_package_name() {
    let model = model("provider a { probe x(); };");
    assert_eq!(
        generate(&model, "p.d", Package::named("my-pkg")),
        Err(GenerateError::Package("my-pkg".into()))
    );
}

#[test]
fn blobs_have_the_same_size_on_both_architectures() {
    let model =
        model("provider a { probe p(int a, string b, double c, bytes d, error e, char *f); };");
    let files = generate(&model, "p.d", Package::named("p")).unwrap();
    let size =
        |text: &str| text.lines().rev().find_map(|l| l.strip_prefix("GLOBL ")).map(str::to_owned);
    assert_eq!(size(&files[1].text), size(&files[2].text));
}

#[test]
fn helpers_of_other_definitions_have_a_suffix() {
    let model = model("provider a { probe p(string s, bool b, error e, char *c); };");
    let helpers = |source: &str| {
        let files = generate(&model, source, Package::named("p")).unwrap();
        let names = files[0].text.lines().filter_map(|l| l.strip_prefix("func ")?.split_once('('));
        let is_helper = |name: &String| {
            ["usdtTouch", "usdtCString", "usdtBool", "usdtErrorMessage"]
                .iter()
                .any(|base| name.starts_with(base))
        };
        names.map(|(name, _)| name.to_owned()).filter(is_helper).collect::<Vec<_>>()
    };
    assert_eq!(helpers("probes.d"), ["usdtTouch", "usdtCString", "usdtBool", "usdtErrorMessage"]);
    assert_eq!(
        helpers("my_app.d"),
        ["usdtTouchMyApp", "usdtCStringMyApp", "usdtBoolMyApp", "usdtErrorMessageMyApp"]
    );
}
