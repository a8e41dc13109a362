//! All checks and tests, and the tasks for the suite, the matrix and the soak test.

use crate::book;
use crate::command::{Failure, Outcome, command, execute, output, root};
use crate::fuzz;
use crate::golden;
use crate::kernels;
use crate::setup;
use crate::suite;
use crate::tools::{BCC_HELPER, Tools};
use crate::words;

/// Runs everything, cheapest first.
pub(crate) fn run(_: &[String]) -> Outcome {
    let tools = setup::test()?;
    words::check()?;
    execute(&mut command("cargo", &["fmt", "--all", "--check"]))?;
    execute(&mut command(
        "cargo",
        &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--", "--check"],
    ))?;
    execute(&mut tools.cargo(
        "clippy",
        &[
            "--workspace",
            "--all-targets",
            "--features",
            "usdt-attach/tokio",
            "--",
            "-D",
            "warnings",
        ],
    ))?;
    fuzz::check()?;
    let mut unit = tools.cargo(
        "test",
        &["--workspace", "--exclude", "usdt-e2e", "--features", "usdt-attach/tokio"],
    );
    if tools.bcc.is_none() {
        // Clippy needs no libbcc to check the helper, but linking its tests does.
        unit.args(["--exclude", BCC_HELPER]);
    }
    execute(&mut unit)?;
    book::build()?;
    golden::check(&tools)?;
    go(&tools)?;
    suite::run(&tools, &[])?;
    kernels::short(&tools)
}

/// Runs the end-to-end suite; arguments are passed to the test runner.
pub(crate) fn e2e(args: &[String]) -> Outcome {
    let tools = setup::test()?;
    suite::run(&tools, args)
}

/// Runs the compatibility matrix, or the cells whose names contain all given words.
pub(crate) fn matrix(args: &[String]) -> Outcome {
    run_program("matrix", args)
}

/// Runs the soak test, for half an hour by default, next to hostile neighbors, for ten minutes, or of
/// function probes, for an hour.
pub(crate) fn soak(args: &[String]) -> Outcome {
    let (mode, minutes, default) = match args {
        [mode, minutes @ ..] if mode == "hostile" => (Some(mode.clone()), minutes, "10"),
        [mode, minutes @ ..] if mode == "functions" => (Some(mode.clone()), minutes, "60"),
        minutes => (None, minutes, "30"),
    };
    if mode.as_deref() == Some("hostile") {
        // Limits of time and memory are those of the release build.
        let build = ["--release", "-p", "usdt-attach-cli", "--bin", "usdt-attach"];
        execute(&mut setup::test()?.cargo("build", &build))?;
    }
    let minutes = minutes.first().cloned().unwrap_or_else(|| default.to_owned());
    run_program("soak", &mode.into_iter().chain([minutes]).collect::<Vec<_>>())
}

/// Runs a program of the crate `usdt-e2e`, after building our tools.
fn run_program(name: &str, args: &[String]) -> Outcome {
    let tools = setup::test()?;
    tools.build_with_examples()?;
    let mut run = command("cargo", &["run", "-q", "-p", "usdt-e2e", "--bin", name, "--"]);
    execute(run.args(args).envs(tools.environment()))
}

/// The platforms for which the Go modules are checked; the first one is where tests run.
const PLATFORMS: [(&str, &str); 4] =
    [("linux", "amd64"), ("linux", "arm64"), ("darwin", "arm64"), ("linux", "riscv64")];

/// Checks the Go modules: formatting, `go vet` on several platforms, and tests.
fn go(tools: &Tools) -> Outcome {
    for module in golden::MODULES {
        let folder = root().join(module);
        let unformatted = output(tools.go("gofmt", &["-l", "."]).current_dir(&folder))?;
        if !unformatted.is_empty() {
            return Err(Failure(format!("run gofmt on these files in {module}:\n{unformatted}")));
        }
        // The libraries take minutes to compile for a platform. The packages for them differ from
        // the others only in code that does not depend on it.
        let platforms =
            if golden::LIBRARIES.contains(module) { &PLATFORMS[..1] } else { &PLATFORMS };
        for (os, arch) in platforms {
            execute(
                tools
                    .go("go", &["vet", "./..."])
                    .env("GOOS", os)
                    .env("GOARCH", arch)
                    .current_dir(&folder),
            )?;
        }
        execute(tools.go("go", &["test", "./..."]).current_dir(&folder))?;
    }
    // The tests fire probes, so this runs the generated assembly on the other architecture, too.
    let mut emulated = tools.go("go", &["test", "-exec", "qemu-aarch64", "./..."]);
    emulated.envs([("GOARCH", "arm64"), ("CGO_ENABLED", "0")]);
    execute(emulated.current_dir(root().join("go-stubs")))
}
