//! Other tools that rewrite packages by `-toolexec`, in the same build as injected probes: either all
//! probes are there and their hits exact, or the build fails and says why.

use super::Cell;
use super::service::{check_verdicts, compare, count_with_usdt_attach};
use crate::compile_time_tools::{add_orchestrion, build_otelc};
use crate::{command, go_of, output, root, text, tools, write};
use gobinary::supported_releases::TESTED;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

/// The release that both tools support.
const RELEASE: &str = TESTED[TESTED.len() - 2];

/// The probes without `__entry` and `__return`, and how often the program calls their functions.
const CALLS: [(&str, u64); 5] = [
    ("http:Request_FormValue", 20),
    ("main:get", 20),
    ("main:handle", 20),
    ("main:price", 20),
    ("main:run", 1),
];
/// Settings of what the tools add to the program: there is nothing to export to.
const QUIET: [(&str, &str); 6] = [
    ("DD_TRACE_STARTUP_LOGS", "false"),
    ("DD_TRACE_AGENT_URL", "http://127.0.0.1:9"),
    ("DD_INSTRUMENTATION_TELEMETRY_ENABLED", "false"),
    ("OTEL_TRACES_EXPORTER", "none"),
    ("OTEL_METRICS_EXPORTER", "none"),
    ("OTEL_LOGS_EXPORTER", "none"),
];
/// What the compiler says about a mark if `usdt-gen toolexec` does not run.
const NO_WRAPPER: &str = "flag provided but not defined: -usdt";

/// A check of a tool.
type Check = fn(&Tool) -> Result<String, String>;

pub(super) fn cells() -> Vec<Cell> {
    let orchestrion: [(&str, Check); 4] = [
        ("orchestrion/after", |tool| tool.builds_after(ORCHESTRION_CODE)),
        ("orchestrion/before", |tool| tool.builds_before(ORCHESTRION_CODE)),
        ("orchestrion/go-build", Tool::refuses_to_replace),
        ("orchestrion/added-package", |tool| tool.refuses(ADDED_FUNCTION, NO_WRAPPER)),
    ];
    let otelc: [(&str, Check); 4] = [
        ("otelc/after", |tool| tool.builds_after(OTELC_CODE)),
        ("otelc/before", |tool| tool.builds_before(OTELC_CODE)),
        ("otelc/same-file", |tool| tool.refuses("net/http.(*conn).serve", "cannot replace ")),
        // The last one, because otelc's own build removes what its setup has added.
        ("otelc/go-build", Tool::refuses_to_replace),
    ];
    let mut cells = cells_of(self::orchestrion, &orchestrion);
    cells.extend(cells_of(self::otelc, &otelc));
    cells
}

/// Returns the cells of a tool, which is prepared once.
fn cells_of(prepare: fn() -> Result<Tool, String>, checks: &[(&str, Check)]) -> Vec<Cell> {
    let tool = Rc::new(OnceCell::new());
    let cells = checks.iter().map(|(name, check)| {
        let (tool, check) = (Rc::clone(&tool), *check);
        Cell::new(format!("{RELEASE}/injected/{name}"), move || {
            tool.get_or_init(prepare).as_ref().map_err(Clone::clone).and_then(check)
        })
    });
    cells.collect()
}

/// A function of a package that only Orchestrion adds.
const ADDED_FUNCTION: &str = "github.com/DataDog/dd-trace-go/contrib/net/http/v2.NewServeMux";
/// Names in a program that the tools have instrumented.
const ORCHESTRION_CODE: &str = "github.com/DataDog/dd-trace-go/v2/ddtrace/tracer";
/// The setup of otelc imports its packages; only the toolexec calls them, by functions of this name.
const OTELC_CODE: &str = "OtelBeforeTrampoline";

/// A tool, and a copy of the program's module that is prepared for it.
struct Tool {
    program: PathBuf,
    module: PathBuf,
    /// The build cache: what a tool wrote must not be found by a build without it.
    cache: Option<PathBuf>,
    folder: tempfile::TempDir,
}

/// Copies the program's module.
fn copy_module() -> Result<(tempfile::TempDir, PathBuf), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let module = folder.path().join("wrapped");
    output(Command::new("cp").arg("-r").arg(root().join("tests/go/wrapped")).arg(&module))?;
    Ok((folder, module))
}

/// Builds Orchestrion, and adds it to a copy of the module.
fn orchestrion() -> Result<Tool, String> {
    let (folder, module) = copy_module()?;
    let program = folder.path().join("orchestrion");
    add_orchestrion(&|| go_of(RELEASE), &module, &program)?;
    Ok(Tool { program, module, cache: None, folder })
}

/// Builds otelc, and prepares a copy of the module for builds by `go build`.
fn otelc() -> Result<Tool, String> {
    let (folder, module) = copy_module()?;
    let program = folder.path().join("otelc");
    build_otelc(&|| go_of(RELEASE), &module, &program)?;
    let cache = folder.path().join("cache");
    let mut setup = command(&program);
    setup.arg("setup").current_dir(&module).env("GOFLAGS", "").env("GOCACHE", &cache);
    setup.env("GOTOOLCHAIN", format!("go{RELEASE}"));
    output(&mut setup)?;
    Ok(Tool { program, module, cache: Some(cache), folder })
}

impl Tool {
    /// Sets the release and the caches of a command.
    fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(&self.module).env("GOTOOLCHAIN", format!("go{RELEASE}"));
        command.env("GOENV", "off").env("GOFLAGS", "");
        // otelc lets the go command keep its work.
        command.env("TMPDIR", self.folder.path());
        if let Some(cache) = &self.cache {
            command.env("GOCACHE", cache);
        }
        command
    }

    /// Returns the value of GOFLAGS for the rules of the program, and further arguments.
    fn flags(&self, args: &[&str]) -> Result<String, String> {
        let mut inject = command(tools().join("usdt-gen"));
        inject.arg("inject").args(args).arg("inject.toml");
        Ok(output(self.environment(&mut inject))?.trim().to_owned())
    }

    fn wrapper(&self) -> String {
        format!("{} toolexec", self.program.display())
    }

    /// Builds the program, and returns what the build says if it fails.
    fn build(&self, mut go: Command, flags: &str) -> Result<PathBuf, String> {
        let out = self.module.join("program");
        go.args(["build", "-o"]).arg(&out).arg(".");
        self.environment(&mut go).env("GOFLAGS", flags);
        let result = go.output().map_err(|e| e.to_string())?;
        if result.status.success() { Ok(out) } else { Err(text(&result.stderr)) }
    }

    fn go_build(&self, flags: &str) -> Result<PathBuf, String> {
        self.build(command("go"), flags)
    }

    /// The tool runs between `usdt-gen` and the compiler: the program has the code of both.
    fn builds_after(&self, code: &str) -> Result<String, String> {
        let program = self.go_build(&self.flags(&["--toolexec", &self.wrapper()])?)?;
        if !contains(&program, code)? {
            return Err(format!("the program has no {code}"));
        }
        Tool::check_hits(&program)
    }

    /// The tool runs before `usdt-gen`, and does not find the compiler: the program has the probes,
    /// and none of the tool's code.
    fn builds_before(&self, code: &str) -> Result<String, String> {
        let flags = self.flags(&[])?;
        let flags = flags.replace("'-toolexec=", &format!("'-toolexec={} ", self.wrapper()));
        let program = self.go_build(&flags)?;
        if contains(&program, code)? {
            return Err(format!("the program has {code}, so docs/inject.md is wrong"));
        }
        Ok(format!("{}, but nothing of the tool", Tool::check_hits(&program)?))
    }

    /// The tool's own `go build` sets `-toolexec`, which replaces the one in GOFLAGS.
    fn refuses_to_replace(&self) -> Result<String, String> {
        let mut go = command(&self.program);
        go.arg("go");
        // A name that no earlier build has used: packages in the build cache are not compiled.
        let now = std::time::UNIX_EPOCH.elapsed().map_err(|e| e.to_string())?.as_nanos();
        let rules = format!("[[probe]]\nfunc = \"main.handle\"\nname = \"handle{now}\"\n");
        write(&self.module, "unique.toml", rules);
        must_fail(self.build(go, &self.flags(&["unique.toml"])?), NO_WRAPPER)
    }

    /// The build with a probe in one more function must fail with this message.
    fn refuses(&self, function: &str, message: &str) -> Result<String, String> {
        let flags = self.flags(&["--toolexec", &self.wrapper(), function])?;
        must_fail(self.go_build(&flags), message)
    }

    /// Compares the hits of a program with what it did.
    fn check_hits(program: &Path) -> Result<String, String> {
        check_verdicts(program, 2 * CALLS.len())?;
        let counts = count_with_usdt_attach(program, &QUIET)?;
        let both = |(name, calls): &(&str, u64)| {
            ["entry", "return"].map(|moment| (format!("{name}__{moment}"), *calls))
        };
        let expected: BTreeMap<String, u64> = CALLS.iter().flat_map(both).collect();
        compare(&counts, &expected)?;
        Ok(format!("{} hits", expected.values().sum::<u64>()))
    }
}

fn contains(program: &Path, code: &str) -> Result<bool, String> {
    let bytes = std::fs::read(program).map_err(|e| e.to_string())?;
    Ok(bytes.windows(code.len()).any(|window| window == code.as_bytes()))
}

fn must_fail(built: Result<PathBuf, String>, message: &str) -> Result<String, String> {
    match built {
        Ok(_) => Err("the build did not fail".to_owned()),
        Err(errors) if errors.contains(message) => Ok(format!("the build fails: {message}")),
        Err(errors) => Err(format!("the build fails with other messages: {errors}")),
    }
}
