//! Injected probes in the small service, next to the other ways to see its requests: the cost while
//! it serves, and the cost of building it.

use super::program::{self, Programs};
use super::{COLLECTOR, Setup, listen, table};
use crate::harness::{
    self, OTHER_CPU, SEAL, TARGET_CPU, our_tool, output, time_command, with_path,
};
use crate::results::{Column, Plot, Row, Table};
use std::path::{Path, PathBuf};
use std::process::Command;
use usdt_e2e::root;

/// Rules for the handler: the same two events per request as those of the probes written by hand.
const HANDLER: &str = "[[probe]]\nfunc = \"main.handleOrder\"\nargs = { method = \"r.Method\", path = \"r.URL.Path\" }\n";
/// Rules for functions that serve every request.
const SERVER: &str = "[[probe]]\nfunc = \"main.*\"\n\
     [[probe]]\nfunc = \"net/http.(*conn).*\"\n[[probe]]\nfunc = \"net/http.(*response).*\"\n\
     [[probe]]\nfunc = \"net/http.(*connReader).*\"\n[[probe]]\nfunc = \"net/http.(*chunkWriter).*\"\n\
     [[probe]]\nfunc = \"net/http.(*ServeMux).*\"\n[[probe]]\nfunc = \"net/http.(*Server).*\"\n";

const COUNT_INJECTED: &[&str] = &["count", "main:handleOrder__*"];
const TRACE_INJECTED: &[&str] = &["trace", "main:handleOrder__*"];
const COUNT_FUNCTION: &[&str] = &["count", "func:main.handleOrder", "func:main.handleOrder%return"];
const TRACE_FUNCTION: &[&str] = &["trace", "func:main.handleOrder", "func:main.handleOrder%return"];

/// Builds of each kind that are timed.
const BUILDS: usize = 3;

pub(crate) fn run() -> Result<Vec<Table>, String> {
    let programs = Programs::small()?;
    let handler = injected("service-injected", HANDLER)?;
    let server = injected("service-injected-server", SERVER)?;
    let functions = functions(SERVER)?;
    Ok(vec![serving(&programs, &handler, &server, functions)?, building()?])
}

fn serving(
    programs: &Programs,
    handler: &Path,
    server: &Path,
    functions: usize,
) -> Result<Table, String> {
    let listen = listen();
    let plain = programs.named("plain")?;
    let by_hand = programs.named("probes")?;
    let mut setups = vec![
        Setup::new("no probes", plain, &listen),
        Setup::new("no probes, again", plain, &listen),
        Setup::new("injected into the handler, disabled", handler, &listen),
        Setup::new("injected into the server and the handler, disabled", server, &listen),
        Setup::new("written by hand, disabled", by_hand, &listen),
        Setup::new("injected into the handler, counted", handler, &listen).traced(COUNT_INJECTED),
        Setup::new("written by hand, counted", by_hand, &listen).traced(super::COUNT_OWN),
        Setup::new("function probes of the unmodified program, counted", plain, &listen)
            .traced(COUNT_FUNCTION),
        Setup::new("injected into the handler, traced", handler, &listen).traced(TRACE_INJECTED),
        Setup::new("written by hand, traced", by_hand, &listen).traced(super::TRACE_OWN),
        Setup::new("function probes of the unmodified program, traced", plain, &listen)
            .traced(TRACE_FUNCTION),
        Setup::new(
            "OpenTelemetry SDK, one span per request",
            plain,
            &[&listen[..], &["-otel", COLLECTOR]].concat(),
        ),
    ];
    if let Ok(instrumented) = programs.named("instrumented") {
        setups.push(super::orchestrion(instrumented));
    }
    table(
        "Injected probes in a small service",
        &format!(
            "`bench/go/service`, built by `usdt-gen inject`: the handler alone, and the handler with \
             the functions of the server around it, {functions} in all. Traced probes and function \
             probes have two events per request."
        ),
        &setups,
        "/orders?items=100",
        60,
    )
}

/// Returns the value of GOFLAGS for rules.
fn flags(name: &str, rules: &str, folder: &Path) -> Result<String, String> {
    let file = harness::folder().join(format!("{name}.toml"));
    harness::write(&file, rules)?;
    let mut inject = Command::new(our_tool("usdt-gen"));
    inject.args(["inject", "--packages", "./service"]).arg(file).env("GOFLAGS", "");
    Ok(output(inject.current_dir(folder))?.trim().to_owned())
}

/// Builds the service with injected probes, and without those that are written in it.
fn injected(name: &str, rules: &str) -> Result<PathBuf, String> {
    let folder = root().join("bench/go");
    let out = harness::folder().join(name);
    let mut go = Command::new("go");
    go.args(["build", "-tags=usdt_off", "-o"]).arg(&out).arg("./service");
    go.current_dir(&folder).env("GOFLAGS", flags(name, rules, &folder)?);
    output(with_path(&mut go))?;
    Ok(out)
}

/// Returns the number of functions that rules match.
fn functions(rules: &str) -> Result<usize, String> {
    let file = harness::folder().join("service-injected-list.toml");
    harness::write(&file, rules)?;
    let mut list = Command::new(our_tool("usdt-gen"));
    list.args(["inject", "--list", "--json", "--packages", "./service"]).arg(file);
    let lines = output(list.current_dir(root().join("bench/go")))?;
    Ok(lines.lines().filter(|line| line.contains("\"provider\"")).count())
}

/// How the service is built.
struct Build {
    name: &'static str,
    /// The go command, or the program that runs it.
    program: PathBuf,
    args: Vec<String>,
    flags: String,
    /// The module, whose program changes from build to build.
    folder: PathBuf,
}

impl Build {
    /// Builds with a cache, and returns the seconds.
    fn time(&self, cache: &Path, out: &Path) -> Result<f64, String> {
        let mut build = harness::pinned(&format!("{OTHER_CPU},{TARGET_CPU}"), &self.program);
        build.args(&self.args).arg("-o").arg(out).arg("./service").current_dir(&self.folder);
        build.env("GOFLAGS", &self.flags).env("GOCACHE", cache);
        Ok(time_command(&mut build)? / 1e3)
    }

    /// Returns the seconds of a build with an empty cache, those of one after a change of the
    /// program, and the program's size in MiB.
    fn measure(&self, round: usize) -> Result<Vec<f64>, String> {
        let cache = harness::folder().join("inject-cache");
        let out = harness::folder().join("inject-built");
        let _ = std::fs::remove_dir_all(&cache);
        let cold = self.time(&cache, &out)?;
        let source = self.folder.join("service/main.go");
        let text = std::fs::read_to_string(&source).map_err(|e| e.to_string())?;
        harness::write(&source, format!("{text}\nvar _ = \"{round}\"\n"))?;
        let warm = self.time(&cache, &out);
        harness::write(&source, text)?;
        let size = std::fs::metadata(&out).map_err(|e| e.to_string())?.len();
        let _ = std::fs::remove_dir_all(&cache);
        Ok(vec![cold, warm?, size as f64 / f64::from(1 << 20)])
    }
}

fn builds() -> Result<Vec<Build>, String> {
    let folder = harness::folder().join("inject-module");
    program::copy_module(&folder)?;
    let build = |name, args: &[&str], flags: String| Build {
        name,
        program: "go".into(),
        args: [&["build"], args].concat().iter().map(|arg| (*arg).to_owned()).collect(),
        flags,
        folder: folder.clone(),
    };
    let off = &["-tags=usdt_off"];
    let mut builds = vec![
        build("no probes", off, String::new()),
        build("injected into the handler", off, flags("build-handler", HANDLER, &folder)?),
        build(
            "injected into the server and the handler",
            off,
            flags("build-server", SERVER, &folder)?,
        ),
        build("written by hand", &[SEAL], String::new()),
    ];
    let orchestrion = program::orchestrion_folder();
    if orchestrion.join("orchestrion").exists() {
        builds.push(Build {
            name: "compile-time instrumentation (Orchestrion, net/http)",
            program: orchestrion.join("orchestrion"),
            args: ["go", "build", "-tags=usdt_off"].map(str::to_owned).into(),
            flags: String::new(),
            folder: orchestrion,
        });
    }
    Ok(builds)
}

fn building() -> Result<Table, String> {
    let mut rows = Vec::new();
    let builds = builds()?;
    for build in &builds {
        rows.push(Row { name: build.name.to_owned(), size: None, samples: vec![Vec::new(); 3] });
    }
    for round in 0..BUILDS {
        for (build, row) in builds.iter().zip(&mut rows) {
            let values = build.measure(round).map_err(|e| format!("{}: {e}", build.name))?;
            row.samples.iter_mut().zip(values).for_each(|(samples, value)| samples.push(value));
        }
        eprint!("\r{}/{BUILDS} builds", round + 1);
    }
    eprintln!();
    Ok(Table {
        title: "Builds of the small service".to_owned(),
        how: format!(
            "Each build uses two CPUs. The first one has an empty build cache, the second one follows \
             a change of the program. {BUILDS} builds of each kind alternate."
        ),
        columns: vec![
            Column::new("empty cache", "s"),
            Column::new("program changed", "s"),
            Column::new("size", "MiB"),
        ],
        rows,
        base: Some(0),
        plot: Plot::None,
    })
}
