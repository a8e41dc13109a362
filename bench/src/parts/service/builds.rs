//! The cost of building the small service: with injected probes, with those that are written in it,
//! and with other compile-time tools.

use super::injected::{HANDLER, SERVER, flags};
use super::program;
use crate::harness::{self, OTHER_CPU, SEAL, TARGET_CPU, time_command};
use crate::results::{Column, Plot, Row, Table};
use crate::rounds::rounds;
use std::path::{Path, PathBuf};

/// Builds of each kind that are timed.
const BUILDS: usize = 3;

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
        build(
            "injected into the handler",
            off,
            flags("build-handler", HANDLER, &folder, "./service")?,
        ),
        build(
            "injected into 50 functions",
            off,
            flags("build-server", SERVER, &folder, "./service")?,
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
    let otelc = program::otelc_folder();
    if otelc.join("otelc").exists() {
        builds.push(Build {
            name: "compile-time instrumentation (otelc)",
            program: otelc.join("otelc"),
            args: ["go", "build", "-tags=usdt_off"].map(str::to_owned).into(),
            flags: String::new(),
            folder: otelc.join("module"),
        });
    }
    Ok(builds)
}

pub(super) fn run() -> Result<Table, String> {
    let mut rows = Vec::new();
    let builds = builds()?;
    for build in &builds {
        rows.push(Row { name: build.name.to_owned(), size: None, samples: vec![Vec::new(); 3] });
    }
    let rounds = rounds(BUILDS);
    for round in 0..rounds {
        for (build, row) in builds.iter().zip(&mut rows) {
            let values = build.measure(round).map_err(|e| format!("{}: {e}", build.name))?;
            row.samples.iter_mut().zip(values).for_each(|(samples, value)| samples.push(value));
        }
        eprint!("\r{}/{rounds} builds", round + 1);
    }
    eprintln!();
    Ok(Table {
        title: "Builds of the small service".to_owned(),
        how: format!(
            "Each build uses two CPUs. The first one has an empty build cache, the second one follows \
             a change of the program. {rounds} builds of each kind alternate."
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
