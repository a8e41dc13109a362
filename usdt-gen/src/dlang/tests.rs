//! Tests of the whole language, from source to model and messages.

pub(super) mod corpus;
mod roundtrip;

use super::source::Sources;
use super::{Dialect, Options, format, parse, parse_with, print};
use crate::dlang::diagnostic::Severity;
use crate::model::Type;
use proptest::prelude::*;

/// Returns the messages with their line numbers.
fn messages(source: &str) -> Vec<(usize, String)> {
    let line = |at: usize| source[..at].matches('\n').count() + 1;
    parse(source).diagnostics.iter().map(|d| (line(d.span.start), d.message.clone())).collect()
}

#[test]
fn parses_a_whole_file() {
    let source = "\
/*
 * Service probes.
 */
typedef unsigned long long u64_t;
struct conn { int fd; struct { char name[8]; } peer; };
enum color { RED, GREEN };
typedef struct conn conn_t;

/**
 * The service.
 *
 * Second paragraph.
 */
provider app {
	probe start();
	probe stop(void);   // says goodbye
	/** A request came in. */
	probe request__start(uint64_t id, string method, const char *path);
	// Done.
	// Really.
	probe request__end(u64_t, int status, double seconds, float f, unsigned char c,
	    conn_t *conn, struct other *o, enum color, const void **pp, char a[16], int v[]);

	/* unrelated */

	probe map(int i, int j) : (int j, int i);
};

#pragma D attributes Evolving/Evolving/Common provider app args

provider other_one { probe free(long n, bytes b, bool ok, error e); };
";
    let parsed = parse(source);
    assert_eq!(parsed.diagnostics, []);
    let model = parsed.model.unwrap();
    assert_eq!(model.providers.keys().collect::<Vec<_>>(), ["app", "other_one"]);
    let app = &model.providers["app"];
    assert_eq!(app.doc, "The service.\n\nSecond paragraph.");
    assert_eq!(app.stability.as_deref(), Some("Evolving/Evolving/Common"));
    let docs: Vec<(&str, &str)> =
        app.probes.values().map(|p| (p.name.as_str(), p.doc.as_str())).collect();
    assert_eq!(
        docs,
        [
            ("start", ""),
            ("stop", ""),
            ("request__start", "A request came in."),
            ("request__end", "Done.\nReally."),
            ("map", ""),
        ]
    );
    let types: Vec<Type> = app.probes["request__end"].params.iter().map(|p| p.ty).collect();
    assert_eq!(
        types,
        [
            Type::Int { size: 8, signed: false },
            Type::Int { size: 4, signed: true },
            Type::Float { size: 8 },
            Type::Float { size: 4 },
            Type::Int { size: 1, signed: false },
            Type::Struct { index: 1 },
            Type::Pointer,
            Type::Enum { index: 0, size: 4, signed: true },
            Type::Pointer,
            Type::CString,
            Type::Pointer,
        ]
    );
    let start = &app.probes["request__start"];
    assert_eq!(start.words(), 4);
    assert_eq!(start.params[2].spelling, "const char *");
    assert_eq!(model.providers["other_one"].probes["free"].words(), 6);
    assert_eq!(
        (model.structs.len(), model.structs[1].size, model.enums[0].values.len()),
        (2, 12, 2)
    );
}

#[test]
fn reports_each_mistake_once() {
    let source = "\
provider app {
	probe a(uint46_t id);
	probe b(int x)
	probe c(struct conn by_value);
	probe d(int a, int a, ...);
	probe e(uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6,
	    uint64_t a7, uint64_t a8, uint64_t a9, uint64_t a10, uint64_t a11, uint64_t a12);
	probe d();
	probe request-start(int id);
	probe ok(int fine);
}
probe outside(int);
provider app2 { };
";
    assert_eq!(
        messages(source),
        [
            (2, "unknown type `uint46_t`".to_owned()),
            (3, "expected `;` after the probe, found `probe`".to_owned()),
            (4, "a struct cannot be passed by value".to_owned()),
            (5, "two arguments are named `a`".to_owned()),
            (5, "a probe cannot have a variable number of arguments".to_owned()),
            (7, "probe `e` has 13 argument words; tracers accept 12".to_owned()),
            (8, "probe `d` is declared twice".to_owned()),
            (9, "`-` in a probe's name".to_owned()),
            (11, "expected `;` after the provider's `}`, found `probe`".to_owned()),
        ]
        .into_iter()
        .chain([
            (12, "probe outside a provider".to_owned()),
            (13, "provider name `app2` ends in a digit".to_owned())
        ])
        .collect::<Vec<_>>()
    );
}

#[test]
fn renders_messages_with_their_source_line() {
    let source = "provider app {\n\tprobe a(uint46_t id);\n};\n";
    let parsed = parse(source);
    insta::assert_snapshot!(parsed.diagnostics[0].render(&parsed.sources, false), @r"
    error: unknown type `uint46_t`
     --> probes.d:2:10
      |
    2 |     probe a(uint46_t id);
      |             ^^^^^^^^ not declared in this file
      |
      = help: did you mean `uint64_t`?
    ");
}

#[test]
fn every_known_type_is_accepted_printed_and_formatted() {
    for ty in super::type_names::all() {
        let member = if ["string", "bytes", "[]byte", "[]uint8", "error"].contains(&ty) {
            String::new()
        } else {
            format!("struct s {{ {ty} m; {ty} *p; }};\n")
        };
        let source = format!(
            "{member}provider p {{\n\tprobe a({ty} x, const {ty} *y, {ty} z[2]);\n\tprobe b(struct s *s);\n}};\n"
        );
        let parsed = parse(&source);
        assert_eq!(parsed.diagnostics, [], "{source}");
        let model = parsed.model.unwrap();
        assert_eq!(parse(&print(&model)).model.as_ref(), Some(&model), "{source}");
        let mut sources = Sources::default();
        let file = sources.add("probes.d", &source);
        let formatted = format(&sources, &file).unwrap();
        assert!(formatted.contains(&format!("a({ty} x, const {ty} *y, {ty} z[2])")), "{formatted}");
    }
}

/// Returns the messages and hints of a run with `--strict`.
fn strict_messages(source: &str, dialect: Dialect) -> Vec<(String, String)> {
    let options = Options { strict: Some(dialect), ..Options::default() };
    let parsed = parse_with("probes.d", source, &options);
    let shown = parsed.diagnostics.into_iter().map(|d| (d.message, d.help.unwrap_or_default()));
    shown.collect()
}

#[test]
fn strict_names_the_spelling_of_the_dialect_for_a_type_of_go() {
    let source = "typedef uint64 own;\nprovider p { probe a(float64 x, []byte y, time.Duration z, own w); };\n";
    for (dialect, name) in [
        (Dialect::Illumos, "DTrace"),
        (Dialect::Apple, "DTrace"),
        (Dialect::Systemtap, "SystemTap's dtrace"),
    ] {
        let expected = [
            ("uint64", "write `uint64_t`"),
            ("float64", "write `double`"),
            ("[]byte", "pass `const uint8_t *` and a length"),
            ("time.Duration", "write `int64_t`, and `@go NAME time.Duration` in the comment"),
        ]
        .map(|(ty, help)| (format!("{name} has no type `{ty}` of Go"), help.to_owned()));
        assert_eq!(strict_messages(source, dialect), expected);
    }
}

#[test]
fn strict_accepts_a_name_of_go_that_the_file_declares() {
    let source = "typedef unsigned long long uint64;\nprovider p { probe a(uint64 x); };\n";
    for dialect in [Dialect::Illumos, Dialect::Apple, Dialect::Systemtap] {
        assert_eq!(strict_messages(source, dialect), []);
    }
}

#[test]
fn rejects_a_typedef_of_itself() {
    assert_eq!(
        messages("typedef a b; typedef b a; provider p { probe x(a v); };"),
        [(1, "type `a` is defined in terms of itself".to_owned())]
    );
}

#[test]
fn stops_after_too_many_tokens() {
    let limit = super::lexer::MAX_TOKENS;
    let expected = format!("the files have more than {limit} tokens together");
    let provider = "provider p { probe a(); };\n";
    for source in [
        format!("{provider}{}", ";".repeat(limit)),
        format!("{provider}#define A {}\n#if 0\n", ";".repeat(limit)),
        format!("provider p {{ probe a({} int); }};\n#endif", "int,".repeat(limit)),
    ] {
        let found = messages(&source);
        assert_eq!(found.iter().map(|(_, message)| message).collect::<Vec<_>>(), [&expected]);
    }
}

#[test]
fn shows_a_bounded_number_of_mistakes() {
    let source = format!("provider p {{ probe a(); }};\n{}", "é\n#x\n".repeat(1000));
    let parsed = parse(&source);
    let count = |severity| parsed.diagnostics.iter().filter(|d| d.severity == severity).count();
    assert_eq!([Severity::Error, Severity::Warning].map(count), [101; 2]);
    let last: Vec<&str> =
        parsed.diagnostics.iter().rev().take(2).map(|d| d.message.as_str()).collect();
    assert_eq!(last, ["more than 100 warnings", "more than 100 errors"]);
    // A warning never hides an error.
    assert!(parse(&format!("{}provider p {{ é }};", "#x\n".repeat(500))).model.is_none());
}

#[test]
fn rejects_an_empty_file_and_accepts_an_empty_provider() {
    assert_eq!(messages("/* nothing */"), [(1, "no provider in this file".to_owned())]);
    assert_eq!(messages("provider p {};"), []);
}

proptest! {
    #[test]
    fn never_panics_on_arbitrary_source(source in "[ -~\n\t]{0,200}") {
        let _ = parse(&source);
    }

    #[test]
    fn never_panics_on_arbitrary_tokens(words in prop::collection::vec(prop::sample::select(vec![
        "provider", "probe", "a", "{", "}", "(", ")", ";", ",", ":", "*", "int", "struct", "typedef",
        "[", "]", "...", "unsigned", "const", "\n#pragma D attributes", "/* c */", "string", "é",
    ]), 0..60)) {
        let parsed = parse(&words.join(" "));
        for d in &parsed.diagnostics {
            let _ = d.render(&parsed.sources, true);
        }
    }
}
