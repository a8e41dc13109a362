//! The `func` of a rule: a package pattern and a pattern of function names.
//!
//! Both have the spelling of tracebacks and pprof: `net/http.(*Client).Do`. A colon may separate
//! them, which is needed after a pattern that ends in dots: `example.com/shop/...:*Handler`.

/// A package pattern and a pattern of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FunctionSpec {
    /// Pattern of import paths, or `main` for all programs.
    pub(super) package: String,
    /// Pattern of names, without type arguments.
    pub(super) name: String,
}

impl FunctionSpec {
    /// Parses a function as the user wrote it. The error is a message for the user.
    pub(super) fn parse(text: &str) -> Result<FunctionSpec, String> {
        let (package, name) = match text.split_once(':') {
            Some((package, name)) => (package.to_owned(), name),
            None => split_symbol(text)
                .ok_or("no function name; write the package, a dot and the name, such as `net/http.(*Client).Do`")?,
        };
        let package = unescape(&package);
        if package.is_empty() {
            return Err("no package before the function name; write its import path".into());
        }
        if let "all" | "std" | "cmd" = package.as_str() {
            return Err(format!(
                "`{package}` is not an import path; name the packages, such as `net/...:{name}`"
            ));
        }
        if package.contains(|c: char| c.is_whitespace() || c.is_control() || "*()=,'\"".contains(c))
        {
            return Err(format!(
                "`{package}` is not an import path; the wildcard of paths is `...`, and a colon follows it: `example.com/shop/...:*`"
            ));
        }
        let name = without_type_arguments(name);
        if name.is_empty() {
            return Err(format!("no function name after `{package}`; `*` matches all of them"));
        }
        if let Some((function, _)) = name.split_once(".func") {
            let is_closure = name
                .rsplit(".func")
                .next()
                .is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()));
            if is_closure {
                return Err(format!(
                    "a function literal cannot have probes; use the function around it, `{function}`"
                ));
            }
        }
        check_name(&name)?;
        Ok(FunctionSpec { package, name })
    }
}

/// Checks a pattern of function names. The error is a message for the user.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_alphanumeric() || "_.*()[]-".contains(c);
    if let Some(c) = name.chars().find(|c| !allowed(*c)) {
        return Err(format!("`{}` cannot be in a function name", c.escape_default()));
    }
    if name.matches('(').count() != name.matches(')').count()
        || name.matches('[').count() != name.matches(']').count()
    {
        return Err(format!(
            "unbalanced brackets in `{name}`; a method is written `(*Type).Method` or `Type.Method`"
        ));
    }
    Ok(())
}

/// Returns true if a pattern matches only one name: it has neither a star, other than that of a
/// pointer receiver, nor a set of characters.
pub(super) fn is_exact(name: &str) -> bool {
    !name.replace("(*", "(").contains(['*', '['])
}

/// Returns a hint that names the function with the most similar name; empty if none is similar.
pub(super) fn suggestion(name: &str, names: &[String]) -> String {
    // Most mistakes are in the receiver: a star too many or too few, or none at all.
    let method = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let similarity = |other: &String| {
        let score = similar::TextDiff::from_chars(name, other.as_str()).ratio();
        let bonus = if method(other) == method(name) { 0.3 } else { 0.0 };
        ((score + bonus) * 1000.0) as u32
    };
    let best = names.iter().map(|other| (similarity(other), other)).max();
    match best {
        Some((score, other)) if score >= 600 => format!("; did you mean `{other}`?"),
        _ => String::new(),
    }
}

/// Splits a symbol at the first dot after the last slash of its package.
fn split_symbol(text: &str) -> Option<(String, &str)> {
    // A slash in type arguments does not belong to the package.
    let end = text.find(['(', '[']).unwrap_or(text.len());
    let base = text.get(..end)?.rfind('/').map_or(0, |slash| slash + 1);
    let rest = text.get(base..)?;
    let mut dot = base + rest.find('.')?;
    // Paths of gopkg.in end in a version, whose dot symbols spell `%2e`.
    if text.starts_with("gopkg.in/") {
        let version = text.get(dot + 1..)?;
        let digits =
            version.strip_prefix('v').map(|v| v.bytes().take_while(u8::is_ascii_digit).count());
        if let Some(digits) = digits.filter(|digits| *digits > 0)
            && version.get(digits + 1..)?.starts_with('.')
        {
            dot += digits + 2;
        }
    }
    Some((text.get(..dot)?.to_owned(), text.get(dot + 1..)?))
}

/// Decodes `%2e` and similar, which symbols have instead of dots in the last part of a path.
fn unescape(package: &str) -> String {
    let mut out = String::new();
    let mut rest = package;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let byte = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte.filter(u8::is_ascii_graphic) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push('%');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Removes `[...]`, which tracebacks print after the names of generic functions and types.
fn without_type_arguments(name: &str) -> String {
    name.replace("[...]", "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn splits_symbols_as_tracebacks_print_them() {
        for (text, package, name) in [
            ("main.run", "main", "run"),
            ("net/http.(*Client).Do", "net/http", "(*Client).Do"),
            (
                "github.com/redis/go-redis/v9.(*Client).Process",
                "github.com/redis/go-redis/v9",
                "(*Client).Process",
            ),
            ("example.com/shop/...:*Handler*", "example.com/shop/...", "*Handler*"),
            ("gopkg.in/yaml%2ev3.Unmarshal", "gopkg.in/yaml.v3", "Unmarshal"),
            ("gopkg.in/yaml.v3.(*Decoder).Decode", "gopkg.in/yaml.v3", "(*Decoder).Decode"),
            ("gopkg.in/yaml.v3:Unmarshal", "gopkg.in/yaml.v3", "Unmarshal"),
            ("gopkg.in/tomb.vX.Y", "gopkg.in/tomb", "vX.Y"),
            ("a/b.Map[...]", "a/b", "Map"),
            ("a/b.(*Tree[...]).Get", "a/b", "(*Tree).Get"),
            ("time.Duration.String", "time", "Duration.String"),
            ("a/b:[A-Z]*", "a/b", "[A-Z]*"),
        ] {
            let spec = FunctionSpec::parse(text).unwrap();
            assert_eq!((spec.package.as_str(), spec.name.as_str()), (package, name), "{text}");
        }
    }

    #[test]
    fn suggests_similar_names() {
        let names = ["(*Store).Get", "Open", "run"].map(str::to_owned);
        assert_eq!(suggestion("Store.Get", &names), "; did you mean `(*Store).Get`?");
        assert_eq!(suggestion("(*Store).Gett", &names), "; did you mean `(*Store).Get`?");
        assert_eq!(suggestion("Zebra", &names), "");
        assert!(is_exact("(*Store).Get") && !is_exact("(*Store).*") && !is_exact("[A-Z]x"));
    }

    #[test]
    fn rejects_what_names_no_function() {
        for (text, message) in [
            ("Handler", "no function name"),
            (":Get", "no package"),
            ("a/b:", "no function name after `a/b`"),
            ("all:Get", "is not an import path"),
            ("a/*.Get", "is not an import path"),
            ("a/b.(*T.Get", "unbalanced"),
            ("main.run.func1", "use the function around it, `run`"),
            ("a.b c", "cannot be in a function name"),
        ] {
            let error = FunctionSpec::parse(text).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,20}") {
            let _ = FunctionSpec::parse(&text);
            let _ = FunctionSpec::parse(&format!("gopkg.in/{text}"));
        }

        #[test]
        fn joined_parts_come_back(package in "[a-z]{1,3}(/[a-z]{1,3}){0,2}", name in "[A-Z][a-z]{0,4}") {
            let spec = FunctionSpec::parse(&format!("{package}.(*T).{name}")).unwrap();
            prop_assert_eq!(spec, FunctionSpec { package, name: format!("(*T).{name}") });
        }
    }
}
