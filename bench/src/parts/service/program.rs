//! The services to measure, built in different ways.

use crate::harness::{self, SEAL, our_tool, output, with_path, write};
use std::path::{Path, PathBuf};
use std::process::Command;
use usdt_e2e::compile_time_tools::{add_orchestrion, build_otelc};
use usdt_e2e::root;

/// Pinned versions, so that figures of different days are of the same programs.
const CADDY: &str = "github.com/caddyserver/caddy/v2@v2.11.9";

/// Built programs by name.
pub(crate) struct Programs(Vec<(&'static str, PathBuf)>);

impl Programs {
    pub(crate) fn small() -> Result<Programs, String> {
        harness::go_build(&[], "./load", "load")?;
        let without_probes = "-tags=usdt_off";
        let mut all = vec![
            ("plain", harness::go_build(&[without_probes], "./service", "service-plain")?),
            ("probes", harness::go_build(&[SEAL], "./service", "service-probes")?),
            (
                "overlay",
                harness::go_build(
                    &[without_probes, SEAL, &overlay_flag()?],
                    "./service",
                    "service-overlay",
                )?,
            ),
        ];
        match instrumented() {
            Ok(program) => all.push(("instrumented", program)),
            Err(problem) => eprintln!("skipped: compile-time instrumentation: {problem}"),
        }
        match otelc() {
            Ok(program) => all.push(("otelc", program)),
            Err(problem) => eprintln!("skipped: compile-time instrumentation by otelc: {problem}"),
        }
        Ok(Programs(all))
    }

    pub(crate) fn large() -> Result<Programs, String> {
        harness::go_build(&[], "./load", "load")?;
        Ok(Programs(vec![
            ("caddy-stock", caddy("caddy-stock", &[], "")?),
            ("caddy-overlay", caddy("caddy-overlay", &[SEAL, &overlay_flag()?], "")?),
        ]))
    }

    pub(crate) fn named(&self, name: &str) -> Result<&Path, String> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, program)| program.as_path())
            .ok_or_else(|| format!("the program {name} was not built"))
    }
}

/// Writes the overlay and returns the flag that makes the go command build with it.
pub(crate) fn overlay_flag() -> Result<String, String> {
    let folder = harness::folder().join("overlay");
    let list = output(Command::new(our_tool("usdt-gen")).arg("overlay").arg("-o").arg(folder))?;
    Ok(format!("-overlay={}", list.trim()))
}

fn go(folder: &Path, args: &[&str]) -> Result<(), String> {
    let mut go = Command::new("go");
    output(with_path(go.args(args).current_dir(folder))).map(drop)
}

/// Returns the folder of Caddy's module.
pub(super) fn caddy_folder() -> PathBuf {
    harness::folder().join("caddy")
}

/// Builds Caddy with flags, and with a value of GOFLAGS.
pub(crate) fn caddy(name: &str, flags: &[&str], go_flags: &str) -> Result<PathBuf, String> {
    let folder = caddy_folder();
    if !folder.join("go.sum").exists() {
        write(&folder.join("go.mod"), "module example.com/caddy\n\ngo 1.25\n")?;
        let program = "package main\n\nimport (\n\tcaddycmd \"github.com/caddyserver/caddy/v2/cmd\"\n\n\t_ \"github.com/caddyserver/caddy/v2/modules/standard\"\n)\n\nfunc main() { caddycmd.Main() }\n";
        write(&folder.join("main.go"), program)?;
        go(&folder, &["get", CADDY])?;
        go(&folder, &["mod", "tidy"])?;
    }
    let out = harness::folder().join(name);
    let path = out.display().to_string();
    let mut build = Command::new("go");
    build.args(["build", "-o", &path]).args(flags).arg(".").current_dir(&folder);
    output(with_path(build.env("GOFLAGS", go_flags)))?;
    Ok(out)
}

/// Returns the folder with Orchestrion and the service that it builds.
pub(super) fn orchestrion_folder() -> PathBuf {
    harness::folder().join("orchestrion")
}

/// Copies the module of the small service to a folder.
pub(super) fn copy_module(folder: &Path) -> Result<(), String> {
    let modules = root().join("bench/go");
    std::fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    for name in ["go.mod", "go.sum", "service", "probes"] {
        output(Command::new("cp").arg("-r").arg(modules.join(name)).arg(folder))?;
    }
    Ok(())
}

/// Builds the unmodified service with Orchestrion's net/http integration, which its toolexec
/// injects.
fn instrumented() -> Result<PathBuf, String> {
    let folder = orchestrion_folder();
    let out = harness::folder().join("service-instrumented");
    if out.exists() {
        return Ok(out);
    }
    copy_module(&folder)?;
    add_orchestrion(&|| Command::new("go"), &folder, &folder.join("orchestrion"))?;
    let mut build = Command::new(folder.join("orchestrion"));
    build
        .args(["go", "build", "-tags=usdt_off", "-o"])
        .arg(&out)
        .arg("./service")
        .current_dir(&folder);
    output(with_path(&mut build))?;
    Ok(out)
}

/// Returns the folder with otelc, and with the module that it builds.
pub(super) fn otelc_folder() -> PathBuf {
    harness::folder().join("otelc")
}

/// Builds the unmodified service with the compile-time instrumentation of OpenTelemetry.
fn otelc() -> Result<PathBuf, String> {
    let folder = otelc_folder();
    let (tool, module) = (folder.join("otelc"), folder.join("module"));
    let out = harness::folder().join("service-otelc");
    if out.exists() {
        return Ok(out);
    }
    copy_module(&module)?;
    build_otelc(&|| Command::new("go"), &module, &tool)?;
    let mut build = Command::new(&tool);
    build.args(["go", "build", "-tags=usdt_off", "-o"]).arg(&out).arg("./service");
    output(with_path(build.current_dir(&module)))?;
    Ok(out)
}
