//! Wraps the compilation of one package: rewrites its functions, and adds the stubs of their probes
//! to its archive.

use super::helper::{Helper, Request, RequestRule, Response};
use super::plan::{FLAG, Plan};
use super::rules::Rule;
use super::toolchain::{Toolchain, option, output, target_architecture};
use super::{InjectError, archive, function_spec, link, probes};
use crate::golang::{self, Package};
use crate::toolexec::Invocation;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Name of the member with the stubs. The linker loads members that end in `.o`.
const STUBS: &str = "usdt_inject.o";
/// Start of the names of all generated declarations.
const PREFIX: &str = "usdtInject";
/// File name that the names of generated files are derived from.
const SOURCE: &str = "usdt_inject.d";

/// What became of a compilation.
pub(crate) enum Compilation {
    /// There is nothing to inject: the compiler has to run with these arguments.
    Plain(Vec<OsString>),
    /// The compiler ran, with this exit code.
    Done(i32),
}

/// Compiles a package, with probes if it is marked. `plan` is the identity of the plan that
/// `-toolexec` names.
pub(crate) fn run(
    invocation: &Invocation<'_>,
    plan: Option<&str>,
) -> Result<Compilation, InjectError> {
    let is_mark = |arg: &&OsString| arg.as_encoded_bytes().starts_with(FLAG.as_bytes());
    let args: Vec<OsString> = invocation.args.iter().filter(|arg| !is_mark(arg)).cloned().collect();
    if args.len() == invocation.args.len() {
        return Ok(Compilation::Plain(args));
    }
    let plan = Plan::load(plan.ok_or(InjectError::NoPlan)?)?;
    let import_path = std::env::var("TOOLEXEC_IMPORTPATH").unwrap_or_default();
    // A test compiles `PATH [PATH.test]` in the place of the package.
    let import_path = import_path.split(' ').next().unwrap_or_default();
    let rules = plan.rules_for(import_path);
    let toolchain = Toolchain::of_tool(invocation.tool);
    let (Some(goarch), Some(toolchain), Some(out), Some(key)) =
        (target_architecture(), toolchain, option(&args, "-o"), plan.key_for(import_path))
    else {
        return Ok(Compilation::Plain(args));
    };
    let first_file = args.len() - args.iter().rev().take_while(|arg| is_go_file(arg)).count();
    let (options, files) = args.split_at(first_file);
    let files: Vec<String> = files.iter().map(|f| f.to_string_lossy().into_owned()).collect();
    let package = option(&args, "-p").and_then(OsStr::to_str).unwrap_or(import_path);
    let request = Request {
        package,
        files: &files,
        import_config: option(&args, "-importcfg").and_then(OsStr::to_str).unwrap_or("/dev/null"),
        goarch: &goarch,
        goroot: &toolchain.goroot,
        rules: rules.iter().map(|(id, r)| RequestRule { id: *id, matcher: &r.matcher }).collect(),
    };
    let response = Helper::build(&toolchain)?.run(&request)?;
    let mistakes = mistakes(&plan, &rules, import_path, &response, false);
    if !mistakes.is_empty() {
        return Err(InjectError::Rules(mistakes.join("\n")));
    }
    let status = if response.functions.is_empty() {
        invocation.command(&args).status().map_err(|source| run_failed(invocation.tool, source))?
    } else {
        let compilation = PackageCompilation {
            invocation,
            toolchain: &toolchain,
            goarch: &goarch,
            package,
            options,
            work: Path::new(out).parent().unwrap_or(Path::new("")).join("usdt"),
            out: Path::new(out),
        };
        compilation.run(import_path, files, &response)?
    };
    if status.success() {
        let mark = format!("{key}\n");
        archive::append(Path::new(out), link::MARK, mark.as_bytes())
            .map_err(|source| InjectError::Write { path: out.into(), source })?;
    }
    Ok(Compilation::Done(status.code().unwrap_or(1)))
}

fn is_go_file(arg: &OsStr) -> bool {
    Path::new(arg).extension().is_some_and(|extension| extension == "go")
}

fn run_failed(program: &Path, source: std::io::Error) -> InjectError {
    InjectError::Run { program: program.to_owned(), source }
}

/// Returns a message for each mistake that rules have in a package, with the lines of the rule file:
/// expressions that Go rejects, and functions that a rule names and that cannot have probes. Optional
/// rules have none: what does not fit them is left out.
pub(super) fn mistakes(
    plan: &Plan,
    rules: &[(usize, &Rule)],
    import_path: &str,
    response: &Response,
    color: bool,
) -> Vec<String> {
    let whole = (0, 0);
    let mut messages: Vec<String> = response
        .problems
        .iter()
        .map(|p| plan.rules.render_at(p.rule, &p.field, (p.offset, p.length), &p.message, color))
        .collect();
    for (id, rule) in rules.iter().filter(|(_, rule)| !rule.matcher.optional) {
        let mut add = |message: String| {
            messages.push(plan.rules.render_at(*id, "func", whole, &message, color));
        };
        if !response.refused.is_empty() {
            if plan.is_named(rule) {
                let hint = if response.refused.contains("runtime") {
                    "; `usdt-gen overlay` has probes of the runtime"
                } else {
                    ""
                };
                add(format!(
                    "package `{import_path}` cannot have injected probes: {}{hint}",
                    response.refused
                ));
            }
            continue;
        }
        if !function_spec::is_exact(&rule.matcher.name) {
            continue;
        }
        let skipped = response.skipped.iter().find(|skipped| skipped.rule == *id);
        if let Some(skipped) = skipped {
            add(format!("`{}` cannot have probes: {}", skipped.name, skipped.reason));
        } else if plan.is_named(rule)
            // A package with syntax errors has no name; the compiler reports them.
            && !response.package_name.is_empty()
            && !response.names.contains(&rule.matcher.name)
        {
            add(format!(
                "package `{import_path}` has no function `{}`{}",
                rule.matcher.name,
                function_spec::suggestion(&rule.matcher.name, &response.names)
            ));
        }
    }
    messages
}

/// The compilation of a package with probes.
struct PackageCompilation<'a> {
    invocation: &'a Invocation<'a>,
    toolchain: &'a Toolchain,
    goarch: &'a str,
    package: &'a str,
    /// The compiler's arguments before the files.
    options: &'a [OsString],
    /// Directory for generated files. Its name ends up in debug information, and the go command
    /// removes what comes before it, so that builds are reproducible.
    work: PathBuf,
    out: &'a Path,
}

impl PackageCompilation<'_> {
    fn run(
        &self,
        import_path: &str,
        mut files: Vec<String>,
        response: &Response,
    ) -> Result<std::process::ExitStatus, InjectError> {
        usdt_files::create_directories(&self.work)
            .map_err(|source| InjectError::Write { path: self.work.clone(), source })?;
        for changed in &response.files {
            let Some(file) = files.get_mut(changed.index) else { continue };
            let base = Path::new(file.as_str()).file_name().unwrap_or_default().to_string_lossy();
            *file = self.write(&format!("{}_{base}", changed.index), &changed.text)?;
        }
        files.push(self.write("usdt_inject_support.go", &response.support)?);
        let model = probes::model(import_path, self.package, &response.functions);
        let package =
            Package { prefix: PREFIX, injected: true, ..Package::named(&response.package_name) };
        let stubs = golang::generate(&model, SOURCE, package)?;
        let mut assembly = Vec::new();
        for file in &stubs {
            let is_other = file.name.ends_with("_other.go");
            let is_arch = |arch: &str| file.name.ends_with(&format!("_{arch}.s"));
            if file.name.ends_with(".go") && !is_other {
                files.push(self.write(&file.name, &file.text)?);
            } else if is_arch(self.goarch) {
                let text =
                    format!("{}{}", file.text, panic_reader(self.goarch, response.panic_offset));
                assembly.push(self.write(&file.name, &text)?);
            } else if is_arch("schema") {
                assembly.push(self.write(&file.name, &file.text)?);
            }
        }
        let abis = self.symbol_abis(&assembly)?;
        let mut args = vec![OsString::from("-symabis"), abis.into_os_string()];
        let mut options = self.options.iter();
        while let Some(option) = options.next() {
            match option.to_str() {
                // The package has functions without a body now.
                Some("-complete") => {}
                Some("-symabis") => drop(options.next()),
                _ => args.push(option.clone()),
            }
        }
        args.extend(files.iter().map(OsString::from));
        let status = self
            .invocation
            .command(&args)
            .status()
            .map_err(|source| run_failed(self.invocation.tool, source))?;
        if status.success() {
            let object = self.work.join(STUBS);
            let mut assemble = self.assembler();
            output(assemble.arg("-o").arg(&object).args(&assembly), "assembling the probes")?;
            let data = std::fs::read(&object)
                .map_err(|source| InjectError::Read { path: object.clone(), source })?;
            archive::append(self.out, STUBS, &data)
                .map_err(|source| InjectError::Write { path: self.out.to_owned(), source })?;
        }
        Ok(status)
    }

    /// Writes a generated file and returns its path.
    fn write(&self, name: &str, text: &str) -> Result<String, InjectError> {
        let path = self.work.join(name);
        std::fs::write(&path, text)
            .map_err(|source| InjectError::Write { path: path.clone(), source })?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Returns the path of a file with the calling conventions of the package's assembly: that of
    /// the package itself, and that of the stubs.
    fn symbol_abis(&self, assembly: &[String]) -> Result<PathBuf, InjectError> {
        let path = self.work.join("symabis");
        let mut list = self.assembler();
        list.arg("-gensymabis").arg("-o").arg(&path).args(assembly);
        output(&mut list, "listing the symbols of the probes")?;
        if let Some(own) = option(self.options, "-symabis") {
            let read = |path: &Path| {
                std::fs::read_to_string(path)
                    .map_err(|source| InjectError::Read { path: path.to_owned(), source })
            };
            let merged = merge_symbol_abis(&read(Path::new(own))?, &read(&path)?);
            self.write("symabis", &merged)?;
        }
        Ok(path)
    }

    /// Returns the assembler's command for this package, without output and files.
    fn assembler(&self) -> Command {
        let tool = self.invocation.tool.with_file_name("asm");
        let mut command = Command::new(tool);
        command.args(["-p", self.package, "-I"]).arg(&self.work);
        command.arg("-I").arg(self.toolchain.include());
        command.args(["-D", "GOOS_linux", "-D", &format!("GOARCH_{}", self.goarch)]);
        if let Some(paths) = option(self.options, "-trimpath") {
            command.arg("-trimpath").arg(paths);
        }
        for flag in ["-shared", "-dynlink"] {
            if self.options.iter().any(|option| option == flag) {
                command.arg(flag);
            }
        }
        command
    }
}

/// Joins two files of calling conventions, which have one symbol per line.
fn merge_symbol_abis(own: &str, stubs: &str) -> String {
    let mut merged = own.trim_end().to_owned();
    if !merged.is_empty() {
        merged.push('\n');
    }
    merged.push_str(stubs);
    merged
}

/// Returns the assembly function that reads the goroutine's innermost panic: the return probe
/// compares it with that at entry. Empty if the offset in the runtime's type g is not known.
fn panic_reader(goarch: &str, offset: u32) -> String {
    if offset == 0 {
        return String::new();
    }
    let mut text = format!("\nTEXT ·{PREFIX}Panic(SB), NOSPLIT|NOFRAME, $0-8\n");
    let (load, store) = match goarch {
        "arm64" => (format!("MOVD {offset}(g), R0"), "MOVD R0, ret+0(FP)"),
        _ => (format!("MOVQ {offset}(R14), AX"), "MOVQ AX, ret+0(FP)"),
    };
    // Writing to a string cannot fail.
    let _ = write!(text, "\t{load}\n\t{store}\n\tRET\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_panic_is_read_from_the_goroutine() {
        assert!(panic_reader("amd64", 32).contains("MOVQ 32(R14), AX"));
        assert!(panic_reader("arm64", 32).contains("MOVD 32(g), R0"));
        assert_eq!(panic_reader("amd64", 0), "");
    }

    proptest! {
        #[test]
        fn merging_keeps_every_line(
            own in proptest::collection::vec("[a-z]{1,5}", 0..4),
            stubs in proptest::collection::vec("[a-z]{1,5}", 0..4),
            ends in any::<bool>(),
        ) {
            let file = |lines: &[String]| lines.iter().map(|l| format!("{l}\n")).collect::<String>();
            let mut first = file(&own);
            if ends {
                first = first.trim_end().to_owned();
            }
            let merged = merge_symbol_abis(&first, &file(&stubs));
            let lines: Vec<&str> = merged.lines().collect();
            let expected: Vec<&str> = own.iter().chain(&stubs).map(String::as_str).collect();
            prop_assert_eq!(lines, expected);
        }
    }
}
