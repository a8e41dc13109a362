//! Every string that a user can meet, in two golden files: messages and help pages.
//!
//! Nobody sees all messages in use. The files show them together, so that a change is read as a user would read it.

use crate::command::{Explain, Failure, Outcome, command, output, root};
use crate::tools::Tools;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use syn::visit::Visit;

const MESSAGES: &str = "tests/golden/messages.txt";
const HELP: &str = "tests/golden/help.txt";

/// Folders of the product's Rust sources.
const SOURCES: &[&str] = &[
    "cli-common/src",
    "usdt-files/src",
    "stapsdt/src",
    "gobinary/src",
    "usdt-gen/src",
    "usdt-attach/src",
    "usdt-attach/export/src",
    "usdt-attach/cli/src",
    "usdt-attach/bcc/src",
];

/// Sources whose strings are Go, assembly or C code, not messages.
const EMITTERS: &[&str] = &["usdt-gen/src/golang", "usdt-attach/src/backend/bcc/source"];

/// The width of the terminal for which help is rendered. Unit tests of both tools check that it fits.
const COLUMNS: usize = 80;

/// Rewrites both files.
pub(crate) fn write(tools: &Tools) -> Outcome {
    for (file, content) in [(MESSAGES, messages()?), (HELP, help(tools)?)] {
        std::fs::write(root().join(file), content).explain(&format!("cannot write {file}"))?;
    }
    Ok(())
}

/// Fails if a file is out of date.
pub(crate) fn check(tools: &Tools) -> Outcome {
    for (file, content) in [(MESSAGES, messages()?), (HELP, help(tools)?)] {
        let known =
            std::fs::read_to_string(root().join(file)).explain(&format!("cannot read {file}"))?;
        if known != content {
            return Err(Failure(format!(
                "{file} is out of date; run `cargo xtask golden messages` and read the difference"
            )));
        }
    }
    Ok(())
}

/// The strings of each source file, in the order of the code.
fn messages() -> Outcome<String> {
    let mut out = String::new();
    for folder in SOURCES {
        let mut files = Vec::new();
        rust_files(&root().join(folder), &mut files)?;
        files.sort();
        for path in files {
            let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
            let test = name.contains("/tests/") || name.ends_with("tests.rs");
            if test || EMITTERS.iter().any(|emitter| name.starts_with(emitter)) {
                continue;
            }
            let source = std::fs::read_to_string(&path).explain(&format!("cannot read {name}"))?;
            let parsed = syn::parse_file(&source).explain(&format!("cannot parse {name}"))?;
            let mut strings = Strings::default();
            strings.visit_file(&parsed);
            if !strings.found.is_empty() {
                let _ = writeln!(out, "{name}");
                for string in strings.found {
                    let _ = writeln!(
                        out,
                        "    {}",
                        string.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
                    );
                }
            }
        }
    }
    Ok(out)
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> Outcome {
    let what = format!("cannot read {}", folder.display());
    for entry in std::fs::read_dir(folder).explain(&what)? {
        let path = entry.explain(&what)?.path();
        if path.is_dir() {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Collects string literals that hold words.
#[derive(Default)]
struct Strings {
    found: Vec<String>,
}

impl Strings {
    fn add(&mut self, string: String) {
        // One word is a name or a key; a message has at least two.
        let words = string.split_whitespace().filter(|word| word.chars().any(char::is_alphabetic));
        if words.count() >= 2 {
            self.found.push(string);
        }
    }

    /// Literals inside a macro call, whose arguments are only tokens.
    fn add_tokens(&mut self, tokens: proc_macro2::TokenStream) {
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Group(group) => self.add_tokens(group.stream()),
                proc_macro2::TokenTree::Literal(literal) => {
                    if let syn::Lit::Str(string) = syn::Lit::new(literal) {
                        self.add(string.value());
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Strings {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if !is_test(&function.attrs) {
            syn::visit::visit_item_fn(self, function);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        // `thiserror` messages; doc comments and lints have no words for users.
        if attribute.path().is_ident("error")
            && let syn::Meta::List(list) = &attribute.meta
        {
            self.add_tokens(list.tokens.clone());
        }
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        self.add_tokens(invocation.tokens.clone());
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        self.add(literal.value());
    }
}

/// Whether an item is compiled for tests only.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
    })
}

/// The help pages of both tools as a terminal of 80 columns shows them.
fn help(tools: &Tools) -> Outcome<String> {
    let mut out = String::new();
    for program in ["usdt-gen", "usdt-attach"] {
        help_of(tools, program, &mut Vec::new(), &mut out)?;
    }
    Ok(out)
}

fn help_of(
    tools: &Tools,
    program: &str,
    subcommand: &mut Vec<String>,
    out: &mut String,
) -> Outcome {
    let mut run = command(program, &[]);
    run.args(&*subcommand).arg("--help");
    run.env("PATH", tools.path()).env("COLUMNS", COLUMNS.to_string());
    let page = output(&mut run)?;
    let _ = writeln!(
        out,
        "$ {program} {}--help\n{page}",
        subcommand.iter().map(|word| format!("{word} ")).collect::<String>()
    );
    for name in subcommands(&page) {
        subcommand.push(name);
        help_of(tools, program, subcommand, out)?;
        subcommand.pop();
    }
    Ok(())
}

/// Names in the section `Commands:` of a help page.
fn subcommands(page: &str) -> Vec<String> {
    let section = page.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = section.take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collects_messages_from_calls_macros_and_attributes() {
        let source = r#"
            /// Not this comment.
            #[error("cannot open `{path}`")]
            struct A;
            fn f() { g("one two"); h!(x, format!("three {four}", y)); k("single"); }
            #[cfg(test)]
            mod tests { fn t() { g("not this one"); } }
        "#;
        let mut strings = Strings::default();
        strings.visit_file(&syn::parse_file(source).unwrap());
        assert_eq!(strings.found, ["cannot open `{path}`", "one two", "three {four}"]);
    }

    #[test]
    fn finds_the_subcommands_of_a_help_page() {
        let page =
            "About\n\nCommands:\n  list   List\n         more\n  help   Help\n\nOptions:\n  -h\n";
        assert_eq!(subcommands(page), ["list"]);
    }
}
