//! The comments of generated code: gofmt keeps them, whatever the comments of the definition are.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use usdt_e2e::{Need, command, have, stdout};
use usdt_gen::{dlang, golang};

/// Number of comments that one run tries.
const COMMENTS: usize = 3000;

/// Returns comments that are composed of what gofmt gives a meaning to.
fn comments() -> impl Strategy<Value = String> {
    let beginnings = select(vec![
        "",
        "",
        "",
        "Title",
        "lower",
        "# ",
        "#",
        "#\t",
        "- ",
        "* ",
        "+ ",
        "• ",
        "1. ",
        "2) ",
        "[a]: ",
        "[a b]: http://",
        "}",
        "{",
        "\t",
        "   ",
        "+build ",
        "go:build ",
        "//",
        "@param x ",
        "Ⅰ",
        "É",
        "ǅ",
        "``",
        "```",
    ]);
    let words = select(vec![
        "word",
        "Word",
        "it's",
        "dogs'",
        "``q''",
        "`c`",
        "```",
        "'''",
        "[a]",
        "[math.Sin]",
        "http://x/''y",
        "https://h/p(a)",
        "mailto://a",
        "[b]: ftp://c",
        "v1.2",
        "e.g.",
        "x_y",
        "a;b",
        "é",
        "٣",
        "\u{b}",
        "\u{85}",
        "\u{2028}",
        "\u{a0}",
        "\u{feff}",
        "\r",
        "\0",
        "\t",
        "\\",
        "{",
        "}",
        ":",
        ".",
        "—",
        "\u{301}",
    ]);
    let words = prop::collection::vec(words, 0..4).prop_map(|words| words.join(" "));
    let line = (beginnings, words, select(vec!["", "", ".", ":", "{", "\\", " "]));
    let line = line.prop_map(|(beginning, words, end)| format!("{beginning}{words}{end}"));
    let lines = prop::collection::vec(prop_oneof![3 => line, 1 => Just(String::new())], 0..7);
    prop_oneof![4 => lines.prop_map(|lines| lines.join("\n")), 1 => "\\PC{0,60}"]
}

/// Returns a definition in which every kind of declaration has a comment of its own.
fn definition(mut next: impl FnMut() -> String) -> String {
    let mut comment = || format!("/*{}*/", next().replace("*/", "* /").replace('\0', ""));
    let mut out = format!("{}\nprovider p {{\n", comment());
    for n in 0..40 {
        let (probe, first, second) = (comment(), comment(), comment());
        out.push_str(&format!(
            "\t{probe}\n\tprobe p{n}(\n\t\t{first}\n\t\tint a,\n\t\t{second}\n\t\tstruct s *b\n\t);\n"
        ));
    }
    let (e, value, s, member, bits) = (comment(), comment(), comment(), comment(), comment());
    out.push_str(&format!("}};\n{e}\nenum e {{ {value} A, B }};\n"));
    out.push_str(&format!(
        "{s}\nstruct s {{ int a; {member}\n\tenum e e; unsigned bits : 3; {bits}\n}};\n"
    ));
    out
}

#[test]
fn gofmt_keeps_generated_comments() {
    if !have(&[Need::Program("gofmt")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut runner = TestRunner::default();
    let strategy = comments();
    let (mut written, mut at) = (0, 0);
    while written < COMMENTS {
        at += 1;
        let definition = definition(|| {
            written += 1;
            strategy.new_tree(&mut runner).unwrap().current()
        });
        let parsed = dlang::parse(&definition);
        let Some(model) = parsed.model else {
            panic!("{:?}\n{definition}", parsed.diagnostics);
        };
        let files = golang::generate(&model, "probes.d", golang::Package::named("p")).unwrap();
        let package = folder.path().join(format!("p{at}"));
        std::fs::create_dir(&package).unwrap();
        for file in files.iter().filter(|file| file.name.ends_with(".go")) {
            std::fs::write(package.join(&file.name), &file.text).unwrap();
        }
    }
    // Fails with the differences, or with the errors of files that are not Go.
    assert_eq!(stdout(command("gofmt").args(["-d", "."]).current_dir(folder.path())), "");
}
