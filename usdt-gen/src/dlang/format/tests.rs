//! Tests of the formatter, including that it is idempotent and keeps all tokens.

use super::format;
use crate::dlang::lexer::{Kind, lex};
use crate::dlang::source::Sources;
use proptest::prelude::*;

fn formatted(source: &str) -> Result<String, String> {
    let mut sources = Sources::default();
    let file = sources.add("x.d", source);
    format(&sources, &file).map_err(|e| e.render(&sources, false))
}

#[track_caller]
fn expect(source: &str, expected: &str) {
    let once = formatted(source).unwrap();
    assert_eq!(once, expected);
    assert_eq!(formatted(&once).unwrap(), expected, "a second time");
}

/// Returns the kinds and the characters of all tokens, with white space normalized.
fn tokens(source: &str) -> Vec<(Kind, String)> {
    let mut sources = Sources::default();
    let file = sources.add("x.d", source);
    let normalize = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    lex(&sources, &file).iter().map(|t| (t.kind, normalize(sources.text(&t.text)))).collect()
}

#[test]
fn formats_a_whole_file() {
    expect(
        "#pragma D depends_on library x.d\n\n\n\n/**\n  * The app.\n */\nprovider   app{\n\n\
         /** Read. */   probe request__start( uint64_t id,string method );   // after\n\
         \tprobe b ();\n\n\n\n  probe c(char* name,const char * * names,int(*f)(int,int));\n\n\
         };\n#ifdef X\n # define Y 1\n#endif",
        "#pragma D depends_on library x.d\n\n/**\n  * The app.\n */\nprovider app {\n\
         \t/** Read. */\n\tprobe request__start(uint64_t id, string method); // after\n\
         \tprobe b();\n\n\tprobe c(char *name, const char **names, int (*f)(int, int));\n\
         };\n#ifdef X\n# define Y 1\n#endif\n",
    );
}

#[test]
fn puts_long_or_commented_parameters_on_lines_of_their_own() {
    expect(
        "provider a { probe b(\nint x, /* one */\n  // over\n string longer /* two\n          lines */\n);\n\
         probe request__with__a__name__of__some__length(uint64_t first, uint64_t second, string third, string fourth, string fifth);};",
        "provider a {\n\tprobe b(\n\t\tint x,        /* one */\n\t\t// over\n\t\tstring longer /* two\n\
         \t\t\t lines */\n\t);\n\
         \tprobe request__with__a__name__of__some__length(\n\t\tuint64_t first,\n\t\tuint64_t second,\n\
         \t\tstring third,\n\t\tstring fourth,\n\t\tstring fifth\n\t);\n};\n",
    );
}

#[test]
fn formats_type_declarations() {
    expect(
        "typedef struct point{int x:3;double y;char name [ 2*N+1 ];}point_t;enum{A=-1,B = A<<2 , C=~0};\
         enum level { LOW,\n HIGH // top\n};\nunion u { int a; } ;",
        "typedef struct point {\n\tint x : 3;\n\tdouble y;\n\tchar name[2 * N + 1];\n} point_t;\n\
         enum {\n\tA = -1,\n\tB = A << 2,\n\tC = ~0\n};\nenum level {\n\tLOW,\n\tHIGH // top\n};\n\
         union u {\n\tint a;\n};\n",
    );
}

#[test]
fn keeps_declarations_of_d_and_statements_with_directives() {
    expect(
        "inline int   X = 3 ;\ntranslator info < struct x *P > {\n  a = P->a;\n  b = 1;\n};\nprovider  p { probe a( int\n#ifdef X\n  , int\n#endif\n ); };",
        "inline int   X = 3 ;\ntranslator info < struct x *P > {\n  a = P->a;\n  b = 1;\n};\nprovider p {\n\tprobe a( int\n#ifdef X\n  , int\n#endif\n );\n};\n",
    );
}

#[test]
fn does_not_add_missing_semicolons() {
    expect(
        "provider a { probe x(int) probe y() ; }\nprovider b { probe z(int); }",
        "provider a {\n\tprobe x(int)\n\tprobe y();\n}\nprovider b {\n\tprobe z(int);\n}\n",
    );
}

/// A backslash before a space does not continue the line, and must not do so after formatting.
#[test]
fn keeps_the_space_after_a_backslash() {
    expect(
        "#define A \\ \n #define B\n// c \\  \nprovider p {};",
        "#define A \\ \n#define B\n// c \\ \nprovider p {\n};\n",
    );
}

#[test]
fn replaces_line_endings_of_windows() {
    expect(
        "provider p {\r\n\tprobe a(); /* x\r\n y */\r\n};\r\n",
        "provider p {\n\tprobe a(); /* x\n y */\n};\n",
    );
    // Formatting again must not change the result.
    for source in ["p = {\n\t/* x\r\r\n y */ };\n", "p = { a /* x\r\r\n y */ b };\n"] {
        let once = formatted(source).unwrap();
        assert_eq!(formatted(&once).unwrap(), once);
    }
}

#[test]
fn a_comment_after_one_of_several_lines_stays_where_it_is() {
    let once = formatted(
        "provider p {\n\tprobe a(int b; /* a long first line\n\td */ /* e\n\tf */ );\n};\n",
    );
    let once = once.unwrap();
    assert_eq!(formatted(&once).unwrap(), once);
}

#[test]
fn a_comment_after_a_line_comment_is_on_the_next_line() {
    expect(
        "provider a {\n\tprobe b(int x, // one\n/* two */ int y // three\n\t/* four\n */\n\t// five\n);\n};\n",
        "provider a {\n\tprobe b(\n\t\tint x, // one\n\t\t/* two */\n\t\tint y  // three\n\t\t/* four\n\t */ // five\n\t);\n};\n",
    );
    let tokens_before = "probe b(int x // one \\\t\n\t/* two */ /* three */\n);\n";
    assert_eq!(tokens(tokens_before), tokens(&formatted(tokens_before).unwrap()));
}

#[test]
fn rejects_sources_that_it_cannot_format() {
    for (source, problem) in [
        ("provider a { /* never", "this comment is never closed"),
        ("provider a {", "a brace is never closed"),
        ("};", "no open brace"),
        ("# a   \\\\", "formatting would lose a backslash at the end of a line"),
        ("provider é {};", "unexpected character"),
        ("struct a {};##b {};", "unexpected operator"),
    ] {
        let message = formatted(source).unwrap_err();
        assert!(message.contains(problem), "{message}");
    }
}

#[test]
fn keeps_the_tokens_of_every_corpus_file() {
    let mut count = 0;
    for source in crate::dlang::tests::corpus::all_sources() {
        let Ok(once) = formatted(&source) else { continue };
        count += 1;
        assert_eq!(tokens(&once), tokens(&source), "{source}");
        assert_eq!(formatted(&once).as_ref(), Ok(&once), "a second time:\n{source}");
    }
    assert!(count > 20, "{count}");
}

proptest! {
    #[test]
    fn keeps_tokens_and_is_idempotent(parts in prop::collection::vec(prop::sample::select(vec![
        "provider", "probe", " ", "\n", "\n\n", "\t", "{", "}", "(", ")", ";", ",", "*", "a", "int",
        "enum", "typedef", "struct", "inline", "/* c */", "// d\n", "/* e\n  f */", "\n#define X\n",
        "1", "=", "-", "[", "]",
        "\"s\"", "@", ".", ":",
    ]), 0..60)) {
        let source = parts.concat();
        if let Ok(once) = formatted(&source) {
            prop_assert_eq!(tokens(&once), tokens(&source), "{}", once);
            prop_assert_eq!(formatted(&once), Ok(once.clone()), "from {:?}", source);
        }
    }
}
