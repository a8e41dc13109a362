//! The syntax of paths.

use super::{PathError, Size, Step, ValuePath};

/// The limits in bytes and steps of a path.
const MAX_LEN: usize = 1024;
const MAX_STEPS: usize = 32;

/// A parser, and what it has not read yet.
struct Parser<'p> {
    path: &'p str,
    rest: &'p str,
}

/// Parses a path.
pub(super) fn parse(path: &str) -> Result<ValuePath, PathError> {
    let mut parser = Parser { path, rest: path.trim() };
    if path.len() > MAX_LEN {
        return Err(parser.error("it is too long"));
    }
    let sizes = [("len(", Size::Len), ("cap(", Size::Cap)];
    let size = sizes.into_iter().find(|(call, _)| parser.accept(call)).map(|(_, size)| size);
    let (variable, steps) = parser.expression(0)?;
    if size.is_some() {
        parser.expect(")")?;
    }
    if !parser.rest.is_empty() {
        return Err(parser.error("expected `.field`, `[index]`, `.(type)` or the end"));
    }
    Ok(ValuePath { variable, steps, size })
}

impl Parser<'_> {
    fn error(&self, problem: &str) -> PathError {
        let at = if self.rest.is_empty() { "the end".into() } else { format!("`{}`", self.rest) };
        PathError::Syntax { path: self.path.to_owned(), problem: format!("{problem} at {at}") }
    }

    fn accept(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest).trim_start();
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), PathError> {
        if self.accept(token) { Ok(()) } else { Err(self.error(&format!("expected `{token}`"))) }
    }

    /// Reads the longest prefix of characters that `is_part` accepts.
    fn take(&mut self, is_part: impl Fn(char) -> bool) -> &str {
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        taken
    }

    fn name(&mut self) -> Result<String, PathError> {
        // Results without a name, and captured variables.
        let prefix = ["~", "&"].into_iter().find(|prefix| self.accept(prefix)).unwrap_or_default();
        let name = self.take(|c| c == '_' || c.is_alphanumeric()).to_owned();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.error("expected a name"));
        }
        Ok(format!("{prefix}{name}"))
    }

    /// Reads the name of a type and the parenthesis after it. Types of functions have parentheses,
    /// too.
    fn type_name(&mut self) -> Result<String, PathError> {
        let mut open = 0usize;
        let end = self.rest.find(|c| {
            match c {
                '(' => open += 1,
                ')' if open == 0 => return true,
                ')' => open -= 1,
                _ => {}
            }
            false
        });
        let Some((name, rest)) = end.and_then(|end| self.rest.split_at_checked(end)) else {
            return Err(self.error("expected a type and `)`"));
        };
        if name.trim().is_empty() {
            return Err(self.error("expected a type"));
        }
        self.rest = rest;
        self.expect(")")?;
        Ok(name.trim().to_owned())
    }

    /// Parses a variable and the steps from it.
    fn expression(&mut self, depth: usize) -> Result<(String, Vec<Step>), PathError> {
        if depth > MAX_STEPS {
            return Err(self.error("it has too many parts"));
        }
        // `*` binds less than fields and indexes: `*p.x` is `*(p.x)`.
        if self.accept("*") {
            let (variable, mut steps) = self.expression(depth + 1)?;
            steps.push(Step::Dereference);
            return Ok((variable, steps));
        }
        let (variable, mut steps) = if self.accept("(") {
            let inner = self.expression(depth + 1)?;
            self.expect(")")?;
            inner
        } else {
            (self.name()?, Vec::new())
        };
        loop {
            if self.accept(".(") {
                steps.push(Step::Assert(self.type_name()?));
            } else if self.accept(".") {
                steps.push(Step::Field(self.name()?));
            } else if self.accept("[") {
                let index = self.take(|c| c.is_ascii_digit()).parse();
                steps.push(Step::Index(index.map_err(|_| self.error("expected an index"))?));
                self.expect("]")?;
            } else {
                break;
            }
            if steps.len() > MAX_STEPS {
                return Err(self.error("it has too many parts"));
            }
        }
        Ok((variable, steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Step::{Assert, Dereference, Field, Index};
    use proptest::prelude::*;

    fn steps(path: &str) -> (String, Vec<Step>, Option<Size>) {
        let path = parse(path).unwrap();
        (path.variable, path.steps, path.size)
    }

    #[test]
    fn parses_fields_indexes_and_dereferences() {
        let field = |name: &str| Field(name.to_owned());
        assert_eq!(steps("r.URL.Path"), ("r".into(), vec![field("URL"), field("Path")], None));
        assert_eq!(steps("*p.x"), ("p".into(), vec![field("x"), Dereference], None));
        assert_eq!(steps("(*p).x"), ("p".into(), vec![Dereference, field("x")], None));
        assert_eq!(steps(" a[2] . b "), ("a".into(), vec![Index(2), field("b")], None));
        assert_eq!(steps("len(m.x)"), ("m".into(), vec![field("x")], Some(Size::Len)));
        assert_eq!(steps("cap(~r0)"), ("~r0".into(), vec![], Some(Size::Cap)));
        let assert = |name: &str| Assert(name.to_owned());
        assert_eq!(
            steps("err.(*fs.PathError).Path"),
            ("err".into(), vec![assert("*fs.PathError"), field("Path")], None)
        );
        assert_eq!(steps("f.( func(int) string )").1, vec![assert("func(int) string")]);
        assert_eq!(steps("len(v.([]string)[1])").1, vec![assert("[]string"), Index(1)]);
        assert_eq!(steps("length"), ("length".into(), vec![], None));
        assert_eq!(steps("größe"), ("größe".into(), vec![], None));
    }

    #[test]
    fn says_where_a_path_is_wrong() {
        for (path, problem) in [
            ("", "expected a name at the end"),
            ("r.", "expected a name at the end"),
            ("r..x", "expected a name at `.x`"),
            ("a[x]", "expected an index at `x]`"),
            ("a[1", "expected `]` at the end"),
            ("len(a", "expected `)` at the end"),
            ("v.(T", "expected a type and `)` at `T`"),
            ("v.()", "expected a type at `)`"),
            ("v.(func(", "expected a type and `)` at `func(`"),
            ("a b", "expected `.field`, `[index]`, `.(type)` or the end at `b`"),
            ("a+1", "expected `.field`, `[index]`, `.(type)` or the end at `+1`"),
            ("1a", "expected a name at the end"),
        ] {
            let error = parse(path).unwrap_err().to_string();
            assert_eq!(error, format!("`{path}` is not a path to a value: {problem}"));
        }
    }

    /// Returns paths in their shortest form, up to a number of steps.
    fn paths() -> impl Strategy<Value = ValuePath> {
        let step = prop_oneof![
            "[a-zA-Z_][a-zA-Z0-9_]{0,6}".prop_map(Field),
            any::<u64>().prop_map(Index),
            "[*]{0,2}([a-z]{1,4}/){0,2}[a-z]{1,4}[.][A-Z][a-z]{0,4}".prop_map(Assert),
            Just(Assert("func(int) (string, error)".to_owned())),
            Just(Dereference),
        ];
        let size = prop_oneof![Just(None), Just(Some(Size::Len)), Just(Some(Size::Cap))];
        ("[~&]?[a-z_][a-z0-9_]{0,6}", prop::collection::vec(step, 0..12), size)
            .prop_map(|(variable, steps, size)| ValuePath { variable, steps, size })
    }

    proptest! {
        #[test]
        fn accepts_any_string(path in "[*().a-c~&\\[\\]0-9len ]{0,80}") {
            let _ = parse(&path);
        }

        #[test]
        fn accepts_any_characters(path: String) {
            let _ = parse(&path);
        }

        #[test]
        fn reads_what_it_writes(path in paths()) {
            prop_assert_eq!(parse(&path.to_string()), Ok(path));
        }
    }
}
