//! Tests of the preprocessor from source to tokens.

use super::preprocess;
use crate::dlang::Options;
use crate::dlang::diagnostic::Diagnostics;
use crate::dlang::lexer::Kind;
use crate::dlang::source::Sources;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Returns the tokens joined by spaces, and the messages.
fn run_with(text: &str, options: &Options) -> (String, Vec<String>) {
    let mut sources = Sources::default();
    let main = sources.add("main.d", text);
    let mut diagnostics = Diagnostics::default();
    let out = preprocess(&mut sources, &main, options, &mut diagnostics);
    let words: Vec<&str> = out
        .tokens
        .iter()
        .filter(|t| !matches!(t.kind, Kind::End | Kind::Comment))
        .map(|t| sources.text(&t.text))
        .collect();
    (words.join(" "), diagnostics.finish().into_iter().map(|d| d.message).collect())
}

fn run(text: &str) -> String {
    let (out, messages) = run_with(text, &Options::default());
    assert_eq!(messages, [""; 0], "{text}");
    out
}

fn files(files: &[(&str, &str)]) -> Options {
    let files: HashMap<PathBuf, String> =
        files.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned())).collect();
    Options {
        include_dirs: vec![PathBuf::from("inc")],
        read_file: Arc::new(move |path| {
            let text = files.get(path).ok_or(std::io::ErrorKind::NotFound)?;
            Ok(text.clone().into_bytes())
        }),
        ..Options::default()
    }
}

#[test]
fn expands_macros() {
    for (text, out) in [
        ("#define A int\nA x", "int x"),
        ("#define A B\n#define B A\nA B", "A B"),
        ("#define string char *\nstring s", "char * s"),
        ("#define F(x, y) y x\nF(a, (b, c))", "( b , c ) a"),
        ("#define F(x) <x>\nF F (1)\n(2)", "F < 1 > ( 2 )"),
        ("#define F() z\nF() F ( )", "z z"),
        ("#define G(x) x G\nG(1)(2)", "1 G ( 2 )"),
        ("#define T(n) n##_t\nT(uint64) T()", "uint64_t _t"),
        ("#define S(x) #x\nS(a \"b\")", "\"a \\\"b\\\"\""),
        ("#define V(f, ...) f(__VA_ARGS__)\nV(g, 1, 2) V(g)", "g ( 1 , 2 ) g ( )"),
        ("#define A 1\n#undef A\nA", "A"),
        ("#define A\nx A y", "x y"),
        ("#define A 1 + \\\n 2\nA", "1 + 2"),
        ("#define A (1)\nA", "( 1 )"),
        ("#define F(x) x\nF(F(F(2)))", "2"),
        ("#define N 1\n#define F(x) x##N x\nF(N)", "NN 1"),
        (
            "#define P(x) probe p__##x(int)\nP(a); P(b);",
            "probe p__a ( int ) ; probe p__b ( int ) ;",
        ),
    ] {
        assert_eq!(run(text), out, "{text}");
    }
}

#[test]
fn selects_the_branch_whose_condition_holds() {
    for (text, out) in [
        ("#if 1\na\n#else\nb\n#endif", "a"),
        ("#if 0\na\n#elif 2 > 1\nb\n#elif 1\nc\n#else\nd\n#endif", "b"),
        ("#ifdef X\na\n#else\nb\n#endif", "b"),
        ("#define X\n#ifdef X\na\n#endif\n#ifndef X\nb\n#endif", "a"),
        ("#if defined(X) || defined __linux__ && !Y\na\n#endif", "a"),
        ("#if 0\n#if 1\na\n#else\nb\n#endif\n#error no\n# prose\ndon't é\n#else\nc\n#endif", "c"),
        ("#define V(x) x\n#if V(3) == 3\na\n#endif", "a"),
        ("#if 1\n#define Q 2\n#else\n#define Q 3\n#endif\nQ", "2"),
        ("#\n# 12 \"x.h\" 1\n#ident \"x\"\n#!/usr/sbin/dtrace -s\na", "a"),
        ("/* c */ #define A 1\nA", "1"),
    ] {
        assert_eq!(run(text), out, "{text}");
    }
    let defined = Options { defines: vec!["X=7".into(), "Y".into()], ..Options::default() };
    assert_eq!(run_with("X Y", &defined).0, "7 1");
}

#[test]
fn includes_files_relative_to_the_including_file_and_the_search_path() {
    let options = files(&[
        ("a.h", "#include \"sub/b.h\"\nA"),
        ("sub/b.h", "#include \"c.h\"\n"),
        ("sub/c.h", "#pragma once\n#define A from_c\nC"),
        ("inc/d.h", "D"),
        ("loop.h", "#include \"loop.h\""),
    ]);
    let text =
        "#include \"a.h\"\n#include \"sub/c.h\"\n#include <d.h>\n#define H <d.h>\n#include H\n";
    assert_eq!(run_with(text, &options), ("C from_c D D".into(), vec![]));
    let (_, messages) =
        run_with("#include \"loop.h\"\n#include <none.h>\n#include <stdint.h>\n", &options);
    assert_eq!(messages, ["header `none.h` not found", "includes are nested more than 32 deep"]);
}

#[test]
fn reports_invalid_directives() {
    for (text, message) in [
        ("#endif", "`#endif` without `#if`"),
        ("#if 1\n", "this condition is never closed"),
        ("#if 1\n#else\n#else\n#endif", "`#else` after `#else`"),
        ("#if 1 +\n#endif", "cannot evaluate this condition: expected a value"),
        ("#if defined(\n#endif", "`defined` without a name"),
        ("#define", "`#define` without a name"),
        ("#define F(1) x", "invalid macro parameters"),
        ("#define F(x) x\nF(1, 2)", "macro `F` takes 1 argument, not 2"),
        ("#define F(x) x\nF(1", "the call of macro `F` is never closed"),
        ("#define F(x) x##+\nF(a)", "`##` produces `a+`, which is not a single token"),
        ("#define A 1\n#define A 2", "macro `A` is redefined"),
        ("#error wrong platform", "wrong platform"),
        ("#include", "`#include` without a file"),
        ("# file: src/app.d", "`#file` is not a directive"),
        ("#ifdfe X", "`#ifdfe` is not a directive"),
    ] {
        assert_eq!(run_with(text, &Options::default()).1, [message], "{text}");
    }
}

#[test]
fn stops_macros_that_exceed_a_limit() {
    let mut text = String::from("#define A0 x x\n");
    for i in 1..40 {
        text.push_str(&format!("#define A{i} A{} A{}\n", i - 1, i - 1));
    }
    let (_, messages) = run_with(&format!("{text}A39"), &Options::default());
    assert_eq!(messages, ["macros expand to more than 262144 tokens"]);
    let mut text = String::from(
        "#define B0 xxxxxxxxxxxxxxxx\n#define P(a, b) Q(a, b)\n#define Q(a, b) a##b\n",
    );
    for i in 1..12 {
        text.push_str(&format!("#define B{i} P(B{}, B{})\n", i - 1, i - 1));
    }
    let (_, messages) = run_with(&format!("{text}B11"), &Options::default());
    assert_eq!(messages, ["a macro expands to a token of 8192 bytes (limit 4096)"]);
    let deep = format!("#define F(x) x\n{}1{}", "F(".repeat(200), ")".repeat(200));
    assert_eq!(
        run_with(&deep, &Options::default()).1,
        ["macro calls are nested more than 32 deep"]
    );
}

#[test]
fn stops_includes_that_exceed_the_limit() {
    let twice = |next: usize| format!("#include \"{next}.h\"\n#include \"{next}.h\"\n");
    let headers: Vec<(String, String)> =
        (0..30).map(|n| (format!("{n}.h"), twice(n + 1) + &" ".repeat(1 << 16))).collect();
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let (_, messages) = run_with(&twice(0), &files(&headers));
    let errors: Vec<_> = messages.iter().filter(|m| m.contains("more than 16 MiB")).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
}
