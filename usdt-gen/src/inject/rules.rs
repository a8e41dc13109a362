//! Rules: the functions that get probes, and what the probes show.
//!
//! Rules come from a TOML file or from the command line. Each value that a message may point to
//! keeps its position in the file.

use super::function_spec::{self, FunctionSpec};
use crate::dlang::diagnostic::Diagnostic;
use crate::dlang::source::Sources;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

/// The rules of a build, and the files that they come from for messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RuleSet {
    files: Vec<RuleSource>,
    /// Rules in the order of the files and of the command line.
    pub(crate) rules: Vec<Rule>,
}

/// A file with rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RuleSource {
    /// Name of the file in messages.
    name: String,
    /// Content of the file.
    text: String,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rule {
    /// The functions as the user wrote them.
    pub(crate) func: String,
    /// Pattern of import paths, or `main` for programs.
    pub(crate) package: String,
    /// What the helper needs to know.
    pub(crate) matcher: Matcher,
    /// Index of the rule's file in the set; meaningless for functions of the command line.
    file: usize,
    /// Position of each value in the file, by field: `func`, `args.cmd`. Empty for functions of the
    /// command line.
    spans: BTreeMap<String, Range<usize>>,
}

/// The part of a rule that applies to one package. Its JSON is the helper's input and part of the
/// key of the build cache, so it has no positions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Matcher {
    /// Pattern of function names.
    pub(crate) name: String,
    /// Patterns of names that are left out.
    pub(crate) exclude: Vec<String>,
    /// Name of the probes; empty for the function's name.
    pub(crate) probe: String,
    /// Name of the provider; empty for the package's name.
    pub(crate) provider: String,
    /// `defer`, `copy` or empty.
    pub(crate) form: String,
    /// True if the rule may be for another version of the package: what does not fit is left out.
    pub(crate) optional: bool,
    /// Arguments of the entry probe; `None` for the function's parameters.
    pub(crate) args: Option<Vec<Argument>>,
    /// Arguments of the return probe; `None` for the function's results.
    pub(crate) returns: Option<Vec<Argument>>,
}

/// A Go expression with the name of the probe's argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Argument {
    /// Name of the argument.
    pub(crate) name: String,
    /// Go expression.
    pub(crate) expr: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    #[serde(default, rename = "probe")]
    probes: Vec<RuleTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    func: Spanned<String>,
    #[serde(default)]
    exclude: Vec<Spanned<String>>,
    name: Option<Spanned<String>>,
    provider: Option<Spanned<String>>,
    form: Option<Spanned<String>>,
    #[serde(default)]
    optional: bool,
    args: Option<BTreeMap<String, Spanned<String>>>,
    returns: Option<BTreeMap<String, Spanned<String>>>,
}

/// A mistake in a rule file.
struct Mistake {
    span: Range<usize>,
    message: String,
}

impl RuleSet {
    /// Adds the rules of a file. The error is a message with the source lines of each mistake.
    pub(crate) fn add_file(&mut self, name: &str, text: &str, color: bool) -> Result<(), String> {
        let file = RuleSource { name: name.to_owned(), text: text.to_owned() };
        let parsed: RuleFile = match toml::from_str(text) {
            Ok(parsed) => parsed,
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                return Err(file.render(span, error.message(), color));
            }
        };
        let mut messages = Vec::new();
        let mut rules = Vec::new();
        for table in parsed.probes {
            match Rule::new(table, text, self.files.len()) {
                Ok(rule) => rules.push(rule),
                Err(mistakes) => messages
                    .extend(mistakes.into_iter().map(|m| file.render(m.span, &m.message, color))),
            }
        }
        if rules.is_empty() && messages.is_empty() {
            let message = "no rule in this file; add one: [[probe]] and func = \"main.run\"";
            messages.push(file.render(0..0, message, color));
        }
        if !messages.is_empty() {
            return Err(messages.join("\n"));
        }
        self.rules.extend(rules);
        self.files.push(file);
        Ok(())
    }

    /// Adds the rule for a function that is named on the command line.
    pub(crate) fn add_function(&mut self, func: &str) -> Result<(), String> {
        let spec = FunctionSpec::parse(func)
            .map_err(|message| format!("`{}`: {message}", func.escape_default()))?;
        self.rules.push(Rule {
            func: func.to_owned(),
            package: spec.package,
            matcher: Matcher { name: spec.name, ..Matcher::default() },
            file: 0,
            spans: BTreeMap::new(),
        });
        Ok(())
    }

    /// Renders a message about a field of a rule. `offset` and `length` are bytes in the field's
    /// value; a length of zero without an offset means all of it.
    pub(crate) fn render_at(
        &self,
        rule: usize,
        field: &str,
        (offset, length): (usize, usize),
        message: &str,
        color: bool,
    ) -> String {
        let Some(rule) = self.rules.get(rule) else { return message.to_owned() };
        let spans = &rule.spans;
        match (spans.get(field).or_else(|| spans.get("func")), self.files.get(rule.file)) {
            (Some(span), Some(file)) => {
                file.render(file.part(span, rule.value(field), offset, length), message, color)
            }
            _ => format!("`{}`: {message}", rule.func),
        }
    }
}

impl RuleSource {
    /// Returns the position of a part of a string value in the file. It is that of the whole value
    /// if the file spells it with escapes.
    fn part(&self, span: &Range<usize>, value: &str, offset: usize, length: usize) -> Range<usize> {
        let raw = self.text.get(span.clone()).unwrap_or_default();
        let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
        if inner != value || offset > value.len() || (offset, length) == (0, 0) {
            return span.clone();
        }
        let start = span.start + 1 + offset;
        let end = (start + length.max(1)).min(span.end);
        if self.text.get(start..end).is_some() { start..end } else { span.clone() }
    }

    fn render(&self, span: Range<usize>, message: &str, color: bool) -> String {
        let mut sources = Sources::default();
        sources.add(&self.name, &self.text);
        Diagnostic::error(span, message, "").render(&sources, color)
    }
}

impl Rule {
    fn new(table: RuleTable, text: &str, file: usize) -> Result<Rule, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut spans = BTreeMap::new();
        let mut fail =
            |span: Range<usize>, message: String| mistakes.push(Mistake { span, message });
        let func = table.func.get_ref().clone();
        spans.insert("func".to_owned(), table.func.span());
        let spec = FunctionSpec::parse(&func).unwrap_or_else(|message| {
            fail(table.func.span(), message);
            FunctionSpec { package: String::new(), name: String::new() }
        });
        let mut exclude = Vec::new();
        for pattern in table.exclude {
            if let Err(message) = function_spec::check_name(pattern.get_ref()) {
                fail(pattern.span(), message);
            }
            exclude.push(pattern.into_inner());
        }
        let mut field =
            |name: &str, value: Option<Spanned<String>>, is_valid: fn(&str) -> bool, hint: &str| {
                let Some(value) = value else { return String::new() };
                spans.insert(name.to_owned(), value.span());
                if !is_valid(value.get_ref()) {
                    fail(
                        value.span(),
                        format!("`{}` is not a {name}; {hint}", value.get_ref().escape_default()),
                    );
                }
                value.into_inner()
            };
        const LETTERS: &str = "use letters, digits and `_`, not starting with a digit";
        let probe = field("name", table.name, is_identifier, LETTERS);
        let provider = field("provider", table.provider, is_identifier, LETTERS);
        let form = field(
            "form",
            table.form,
            |form| matches!(form, "defer" | "copy"),
            "use `defer` or `copy`",
        );
        let mut arguments = |field: &str, table: Option<BTreeMap<String, Spanned<String>>>| {
            let mut list: Vec<(String, Spanned<String>)> = table?.into_iter().collect();
            // The order of the probe's arguments is that of the file.
            list.sort_by_key(|(_, expr)| expr.span().start);
            let mut arguments = Vec::new();
            for (name, expr) in list {
                spans.insert(format!("{field}.{name}"), expr.span());
                if !is_identifier(&name) {
                    fail(
                        expr.span(),
                        format!("`{}` is not an argument name; {LETTERS}", name.escape_default()),
                    );
                }
                if text.get(expr.span()).is_some_and(|raw| raw.contains('\n')) {
                    fail(expr.span(), "an expression has one line".to_owned());
                }
                arguments.push(Argument { name, expr: expr.into_inner() });
            }
            Some(arguments)
        };
        let (args, returns) = (arguments("args", table.args), arguments("returns", table.returns));
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let optional = table.optional;
        let matcher =
            Matcher { name: spec.name, exclude, probe, provider, form, optional, args, returns };
        Ok(Rule { func, package: spec.package, matcher, file, spans })
    }

    /// Returns the value of a field.
    fn value(&self, field: &str) -> &str {
        let Matcher { args, returns, .. } = &self.matcher;
        match field.split_once('.') {
            Some(("args", name)) => expression(args, name),
            Some(("returns", name)) => expression(returns, name),
            _ => &self.func,
        }
    }
}

fn expression<'a>(list: &'a Option<Vec<Argument>>, name: &str) -> &'a str {
    let found = list.iter().flatten().find(|argument| argument.name == name);
    found.map_or("", |argument| &argument.expr)
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<RuleSet, String> {
        let mut set = RuleSet::default();
        set.add_file("inject.toml", text, false)?;
        Ok(set)
    }

    #[test]
    fn reads_all_fields_in_the_order_of_the_file() {
        let set = parse(
            "[[probe]]\nfunc = \"a/b.(*T).F\"\nexclude = [\"x*\"]\nname = \"f\"\nprovider = \"p\"\nform = \"copy\"\n\
             args = { z = \"t.z\", a = \"len(t.a)\" }\n[probe.returns]\nn = 'r0'\n",
        )
        .unwrap();
        let rule = &set.rules[0];
        assert_eq!((rule.package.as_str(), rule.matcher.name.as_str()), ("a/b", "(*T).F"));
        let argument = |name: &str, expr: &str| Argument { name: name.into(), expr: expr.into() };
        assert_eq!(rule.matcher.args, Some(vec![argument("z", "t.z"), argument("a", "len(t.a)")]));
        assert_eq!(rule.matcher.returns, Some(vec![argument("n", "r0")]));
        assert_eq!(rule.matcher.exclude, ["x*"]);
    }

    #[test]
    fn mistakes_point_into_the_file() {
        for (text, place, message) in [
            ("[[probe]]\nfunc = \"Handler\"\n", "inject.toml:2:8", "no function name"),
            (
                "[[probe]]\nfunc = \"a.F\"\nform = \"x\"\n",
                "inject.toml:3:8",
                "use `defer` or `copy`",
            ),
            ("[[probe]]\nfunc = \"a.F\"\nname = \"a-b\"\n", "inject.toml:3:8", "is not a name"),
            (
                "[[probe]]\nfunc = \"a.F\"\nargs = { 1x = \"a\" }\n",
                "inject.toml:3:15",
                "argument name",
            ),
            ("[[probe]]\nfunk = \"a.F\"\n", "inject.toml:2:1", "unknown field `funk`"),
            ("[[probe]\n", "inject.toml:1:", ""),
            ("", "inject.toml:1:1", "no rule in this file"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(place) && error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn a_mistake_in_an_expression_points_to_its_part() {
        let set = parse("[[probe]]\nfunc = \"a.F\"\nargs = { x = \"len(b)\", y = \"\\u0061\" }\n")
            .unwrap();
        let shown = set.render_at(0, "args.x", (4, 1), "undefined: b", false);
        assert!(shown.contains("inject.toml:3:19"), "{shown}");
        // The whole value, because its spelling has escapes.
        let shown = set.render_at(0, "args.y", (0, 1), "undefined: a", false);
        assert!(shown.contains("inject.toml:3:28"), "{shown}");
    }

    #[test]
    fn mistakes_of_several_files_point_into_their_own() {
        let mut set = RuleSet::default();
        set.add_function("b.G").unwrap();
        set.add_file("one.toml", "[[probe]]\nfunc = 'a.F'\n", false).unwrap();
        set.add_file("two.toml", "\n\n[[probe]]\nfunc = 'a.G'\noptional = true\n", false).unwrap();
        let shown = |rule| set.render_at(rule, "func", (0, 0), "wrong", false);
        assert_eq!(shown(0), "`b.G`: wrong");
        assert!(shown(1).contains("one.toml:2:8"), "{}", shown(1));
        assert!(shown(2).contains("two.toml:4:8"), "{}", shown(2));
        assert!(set.rules[2].matcher.optional && !set.rules[1].matcher.optional);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_rejected(text in "\\PC{0,60}") {
            let _ = parse(&text);
            let _ = parse(&format!("[[probe]]\nfunc = \"{text}\"\nargs = {{ a = '{text}' }}\n"));
        }

        #[test]
        fn any_position_of_a_mistake_is_shown(
            expr in "[a-z(é]{1,10}", offset in 0usize..20, length in 0usize..20
        ) {
            let set = parse(&format!("[[probe]]\nfunc = 'a.F'\nargs = {{ x = '{expr}' }}\n")).unwrap();
            let shown = set.render_at(0, "args.x", (offset, length), "wrong", false);
            prop_assert!(shown.contains("inject.toml:3:"), "{}", shown);
        }
    }
}
