use super::format;
use crate::dlang::lexer::{Kind, lex};
use crate::dlang::source::Sources;
use proptest::prelude::*;

fn formatted(text: &str) -> Result<String, String> {
    let mut sources = Sources::default();
    let file = sources.add("x.d", text);
    format(&sources, &file).map_err(|e| e.render(&sources, false))
}

#[track_caller]
fn expect(text: &str, expected: &str) {
    let once = formatted(text).unwrap();
    assert_eq!(once, expected);
    assert_eq!(formatted(&once).unwrap(), expected, "a second time");
}

/// Everything but white space.
fn tokens(text: &str) -> Vec<(Kind, String)> {
    let mut sources = Sources::default();
    let file = sources.add("x.d", text);
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    lex(&sources, &file).iter().map(|t| (t.kind, plain(sources.text(&t.text)))).collect()
}

#[test]
fn a_file() {
    expect(
        "#pragma D depends_on library x.d\n\n\n\n/**\n  * The app.\n */\nprovider   app{\n\n\
         /** Read. */   probe request__start( uint64_t id,string method );   // behind\n\
         \tprobe b ();\n\n\n\n  probe c(char* name,const char * * names,int(*f)(int,int));\n\n\
         };\n#ifdef X\n # define Y 1\n#endif",
        "#pragma D depends_on library x.d\n\n/**\n  * The app.\n */\nprovider app {\n\
         \t/** Read. */\n\tprobe request__start(uint64_t id, string method); // behind\n\
         \tprobe b();\n\n\tprobe c(char *name, const char **names, int (*f)(int, int));\n\
         };\n#ifdef X\n# define Y 1\n#endif\n",
    );
}

#[test]
fn parameters_with_comments_and_too_long_ones() {
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
fn types_and_values() {
    expect(
        "typedef struct point{int x:3;double y;char name [ 2*N+1 ];}point_t;enum{A=-1,B = A<<2 , C=~0};\
         enum level { LOW,\n HIGH // top\n};\nunion u { int a; } ;",
        "typedef struct point {\n\tint x : 3;\n\tdouble y;\n\tchar name[2 * N + 1];\n} point_t;\n\
         enum {\n\tA = -1,\n\tB = A << 2,\n\tC = ~0\n};\nenum level {\n\tLOW,\n\tHIGH // top\n};\n\
         union u {\n\tint a;\n};\n",
    );
}

#[test]
fn what_is_passed_over_stays() {
    expect(
        "inline int   X = 3 ;\ntranslator info < struct x *P > {\n  a = P->a;\n  b = 1;\n};\nprovider  p { probe a( int\n#ifdef X\n  , int\n#endif\n ); };",
        "inline int   X = 3 ;\ntranslator info < struct x *P > {\n  a = P->a;\n  b = 1;\n};\nprovider p {\n\tprobe a( int\n#ifdef X\n  , int\n#endif\n );\n};\n",
    );
}

#[test]
fn missing_semicolons_stay_missing() {
    expect(
        "provider a { probe x(int) probe y() ; }\nprovider b { probe z(int); }",
        "provider a {\n\tprobe x(int)\n\tprobe y();\n}\nprovider b {\n\tprobe z(int);\n}\n",
    );
}

/// A backslash with a blank behind it continues no line, and does not come to.
#[test]
fn a_backslash_stays_where_it_is() {
    expect(
        "#define A \\ \n #define B\n// c \\  \nprovider p {};",
        "#define A \\ \n#define B\n// c \\ \nprovider p {\n};\n",
    );
}

#[test]
fn what_cannot_be_read_is_refused() {
    for (text, problem) in [
        ("provider a { /* never", "this comment is never closed"),
        ("provider a {", "a brace is never closed"),
        ("};", "nothing is open here"),
        ("# a   \\\\", "a backslash at the end of a line would be lost"),
        ("provider é {};", "this means nothing here"),
        ("struct a {};##b {};", "this means nothing here"),
    ] {
        let message = formatted(text).unwrap_err();
        assert!(message.contains(problem), "{message}");
    }
}

#[test]
fn every_definition_of_the_corpus_keeps_its_tokens() {
    let mut count = 0;
    for text in crate::dlang::tests::corpus::texts() {
        let Ok(once) = formatted(&text) else { continue };
        count += 1;
        assert_eq!(tokens(&once), tokens(&text), "{text}");
        assert_eq!(formatted(&once).as_ref(), Ok(&once), "a second time:\n{text}");
    }
    assert!(count > 20, "{count}");
}

proptest! {
    #[test]
    fn tokens_stay_and_twice_is_once(parts in prop::collection::vec(prop::sample::select(vec![
        "provider", "probe", " ", "\n", "\n\n", "\t", "{", "}", "(", ")", ";", ",", "*", "a", "int", "enum",
        "typedef", "struct", "inline", "/* c */", "// d\n", "/* e\n  f */", "\n#define X\n", "1", "=", "-", "[", "]",
        "\"s\"", "@", ".", ":",
    ]), 0..60)) {
        let text = parts.concat();
        if let Ok(once) = formatted(&text) {
            prop_assert_eq!(tokens(&once), tokens(&text), "{}", once);
            prop_assert_eq!(formatted(&once), Ok(once.clone()), "from {:?}", text);
        }
    }
}
