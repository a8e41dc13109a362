//! The dry run: what a build would inject, from the packages as the go command lists them.

use super::helper::{Function, Helper, Request, RequestRule, Response, Skipped};
use super::plan::Plan;
use super::toolchain::{Toolchain, output};
use super::{InjectError, cached, compile, function_spec, go_flags};
use serde::{Deserialize, Serialize};
use stapsdt::escape::Escaped;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A go command and its toolchain.
#[derive(Debug)]
pub(crate) struct GoCommand {
    program: PathBuf,
    pub(crate) toolchain: Toolchain,
    goarch: String,
    /// GOFLAGS without the flags of an earlier `usdt-gen inject`.
    flags: Vec<String>,
}

/// A package of `go list`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedPackage {
    import_path: String,
    name: String,
    #[serde(default)]
    dir: PathBuf,
    /// Files that the compiler gets, among them those that cgo generates.
    #[serde(default)]
    compiled_go_files: Vec<PathBuf>,
    /// File with the export data.
    #[serde(default)]
    export: String,
    /// Import paths that are written differently in the source, as in vendor directories.
    #[serde(default)]
    import_map: BTreeMap<String, String>,
}

/// What a build would inject into a package.
#[derive(Debug)]
pub(crate) struct PackageReport {
    pub(crate) import_path: String,
    dir: PathBuf,
    pub(crate) functions: Vec<Function>,
    pub(crate) skipped: Vec<Skipped>,
}

/// What a build would inject.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) packages: Vec<PackageReport>,
    /// Mistakes of rules, as messages with the lines of the rule file.
    pub(crate) mistakes: Vec<String>,
    /// Messages about rules that match no function.
    pub(crate) unmatched: Vec<String>,
}

impl GoCommand {
    /// Asks a go command for its toolchain and settings.
    pub(crate) fn query(program: &Path) -> Result<GoCommand, InjectError> {
        let mut command = Command::new(program);
        command.args(["env", "GOROOT", "GOARCH", "GOFLAGS"]);
        let text = output(&mut command, "`go env`")?;
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines().map(str::to_owned);
        let mut next = || lines.next().unwrap_or_default();
        let (goroot, goarch, flags) = (PathBuf::from(next()), next(), next());
        let flags = go_flags::foreign(&flags);
        let program = program.to_owned();
        Ok(GoCommand { program, toolchain: Toolchain { goroot }, goarch, flags })
    }

    /// Returns the flags that the user has set in GOFLAGS, for the value that replaces it.
    pub(crate) fn user_flags(&self) -> Result<String, String> {
        go_flags::join(&self.flags)
    }

    /// Returns a command that builds without probes.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("GOFLAGS", self.user_flags().unwrap_or_default());
        command
    }

    /// Returns the import paths of the programs in packages.
    pub(crate) fn programs(&self, packages: &[String]) -> Result<Vec<String>, InjectError> {
        let mut list = self.command();
        list.args(["list", "-e", "-f", "{{if eq .Name \"main\"}}{{.ImportPath}}{{end}}"]);
        let text = output(list.args(packages), "`go list`")?;
        Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
    }

    /// Returns packages and all their dependencies. This compiles them, for their export data.
    fn packages(&self, packages: &[String]) -> Result<Vec<ListedPackage>, InjectError> {
        let mut list = self.command();
        list.args(["list", "-deps", "-export", "-compiled"]);
        list.arg("-json=ImportPath,Name,Dir,CompiledGoFiles,Export,ImportMap").args(packages);
        let text = output(&mut list, "`go list -export`")?;
        let stream = serde_json::Deserializer::from_slice(&text).into_iter();
        stream.collect::<Result<_, _>>().map_err(|error| InjectError::Failed {
            what: "reading the output of `go list`".to_owned(),
            output: error.to_string(),
        })
    }
}

/// Analyzes packages and their dependencies.
pub(crate) fn report(
    plan: &Plan,
    go: &GoCommand,
    packages: &[String],
    color: bool,
) -> Result<Report, InjectError> {
    let listed = go.packages(packages)?;
    let helper = Helper::build(&go.toolchain)?;
    let config = ImportConfig::new(&listed)?;
    let mut report = Report::default();
    let mut matched = vec![false; plan.rules.rules.len()];
    let mut names: Vec<Vec<String>> = vec![Vec::new(); matched.len()];
    for package in &listed {
        let rules = plan.rules_for(&package.import_path);
        if rules.is_empty() {
            continue;
        }
        let files: Vec<String> = package
            .compiled_go_files
            .iter()
            .map(|file| package.dir.join(file).to_string_lossy().into_owned())
            .collect();
        let import_config = config.write(&package.import_map)?;
        let name = if package.name == "main" { "main" } else { &package.import_path };
        let response = helper.run(&Request {
            package: name,
            files: &files,
            import_config: &import_config,
            goarch: &go.goarch,
            goroot: &go.toolchain.goroot,
            rules: rules
                .iter()
                .map(|(id, r)| RequestRule { id: *id, matcher: &r.matcher })
                .collect(),
        })?;
        report.mistakes.extend(compile::mistakes(
            plan,
            &rules,
            &package.import_path,
            &response,
            color,
        ));
        let Response { functions, skipped, names: found, refused, .. } = response;
        let mut matches: Vec<usize> =
            functions.iter().map(|f| f.rule).chain(skipped.iter().map(|s| s.rule)).collect();
        if !refused.is_empty() {
            // The mistakes say so for rules that name the package.
            matches.extend(rules.iter().filter(|(_, r)| plan.is_named(r)).map(|(id, _)| *id));
        }
        for rule in matches {
            if let Some(flag) = matched.get_mut(rule) {
                *flag = true;
            }
        }
        for (id, _) in &rules {
            if let Some(names) = names.get_mut(*id) {
                names.extend(found.iter().cloned());
            }
        }
        if !functions.is_empty() || !skipped.is_empty() {
            let import_path = package.import_path.clone();
            let dir = package.dir.clone();
            report.packages.push(PackageReport { import_path, dir, functions, skipped });
        }
    }
    for (id, rule) in plan.rules.rules.iter().enumerate() {
        if matched.get(id) == Some(&true) {
            continue;
        }
        let known = names.get(id).map(Vec::as_slice).unwrap_or_default();
        let reason = if known.is_empty() {
            format!("no package of the build matches `{}`", rule.package)
        } else if plan.is_named(rule)
            && function_spec::is_exact(&rule.matcher.name)
            && !rule.matcher.optional
        {
            // The package's own mistake says so already.
            continue;
        } else {
            let hint = function_spec::suggestion(&rule.matcher.name, known);
            format!("no function in `{}` matches `{}`{hint}", rule.package, rule.matcher.name)
        };
        report.unmatched.push(plan.rules.render_at(id, "func", (0, 0), &reason, color));
    }
    Ok(report)
}

/// The import configuration of the listed packages, as the go command writes it for the compiler.
struct ImportConfig {
    folder: PathBuf,
    files: String,
}

impl ImportConfig {
    fn new(packages: &[ListedPackage]) -> Result<ImportConfig, InjectError> {
        let mut files = String::new();
        for package in packages.iter().filter(|package| !package.export.is_empty()) {
            // Writing to a string cannot fail.
            let _ = writeln!(files, "packagefile {}={}", package.import_path, package.export);
        }
        let folder = cached::path(&format!("{}{}", cached::LIST, std::process::id()))?;
        usdt_files::create_directories(&folder)
            .map_err(|source| InjectError::Write { path: folder.clone(), source })?;
        Ok(ImportConfig { folder, files })
    }

    /// Writes the configuration of a package and returns its path.
    fn write(&self, import_map: &BTreeMap<String, String>) -> Result<String, InjectError> {
        let path = self.folder.join("importcfg");
        let mut text = String::new();
        for (name, target) in import_map {
            let _ = writeln!(text, "importmap {name}={target}");
        }
        text.push_str(&self.files);
        std::fs::write(&path, text)
            .map_err(|source| InjectError::Write { path: path.clone(), source })?;
        Ok(path.to_string_lossy().into_owned())
    }
}

impl Drop for ImportConfig {
    fn drop(&mut self) {
        // What is left in the cache does no harm.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A line of the JSON output: a function with probes.
#[derive(Serialize)]
pub(crate) struct FunctionLine<'a> {
    package: &'a str,
    #[serde(flatten)]
    function: &'a Function,
}

/// A line of the JSON output: a function that a rule matches and that has no probes.
#[derive(Serialize)]
pub(crate) struct SkippedLine<'a> {
    package: &'a str,
    #[serde(flatten)]
    skipped: &'a Skipped,
}

impl PackageReport {
    /// Returns the lines of the JSON output.
    pub(crate) fn json_lines(
        &self,
    ) -> (impl Iterator<Item = FunctionLine<'_>>, impl Iterator<Item = SkippedLine<'_>>) {
        let package = self.import_path.as_str();
        (
            self.functions.iter().map(move |function| FunctionLine { package, function }),
            self.skipped.iter().map(move |skipped| SkippedLine { package, skipped }),
        )
    }
}

/// Width that lists are wrapped at.
const WIDTH: usize = 80;

impl Report {
    /// Returns the list for a terminal.
    pub(crate) fn to_text(&self) -> String {
        let mut out = String::new();
        for package in &self.packages {
            let _ = writeln!(out, "{}", package.import_path);
            for function in &package.functions {
                package.write_function(&mut out, function);
            }
            for Skipped { name, reason, .. } in &package.skipped {
                wrap(&mut out, "  ", &format!("{name}: no probes, {reason}"));
            }
        }
        let functions: usize = self.packages.iter().map(|p| p.functions.len()).sum();
        let packages = self.packages.iter().filter(|p| !p.functions.is_empty()).count();
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let (f, p) = (plural(functions), plural(packages));
        let _ = writeln!(out, "{functions} function{f} in {packages} package{p}");
        out
    }
}

impl PackageReport {
    fn write_function(&self, out: &mut String, function: &Function) {
        let file = Path::new(&function.file);
        let file = file.strip_prefix(&self.dir).unwrap_or(file);
        let form = if function.form == "copy" { ", copy of the body" } else { "" };
        let _ =
            writeln!(out, "  {} ({}:{}{form})", function.name, Escaped::new(file), function.line);
        for (suffix, values) in [("entry", &function.entry), ("return", &function.returns)] {
            let args: Vec<String> =
                values.iter().map(|v| format!("{} {}", v.name, v.go_type)).collect();
            let probe =
                format!("{}:{}__{suffix}({})", function.provider, function.probe, args.join(", "));
            wrap(out, "    ", &probe);
        }
        for hidden in &function.hidden {
            wrap(out, "    ", &format!("not shown: {}, {}", hidden.name, hidden.reason));
        }
        for note in &function.notes {
            wrap(out, "    ", &format!("note: {note}"));
        }
    }
}

/// Writes text that is wrapped at spaces. Continuation lines are indented by two more spaces.
fn wrap(out: &mut String, indent: &str, text: &str) {
    let mut line = indent.to_owned();
    let mut is_first = true;
    for word in text.split(' ') {
        if !is_first && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = format!("{indent}  {word}");
        } else {
            if !is_first {
                line.push(' ');
            }
            line.push_str(word);
        }
        is_first = false;
    }
    let _ = writeln!(out, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_80_columns() {
        let mut out = String::new();
        wrap(&mut out, "    ", &"word ".repeat(40));
        assert!(out.lines().all(|line| line.chars().count() <= WIDTH), "{out}");
        assert!(out.lines().skip(1).all(|line| line.starts_with("      word")), "{out}");
        assert_eq!(out.matches("word").count(), 40);
    }
}
