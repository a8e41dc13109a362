//! Everything that is checked, and the end-to-end tests, the matrix and the soak by themselves.

use crate::book;
use crate::command::{Failure, Outcome, command, execute, output, root};
use crate::fuzz;
use crate::golden;
use crate::kernels;
use crate::setup;
use crate::suite;
use crate::tools::{BCC_HELPER, Tools};

/// Everything, cheapest first.
pub(crate) fn run(_: &[String]) -> Outcome {
    let tools = setup::test()?;
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
        // Checking it needs no libbcc, linking it does.
        unit.args(["--exclude", BCC_HELPER]);
    }
    execute(&mut unit)?;
    book::build()?;
    golden::check(&tools)?;
    go(&tools)?;
    suite::run(&tools, &[])?;
    kernels::short(&tools)
}

/// The end-to-end suite; arguments go to the test runner.
pub(crate) fn e2e(args: &[String]) -> Outcome {
    let tools = setup::test()?;
    suite::run(&tools, args)
}

/// The compatibility matrix, or its cells whose names hold the words given.
pub(crate) fn matrix(args: &[String]) -> Outcome {
    program("matrix", args)
}

/// The soak, for half an hour where nothing else is said.
pub(crate) fn soak(args: &[String]) -> Outcome {
    let usual = ["30".to_owned()];
    program("soak", if args.is_empty() { &usual } else { args })
}

/// A program of the end-to-end tests, with our tools freshly built.
fn program(name: &str, args: &[String]) -> Outcome {
    let tools = setup::test()?;
    tools.build_with_examples()?;
    let mut run = command("cargo", &["run", "-q", "-p", "usdt-e2e", "--bin", name, "--"]);
    execute(run.args(args).envs(tools.environment()))
}

/// The Go side: formatted, vetted on every kind of platform, tested.
fn go(tools: &Tools) -> Outcome {
    for module in golden::MODULES {
        let folder = root().join(module);
        let unformatted = output(tools.go("gofmt", &["-l", "."]).current_dir(&folder))?;
        if !unformatted.is_empty() {
            return Err(Failure(format!("gofmt would change in {module}:\n{unformatted}")));
        }
        for (os, arch) in
            [("linux", "amd64"), ("linux", "arm64"), ("darwin", "arm64"), ("linux", "riscv64")]
        {
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
    // Tests fire probes, so the generated assembly runs on the other architecture, too.
    let mut emulated = tools.go("go", &["test", "-exec", "qemu-aarch64", "./..."]);
    emulated.envs([("GOARCH", "arm64"), ("CGO_ENABLED", "0")]);
    execute(emulated.current_dir(root().join("go-stubs")))
}
