//! The filter language: comparisons of arguments, joined by `&&`, `||` and `!`.
//!
//! ```text
//! filter     = any ;           any = all { "||" all } ;       all = one { "&&" one } ;
//! one        = "!" one | "(" any ")" | subject [ test literal ] ;
//! subject    = NAME | ( "str(" | "len(" | "cap(" ) NAME ")" ;
//! test       = "==" | "!=" | "<" | "<=" | ">" | ">=" ;
//! literal    = number | 'string' | "string" | "true" | "false" | "nil" ;
//! ```
//!
//! A name is the name of an argument, `argN` for the argument at position N, or one of `pid`,
//! `tid`, `goid` and `comm`. A subject without a comparison means "is not zero". `str(NAME)` reads
//! an integer or pointer argument as a C string. The argument of a function probe can have a path of
//! fields, indexes and type assertions, `r.URL.Path`, `names[2]` and `err.(*fs.PathError).Path`, and
//! a size, `len(NAME)` or `cap(NAME)`.
//!
//! A trailing `*` in a string makes a prefix match; `\*` is a literal asterisk. Strings and `nil`
//! support only `==` and `!=`.

use crate::error::{Error, ErrorKind, Result};
use std::fmt;

/// A condition on hits, which the BPF program evaluates before it records or counts anything.
///
/// A filter is parsed without knowing any probe. Building a [`Plan`](crate::plan::Plan) binds its
/// names to the arguments of each selected probe.
///
/// ```
/// use usdt_attach::Filter;
///
/// let filter = Filter::parse("status >= 500 && path == '/api/*'")?;
/// let same: Filter = "status >= 500 && path == '/api/*'".parse()?;
/// assert_eq!(filter, same);
///
/// let error = Filter::parse("status = 500").unwrap_err();
/// assert_eq!(error.to_string(), "filter `status = 500`, column 8: expected `==`, not `=`");
/// # Ok::<(), usdt_attach::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(pub(crate) Expr);

/// The syntax tree of a filter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    /// `a && b`.
    All(Box<Expr>, Box<Expr>),
    /// `a || b`.
    Any(Box<Expr>, Box<Expr>),
    /// `!a`.
    Not(Box<Expr>),
    /// A comparison of a subject with a literal.
    Compare { subject: Subject, test: Test, value: Literal },
}

/// An argument or a property of the thread, as a filter or a label names it.
///
/// ```
/// use usdt_attach::Subject;
///
/// let subject = Subject::parse("str(arg1)")?;
/// assert_eq!(subject.to_string(), "str(arg1)");
/// # Ok::<(), usdt_attach::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The name as written: an argument, `argN`, `pid`, `tid`, `goid` or `comm`.
    pub name: String,
    /// True for `str(NAME)`: the argument is a pointer to a C string.
    pub string: bool,
}

/// The name of a subject that no argument hides: the process id. No user can write it.
pub(crate) const PROCESS: &str = "process id";

impl Subject {
    /// The process id, also for probes that have an argument `pid`.
    pub(crate) fn process() -> Subject {
        Subject { name: PROCESS.to_owned(), string: false }
    }
}

/// The operator of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Test {
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// The right-hand side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    /// An integer. The type is wider than any argument, so that no number is misread.
    Int(i128),
    /// A number with a decimal point or an exponent.
    Float(f64),
    /// A string, or the prefix of one.
    String {
        bytes: Vec<u8>,
        /// True where the string ended in `*`.
        prefix: bool,
    },
    /// `nil`: a null pointer.
    Nil,
}

impl Subject {
    /// Parses `NAME` or `str(NAME)`, as `--by` and `--pair-by` take them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFilter`]; the message has the column of the mistake.
    pub fn parse(source: &str) -> Result<Subject> {
        let mut parser = Parser { source, at: 0, depth: 0 };
        let subject = parser.subject()?;
        parser.end()?;
        Ok(subject)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.string { write!(f, "str({})", self.name) } else { f.write_str(&self.name) }
    }
}

impl Expr {
    /// Returns the subjects of all comparisons, in their order.
    pub(crate) fn subjects(&self) -> Vec<&Subject> {
        match self {
            Expr::All(a, b) | Expr::Any(a, b) => [a.subjects(), b.subjects()].concat(),
            Expr::Not(inner) => inner.subjects(),
            Expr::Compare { subject, .. } => vec![subject],
        }
    }
}

impl Filter {
    /// Parses a filter.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFilter`]; the message has the column of the mistake.
    pub fn parse(source: &str) -> Result<Filter> {
        let mut parser = Parser { source, at: 0, depth: 0 };
        let expr = parser.any()?;
        parser.end()?;
        Ok(Filter(expr))
    }

    /// Returns the names in the filter, in their order: those of arguments, `pid` and the like.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.subjects().into_iter().map(|subject| subject.name.as_str())
    }
}

impl std::str::FromStr for Filter {
    type Err = Error;

    fn from_str(source: &str) -> Result<Filter> {
        Filter::parse(source)
    }
}

impl std::str::FromStr for Subject {
    type Err = Error;

    fn from_str(source: &str) -> Result<Subject> {
        Subject::parse(source)
    }
}

/// Deepest nesting that is parsed; the parser recurses, so deeper nesting could overflow the stack.
const MAX_DEPTH: usize = 64;

struct Parser<'a> {
    source: &'a str,
    /// Byte offset of what is parsed next.
    at: usize,
    depth: usize,
}

const TESTS: [(&str, Test); 6] = [
    ("==", Test::Eq),
    ("!=", Test::Ne),
    ("<=", Test::Le),
    (">=", Test::Ge),
    ("<", Test::Lt),
    (">", Test::Gt),
];

impl Parser<'_> {
    /// Skips white space and returns the rest of the source.
    fn rest(&mut self) -> &str {
        let rest = self.source.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    /// Returns the error for a problem at the current column, counted in characters from 1.
    fn problem<T>(&self, problem: impl fmt::Display) -> Result<T> {
        let column = self.source.get(..self.at).map_or(0, |before| before.chars().count()) + 1;
        let message = format!("filter `{}`, column {column}: {problem}", self.source);
        Err(Error::new(ErrorKind::InvalidFilter, message))
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn end(&mut self) -> Result<()> {
        let rest = self.rest();
        if rest.is_empty() {
            return Ok(());
        }
        let problem = match rest.chars().next() {
            Some('=') => "expected `==`, not `=`".to_owned(),
            Some(c @ ('&' | '|')) => format!("expected `{c}{c}`, not `{c}`"),
            Some(c) => format!("unexpected `{c}`"),
            None => String::new(),
        };
        self.problem(problem)
    }

    fn any(&mut self) -> Result<Expr> {
        let mut left = self.all()?;
        while self.take("||") {
            left = Expr::Any(Box::new(left), Box::new(self.all()?));
        }
        Ok(left)
    }

    fn all(&mut self) -> Result<Expr> {
        let mut left = self.one()?;
        while self.take("&&") {
            left = Expr::All(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Expr> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.problem("more than 64 nested operators");
        }
        let expr = if self.take("!") {
            Expr::Not(Box::new(self.one()?))
        } else if self.take("(") {
            let inner = self.any()?;
            if !self.take(")") {
                return self.problem("missing `)`");
            }
            inner
        } else {
            self.compare()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn compare(&mut self) -> Result<Expr> {
        let subject = self.subject()?;
        let Some((_, test)) = TESTS.iter().find(|(token, _)| self.take(token)) else {
            return Ok(Expr::Compare { subject, test: Test::Ne, value: Literal::Int(0) });
        };
        let at = self.at;
        let value = self.literal()?;
        let ordered = !matches!(test, Test::Eq | Test::Ne);
        if ordered && matches!(value, Literal::String { .. } | Literal::Nil) {
            self.at = at;
            return self.problem("strings and nil support only `==` and `!=`");
        }
        Ok(Expr::Compare { subject, test: *test, value })
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.rest();
        let len = name_len(rest).filter(|_| !rest.starts_with(|c: char| c.is_ascii_digit()))?;
        let mut end = len;
        while let Some(len) = rest.get(end..).and_then(step_len) {
            end += len;
        }
        let name = rest.get(..end)?.to_owned();
        self.at += end;
        Some(name)
    }

    fn subject(&mut self) -> Result<Subject> {
        let Some(name) = self.name() else {
            return self.problem("expected the name of an argument");
        };
        let is_function = ["str", "len", "cap"].contains(&name.as_str());
        if !is_function || !self.take("(") {
            return Ok(Subject { name, string: false });
        }
        let Some(inner) = self.name() else {
            return self.problem("expected the name of an argument");
        };
        if !self.take(")") {
            return self.problem("missing `)`");
        }
        Ok(match name.as_str() {
            "str" => Subject { name: inner, string: true },
            // The argument of a function probe has this name.
            size => Subject { name: format!("{size}({inner})"), string: false },
        })
    }

    fn literal(&mut self) -> Result<Literal> {
        match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            Some(c) if c.is_ascii_digit() || c == '-' || c == '+' || c == '.' => self.number(),
            _ => {
                let at = self.at;
                match self.name().as_deref() {
                    Some("true") => Ok(Literal::Int(1)),
                    Some("false") => Ok(Literal::Int(0)),
                    Some("nil" | "NULL") => Ok(Literal::Nil),
                    Some(other) => {
                        let problem =
                            format!("expected a value, not `{other}` (quote strings: \"{other}\")");
                        self.at = at;
                        self.problem(problem)
                    }
                    None => self.problem("expected a number, \"string\", true, false or nil"),
                }
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Literal> {
        let start = self.at;
        self.at += 1;
        let mut bytes = Vec::new();
        // True where the previous character was an unescaped asterisk.
        let mut star = false;
        loop {
            let Some(c) = self.source.get(self.at..).and_then(|rest| rest.chars().next()) else {
                self.at = start;
                return self.problem("the string is not closed");
            };
            self.at += c.len_utf8();
            if c == quote {
                break;
            }
            if star {
                self.at = start;
                return self
                    .problem("`*` is allowed only at the end of a string (`\\*` is an asterisk)");
            }
            if c == '*' {
                star = true;
                continue;
            }
            let c = if c == '\\' { self.escaped()? } else { c };
            bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
        }
        Ok(Literal::String { bytes, prefix: star })
    }

    fn escaped(&mut self) -> Result<char> {
        let c = self.source.get(self.at..).and_then(|rest| rest.chars().next());
        let out = match c {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some(c @ ('\\' | '"' | '\'' | '*')) => c,
            _ => {
                return self.problem("unknown escape (known are \\n \\t \\r \\\\ \\\" \\' \\*)");
            }
        };
        self.at += 1;
        Ok(out)
    }

    fn number(&mut self) -> Result<Literal> {
        let rest = self.rest();
        let end = number_end(rest);
        let number = rest.get(..end).unwrap_or_default().replace('_', "");
        let (negative, digits) = match number.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, number.strip_prefix('+').unwrap_or(&number)),
        };
        let whole = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
            Some(hex) => i128::from_str_radix(hex, 16).ok(),
            None => digits.parse::<i128>().ok(),
        };
        let value = match (whole, digits.parse::<f64>()) {
            (Some(whole), _) => Literal::Int(if negative { -whole } else { whole }),
            (None, Ok(float)) if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
                Literal::Float(if negative { -float } else { float })
            }
            _ => return self.problem(format!("`{number}` is not a number")),
        };
        self.at += end;
        Ok(value)
    }
}

/// Returns the length of the name at the beginning of `source`, without the fields after it; `None`
/// if there is none.
fn name_len(source: &str) -> Option<usize> {
    let is_end = |c: char| !c.is_alphanumeric() && c != '_';
    Some(source.find(is_end).unwrap_or(source.len())).filter(|len| *len > 0)
}

/// Returns the length of a step of a path at the beginning of `source`: `.field`, `[2]` or a type
/// assertion such as `.(*fs.PathError)`.
fn step_len(source: &str) -> Option<usize> {
    if let Some(index) = source.strip_prefix('[') {
        let digits = index.find(|c: char| !c.is_ascii_digit()).filter(|len| *len > 0)?;
        return index.get(digits..)?.starts_with(']').then_some(digits + 2);
    }
    let rest = source.strip_prefix('.')?;
    if !rest.starts_with('(') {
        return name_len(rest).map(|len| 1 + len);
    }
    // Types of functions have parentheses, too.
    let mut open = 0usize;
    let end = rest.char_indices().find_map(|(at, c)| {
        match c {
            '(' => open += 1,
            ')' => open = open.saturating_sub(1),
            _ => {}
        }
        (open == 0).then_some(at)
    })?;
    Some(end + 2)
}

/// Returns the length of the number at the beginning of `source`. A sign is part of it at the
/// beginning and after the `e` of a decimal exponent.
fn number_end(source: &str) -> usize {
    let hex = source.trim_start_matches(['-', '+']).starts_with("0x");
    let mut last = None;
    let mut end = 0;
    for (at, c) in source.char_indices() {
        let sign = matches!(c, '-' | '+') && (at == 0 || !hex && matches!(last, Some('e' | 'E')));
        if !sign && !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_') {
            break;
        }
        last = Some(c);
        end = at + c.len_utf8();
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compare(name: &str, test: Test, value: Literal) -> Expr {
        Expr::Compare { subject: Subject { name: name.into(), string: false }, test, value }
    }

    fn string(bytes: &str, prefix: bool) -> Literal {
        Literal::String { bytes: bytes.as_bytes().to_vec(), prefix }
    }

    #[test]
    fn parses_paths_with_indexes_and_type_assertions() {
        for path in [
            "names[2]",
            "items[0].ID",
            "err.(*fs.PathError).Path",
            "v.(func(int) string)",
            "len(v.([]string)[1])",
            "cap(items[3].list)",
        ] {
            assert_eq!(Subject::parse(path).unwrap().name, path);
            let filter = Filter::parse(&format!("({path} == 1)")).unwrap();
            assert_eq!(filter.names().collect::<Vec<_>>(), [path]);
        }
        for (path, problem) in [
            ("names[", "column 6: unexpected `[`"),
            ("names[x]", "column 6: unexpected `[`"),
            ("v.(T", "column 2: unexpected `.`"),
            ("v.", "column 2: unexpected `.`"),
        ] {
            let error = Subject::parse(path).unwrap_err().to_string();
            assert!(error.ends_with(problem), "{error}");
        }
    }

    #[test]
    fn parses_literals() {
        let cases = [
            ("a == 5", compare("a", Test::Eq, Literal::Int(5))),
            ("a!=-5", compare("a", Test::Ne, Literal::Int(-5))),
            ("a <= 0xff", compare("a", Test::Le, Literal::Int(255))),
            ("a>1_000", compare("a", Test::Gt, Literal::Int(1000))),
            ("a < 18446744073709551615", compare("a", Test::Lt, Literal::Int(u64::MAX.into()))),
            ("f >= 1.5", compare("f", Test::Ge, Literal::Float(1.5))),
            ("f > 1e-3", compare("f", Test::Gt, Literal::Float(0.001))),
            ("f > -2.5e+2", compare("f", Test::Gt, Literal::Float(-250.0))),
            ("ok", compare("ok", Test::Ne, Literal::Int(0))),
            ("ok == true", compare("ok", Test::Eq, Literal::Int(1))),
            ("err != nil", compare("err", Test::Ne, Literal::Nil)),
            ("m == \"GET\"", compare("m", Test::Eq, string("GET", false))),
            ("m == '/api/*'", compare("m", Test::Eq, string("/api/", true))),
            (r#"m == "\*\"\\\n*""#, compare("m", Test::Eq, string("*\"\\\n", true))),
        ];
        for (source, expected) in cases {
            assert_eq!(Filter::parse(source).unwrap().0, expected, "{source}");
        }
    }

    #[test]
    fn names_can_have_fields() {
        let path = compare("r.URL.Path", Test::Eq, string("/x", false));
        assert_eq!(Filter::parse("r.URL.Path == '/x'").unwrap().0, path);
        assert_eq!(Subject::parse("a.b").unwrap().name, "a.b");
        assert_eq!(Filter::parse("len(a.b) > 1").unwrap().0.subjects()[0].name, "len(a.b)");
        assert_eq!(Filter::parse("len > 1 && cap").unwrap().0.subjects()[0].name, "len");
        assert_eq!(Filter::parse("str(a.b) && a.b > .5 || !c.d").unwrap().0.subjects().len(), 3);
        for wrong in ["a.", "a..b", ".a", "a. b"] {
            assert!(Filter::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn and_binds_tighter_than_or() {
        let parsed = Filter::parse("a || b && !(c || d)").unwrap().0;
        assert_eq!(format!("{parsed:?}").matches("Any").count(), 2);
        assert!(matches!(&parsed, Expr::Any(_, right) if matches!(**right, Expr::All(..))));
    }

    #[test]
    fn str_marks_a_c_string() {
        assert!(Filter::parse("str(arg0) == 'x'").is_ok());
        assert_eq!(Subject::parse("str(arg1)").unwrap().to_string(), "str(arg1)");
    }

    #[test]
    fn messages_name_the_column() {
        for (source, expected) in [
            ("", "filter ``, column 1: expected the name of an argument"),
            ("id = 5", "filter `id = 5`, column 4: expected `==`, not `=`"),
            ("a & b", "filter `a & b`, column 3: expected `&&`, not `&`"),
            (
                "m == GET",
                "filter `m == GET`, column 6: expected a value, not `GET` (quote strings: \"GET\")",
            ),
            ("(a", "filter `(a`, column 3: missing `)`"),
            ("m == 'x", "filter `m == 'x`, column 6: the string is not closed"),
            ("m < 'x'", "filter `m < 'x'`, column 4: strings and nil support only `==` and `!=`"),
            (
                "m == '*x'",
                "filter `m == '*x'`, column 6: `*` is allowed only at the end of a string (`\\*` is an asterisk)",
            ),
            ("a == 5x", "filter `a == 5x`, column 6: `5x` is not a number"),
            ("a ==", "filter `a ==`, column 5: expected a number, \"string\", true, false or nil"),
            ("é == 1 ?", "filter `é == 1 ?`, column 8: unexpected `?`"),
        ] {
            assert_eq!(Filter::parse(source).unwrap_err().to_string(), expected);
        }
        assert!(
            Filter::parse(&"(".repeat(100_000))
                .unwrap_err()
                .to_string()
                .ends_with("more than 64 nested operators")
        );
        assert!(Filter::parse(&"!".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(source in "[a-z0-9_!&|()<>='\"*\\\\. +-]{0,40}") {
            let _ = Filter::parse(&source).map_err(|e| e.to_string());
        }

        #[test]
        fn any_string_can_be_quoted(value in "\\PC{0,20}", prefix: bool) {
            let mut quoted = String::new();
            for c in value.chars() {
                if matches!(c, '"' | '\\' | '*') { quoted.push('\\'); }
                quoted.push(c);
            }
            let star = if prefix { "*" } else { "" };
            let parsed = Filter::parse(&format!("a == \"{quoted}{star}\""));
            prop_assert_eq!(parsed.unwrap().0, compare("a", Test::Eq, string(&value, prefix)));
        }
    }
}
