//! Wraps the compilation of one package: rewrites its functions, and adds the stubs of their probes
//! to its archive.

use super::helper::{Helper, Request, RequestRule, Response};
use super::plan::{FLAG, Plan};
use super::rules::Rule;
use super::runtime_probes::{self, Kind};
use super::toolchain::{Toolchain, option, output, target_architecture};
use super::{InjectError, archive, function_spec, link, probes};
use crate::golang::{self, Package};
use crate::toolexec::Invocation;
use cli_common::say;
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
    let compilation = PackageCompilation {
        invocation,
        toolchain: &toolchain,
        goarch: &goarch,
        import_path,
        package: option(&args, "-p").and_then(OsStr::to_str).unwrap_or(import_path),
        options,
        work: Path::new(out).parent().unwrap_or(Path::new("")).join("usdt"),
        out: Path::new(out),
    };
    let mut sources = Sources {
        go: files.iter().map(|file| file.to_string_lossy().into_owned()).collect(),
        assembly: Vec::new(),
    };
    if plan.has_runtime_probes(import_path) {
        compilation.add_runtime_probes(&plan, &mut sources)?;
    }
    if !rules.is_empty() {
        let response = compilation.rewrite(&rules, &sources)?;
        let mistakes = mistakes(&plan, &rules, import_path, &response, false);
        if !mistakes.is_empty() {
            // They are whole messages, with the lines of the rule file.
            say(&mistakes.join("\n"));
            return Err(InjectError::Rules { package: import_path.to_owned() });
        }
        if !response.functions.is_empty() {
            compilation.add_injected_probes(&response, &mut sources)?;
        }
    }
    let status = compilation.compile(&sources)?;
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
                    "; `usdt-gen inject --runtime` adds probes of the runtime"
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

/// The files of a package: those of the go command, and generated ones.
struct Sources {
    go: Vec<String>,
    /// Assembly files with the stubs of probes. The go command assembles the package's own.
    assembly: Vec<String>,
}

/// The compilation of a package with probes.
struct PackageCompilation<'a> {
    invocation: &'a Invocation<'a>,
    toolchain: &'a Toolchain,
    goarch: &'a str,
    import_path: &'a str,
    /// Path that the compiler gives the package.
    package: &'a str,
    /// The compiler's arguments before the files.
    options: &'a [OsString],
    /// Directory for generated files. Its name ends up in debug information, and the go command
    /// removes what comes before it, so that builds are reproducible.
    work: PathBuf,
    out: &'a Path,
}

impl PackageCompilation<'_> {
    /// Adds the probes of the catalog.
    fn add_runtime_probes(&self, plan: &Plan, sources: &mut Sources) -> Result<(), InjectError> {
        let changes = runtime_probes::changes(
            plan,
            self.toolchain,
            self.goarch,
            self.import_path,
            &sources.go,
        )?;
        for (index, text) in &changes.changed {
            self.replace(sources, *index, text)?;
        }
        for (name, text) in &changes.added {
            sources.go.push(self.write(name, text)?);
        }
        for (name, text) in &changes.assembly {
            sources.assembly.push(self.write(name, text)?);
        }
        Ok(())
    }

    /// Has the helper find the functions of rules and rewrite them.
    fn rewrite(
        &self,
        rules: &[(usize, &Rule)],
        sources: &Sources,
    ) -> Result<Response, InjectError> {
        let config = option(self.options, "-importcfg").and_then(OsStr::to_str);
        let matchers = rules.iter().map(|(id, r)| RequestRule { id: *id, matcher: &r.matcher });
        Helper::build(self.toolchain)?.run(&Request {
            package: self.package,
            files: &sources.go,
            import_config: config.unwrap_or("/dev/null"),
            goarch: self.goarch,
            goroot: &self.toolchain.goroot,
            rules: matchers.collect(),
        })
    }

    /// Replaces the rewritten files and adds the stubs of their probes.
    fn add_injected_probes(
        &self,
        response: &Response,
        sources: &mut Sources,
    ) -> Result<(), InjectError> {
        for changed in &response.files {
            self.replace(sources, changed.index, &changed.text)?;
        }
        sources.go.push(self.write("usdt_inject_support.go", &response.support)?);
        let model = probes::model(self.import_path, self.package, &response.functions);
        let package =
            Package { prefix: PREFIX, injected: true, ..Package::named(&response.package_name) };
        for mut file in golang::generate(&model, SOURCE, package)? {
            match runtime_probes::kind(&file.name, self.goarch) {
                Some(Kind::Go) => sources.go.push(self.write(&file.name, &file.text)?),
                Some(Kind::Assembly) => {
                    if file.name.ends_with(&format!("_{}.s", self.goarch)) {
                        file.text.push_str(&panic_reader(self.goarch, response.panic_offset));
                    }
                    sources.assembly.push(self.write(&file.name, &file.text)?);
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Compiles the package, and adds the stubs to its archive.
    fn compile(&self, sources: &Sources) -> Result<std::process::ExitStatus, InjectError> {
        let mut args = Vec::with_capacity(self.options.len() + sources.go.len() + 2);
        let has_stubs = !sources.assembly.is_empty();
        if has_stubs {
            args.push("-symabis".into());
            args.push(self.symbol_abis(&sources.assembly)?.into_os_string());
        }
        let mut options = self.options.iter();
        while let Some(option) = options.next() {
            match option.to_str() {
                // The package has functions without a body now.
                Some("-complete") if has_stubs => {}
                Some("-symabis") if has_stubs => drop(options.next()),
                _ => args.push(option.clone()),
            }
        }
        args.extend(sources.go.iter().map(OsString::from));
        let status = self
            .invocation
            .command(&args)
            .status()
            .map_err(|source| run_failed(self.invocation.tool, source))?;
        if status.success() && has_stubs {
            let object = self.work.join(STUBS);
            let mut assemble = self.assembler();
            assemble.arg("-o").arg(&object).args(&sources.assembly);
            output(&mut assemble, "assembling the probes")?;
            let data = std::fs::read(&object)
                .map_err(|source| InjectError::Read { path: object.clone(), source })?;
            archive::append(self.out, STUBS, &data)
                .map_err(|source| InjectError::Write { path: self.out.to_owned(), source })?;
        }
        Ok(status)
    }

    /// Compiles a file with new content in the place of another one.
    fn replace(&self, sources: &mut Sources, index: usize, text: &str) -> Result<(), InjectError> {
        let Some(file) = sources.go.get_mut(index) else { return Ok(()) };
        let base = Path::new(file.as_str()).file_name().unwrap_or_default().to_string_lossy();
        *file = self.write(&format!("{index}_{base}"), text)?;
        Ok(())
    }

    /// Writes a generated file and returns its path.
    fn write(&self, name: &str, text: &str) -> Result<String, InjectError> {
        let path = self.work.join(name);
        usdt_files::create_directories(&self.work)
            .and_then(|()| std::fs::write(&path, text))
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
        if self.package == "runtime" && self.toolchain.names_runtime_assembly() {
            command.arg("-compiling-runtime");
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
