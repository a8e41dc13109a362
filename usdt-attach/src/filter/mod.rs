//! The language of `--filter`: comparisons of arguments joined by `&&`, `||` and `!`.
//!
//! ```text
//! filter     = any ;           any = all { "||" all } ;       all = one { "&&" one } ;
//! one        = "!" one | "(" any ")" | subject [ test literal ] ;
//! subject    = NAME | "str(" NAME ")" ;
//! test       = "==" | "!=" | "<" | "<=" | ">" | ">=" ;
//! literal    = number | 'text' | "text" | "true" | "false" | "nil" ;
//! ```
//!
//! A name is an argument's, `argN`, or `pid`, `tid`, `goid`, `comm`. Text that ends in `*` is a prefix; `\*` is the
//! character. A subject alone means "not zero". `str` says that an argument is a C string.

use std::fmt;

/// A condition on a hit, not yet bound to a probe.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Both.
    All(Box<Filter>, Box<Filter>),
    /// At least one.
    Any(Box<Filter>, Box<Filter>),
    /// Not.
    Not(Box<Filter>),
    /// A comparison.
    Compare {
        /// What is compared.
        subject: Subject,
        /// How.
        test: Test,
        /// With what.
        value: Literal,
    },
}

/// An argument, or a property of the thread.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// As written.
    pub name: String,
    /// To be read as a C string.
    pub string: bool,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Test {
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

/// What a subject is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// An integer; wider than any argument, so that none is misread.
    Int(i128),
    /// A number with a point or an exponent.
    Float(f64),
    /// Text, or its beginning.
    String {
        /// The bytes.
        bytes: Vec<u8>,
        /// Whether more may follow.
        prefix: bool,
    },
    /// `nil`: a pointer of zero.
    Nil,
}

/// What is wrong with a filter, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFilter {
    text: String,
    at: usize,
    problem: String,
}

impl fmt::Display for BadFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.text.get(..self.at).map_or(0, |before| before.chars().count()) + 1;
        write!(f, "{} at column {column} of the filter `{}`", self.problem, self.text)
    }
}

impl std::error::Error for BadFilter {}

impl Subject {
    /// Reads `NAME` or `str(NAME)`, as `--by` and `--key` take them.
    pub fn parse(text: &str) -> Result<Subject, BadFilter> {
        let mut parser = Parser { text, at: 0, depth: 0 };
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

impl Filter {
    /// Reads a filter.
    pub fn parse(text: &str) -> Result<Filter, BadFilter> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let filter = parser.any()?;
        parser.end()?;
        Ok(filter)
    }
}

impl std::str::FromStr for Filter {
    type Err = crate::error::Error;

    fn from_str(text: &str) -> crate::error::Result<Filter> {
        Filter::parse(text).map_err(|error| {
            crate::error::Error::new(crate::error::ErrorKind::InvalidFilter, error.to_string())
        })
    }
}

impl std::str::FromStr for Subject {
    type Err = crate::error::Error;

    fn from_str(text: &str) -> crate::error::Result<Subject> {
        Subject::parse(text).map_err(|error| {
            crate::error::Error::new(crate::error::ErrorKind::InvalidFilter, error.to_string())
        })
    }
}

/// Deeper nesting is a mistake, or an attack on the stack.
const DEEPEST: usize = 64;

struct Parser<'a> {
    text: &'a str,
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
    fn rest(&mut self) -> &str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn problem<T>(&self, problem: impl Into<String>) -> Result<T, BadFilter> {
        Err(BadFilter { text: self.text.to_owned(), at: self.at, problem: problem.into() })
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn end(&mut self) -> Result<(), BadFilter> {
        let rest = self.rest();
        if rest.is_empty() {
            return Ok(());
        }
        let problem = match rest.chars().next() {
            Some('=') => "`=` is no comparison; write `==`".to_owned(),
            Some('&' | '|') => "`&&` and `||` are written twice".to_owned(),
            Some(c) => format!("`{c}` is not expected"),
            None => String::new(),
        };
        self.problem(problem)
    }

    fn any(&mut self) -> Result<Filter, BadFilter> {
        let mut left = self.all()?;
        while self.take("||") {
            left = Filter::Any(Box::new(left), Box::new(self.all()?));
        }
        Ok(left)
    }

    fn all(&mut self) -> Result<Filter, BadFilter> {
        let mut left = self.one()?;
        while self.take("&&") {
            left = Filter::All(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Filter, BadFilter> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.problem("nested too deeply");
        }
        let filter = if self.take("!") {
            Filter::Not(Box::new(self.one()?))
        } else if self.take("(") {
            let inner = self.any()?;
            if !self.take(")") {
                return self.problem("`)` is missing");
            }
            inner
        } else {
            self.compare()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn compare(&mut self) -> Result<Filter, BadFilter> {
        let subject = self.subject()?;
        let Some((_, test)) = TESTS.iter().find(|(token, _)| self.take(token)) else {
            return Ok(Filter::Compare { subject, test: Test::Ne, value: Literal::Int(0) });
        };
        let at = self.at;
        let value = self.literal()?;
        let ordered = !matches!(test, Test::Eq | Test::Ne);
        if ordered && matches!(value, Literal::String { .. } | Literal::Nil) {
            self.at = at;
            return self.problem("text and nil have no order; only `==` and `!=` apply");
        }
        Ok(Filter::Compare { subject, test: *test, value })
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = rest.get(..end).unwrap_or_default().to_owned();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.at += end;
        Some(name)
    }

    fn subject(&mut self) -> Result<Subject, BadFilter> {
        let Some(name) = self.name() else {
            return self.problem("the name of an argument is expected");
        };
        if name != "str" || !self.take("(") {
            return Ok(Subject { name, string: false });
        }
        let Some(name) = self.name() else {
            return self.problem("the name of an argument is expected");
        };
        if !self.take(")") {
            return self.problem("`)` is missing");
        }
        Ok(Subject { name, string: true })
    }

    fn literal(&mut self) -> Result<Literal, BadFilter> {
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
                        let problem = format!("`{other}` is no value; text is written \"{other}\"");
                        self.at = at;
                        self.problem(problem)
                    }
                    None => self.problem("a number, \"text\", true, false or nil is expected"),
                }
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Literal, BadFilter> {
        let start = self.at;
        self.at += 1;
        let mut bytes = Vec::new();
        // Where an unescaped star was the last character.
        let mut star = false;
        loop {
            let Some(c) = self.text.get(self.at..).and_then(|rest| rest.chars().next()) else {
                self.at = start;
                return self.problem("the text is not closed");
            };
            self.at += c.len_utf8();
            if c == quote {
                break;
            }
            if star {
                self.at = start;
                return self
                    .problem("`*` stands at the end of a text only; the character is `\\*`");
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

    fn escaped(&mut self) -> Result<char, BadFilter> {
        let c = self.text.get(self.at..).and_then(|rest| rest.chars().next());
        let out = match c {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some(c @ ('\\' | '"' | '\'' | '*')) => c,
            _ => {
                return self
                    .problem("this escape is unknown; there are \\n \\t \\r \\\\ \\\" \\' \\*");
            }
        };
        self.at += 1;
        Ok(out)
    }

    fn number(&mut self) -> Result<Literal, BadFilter> {
        let rest = self.rest();
        let end = number_end(rest);
        let text = rest.get(..end).unwrap_or_default().replace('_', "");
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(&text)),
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
            _ => return self.problem(format!("`{text}` is no number")),
        };
        self.at += end;
        Ok(value)
    }
}

/// Where a number ends. A sign belongs to it at its beginning and behind a decimal exponent.
fn number_end(text: &str) -> usize {
    let hex = text.trim_start_matches(['-', '+']).starts_with("0x");
    let mut last = None;
    let mut end = 0;
    for (at, c) in text.char_indices() {
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

    fn compare(name: &str, test: Test, value: Literal) -> Filter {
        Filter::Compare { subject: Subject { name: name.into(), string: false }, test, value }
    }

    fn text(bytes: &str, prefix: bool) -> Literal {
        Literal::String { bytes: bytes.as_bytes().to_vec(), prefix }
    }

    #[test]
    fn literals() {
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
            ("m == \"GET\"", compare("m", Test::Eq, text("GET", false))),
            ("m == '/api/*'", compare("m", Test::Eq, text("/api/", true))),
            (r#"m == "\*\"\\\n*""#, compare("m", Test::Eq, text("*\"\\\n", true))),
        ];
        for (source, expected) in cases {
            assert_eq!(Filter::parse(source).as_ref(), Ok(&expected), "{source}");
        }
    }

    #[test]
    fn and_binds_tighter_than_or() {
        let names = |f: &Filter| format!("{f:?}").matches("Any").count();
        let parsed = Filter::parse("a || b && !(c || d)").unwrap();
        assert_eq!(names(&parsed), 2);
        assert!(matches!(&parsed, Filter::Any(_, right) if matches!(**right, Filter::All(..))));
        assert_eq!(Filter::parse("str(arg0) == 'x'").map(|_| ()), Ok(()));
        assert_eq!(Subject::parse("str(arg1)").unwrap().to_string(), "str(arg1)");
    }

    #[test]
    fn mistakes_say_where() {
        for (source, expected) in [
            ("", "the name of an argument is expected at column 1 of the filter ``"),
            ("id = 5", "`=` is no comparison; write `==` at column 4 of the filter `id = 5`"),
            ("a & b", "`&&` and `||` are written twice at column 3 of the filter `a & b`"),
            (
                "m == GET",
                "`GET` is no value; text is written \"GET\" at column 6 of the filter `m == GET`",
            ),
            ("(a", "`)` is missing at column 3 of the filter `(a`"),
            ("m == 'x", "the text is not closed at column 6 of the filter `m == 'x`"),
            (
                "m < 'x'",
                "text and nil have no order; only `==` and `!=` apply at column 4 of the filter `m < 'x'`",
            ),
            (
                "m == '*x'",
                "`*` stands at the end of a text only; the character is `\\*` at column 6 of the filter `m == '*x'`",
            ),
            ("a == 5x", "`5x` is no number at column 6 of the filter `a == 5x`"),
            (
                "a ==",
                "a number, \"text\", true, false or nil is expected at column 5 of the filter `a ==`",
            ),
            ("é == 1 ?", "`?` is not expected at column 8 of the filter `é == 1 ?`"),
        ] {
            assert_eq!(Filter::parse(source).unwrap_err().to_string(), expected);
        }
        assert!(
            Filter::parse(&"(".repeat(100_000))
                .unwrap_err()
                .to_string()
                .starts_with("nested too deeply")
        );
        assert!(Filter::parse(&"!".repeat(100_000)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(source in "[a-z0-9_!&|()<>='\"*\\\\. +-]{0,40}") {
            let _ = Filter::parse(&source).map_err(|e| e.to_string());
        }

        #[test]
        fn any_text_can_be_asked_for(value in "\\PC{0,20}", prefix: bool) {
            let mut quoted = String::new();
            for c in value.chars() {
                if matches!(c, '"' | '\\' | '*') { quoted.push('\\'); }
                quoted.push(c);
            }
            let star = if prefix { "*" } else { "" };
            let parsed = Filter::parse(&format!("a == \"{quoted}{star}\""));
            prop_assert_eq!(parsed, Ok(compare("a", Test::Eq, text(&value, prefix))));
        }
    }
}
