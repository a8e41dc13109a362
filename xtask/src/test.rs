//! Everything that is checked, and the end-to-end tests, the matrix and the soak by themselves.

use crate::book;
use crate::command::{Explain, Failure, Outcome, command, execute, is_root, output, privileged_with, root};
use crate::fuzz;
use crate::golden;
use crate::kernels;
use crate::setup;
use crate::tools::{BCC_HELPER, Tools};

/// Everything, cheapest first.
pub(crate) fn run(_: &[String]) -> Outcome {
    let tools = setup::test()?;
    execute(&mut command("cargo", &["fmt", "--all", "--check"]))?;
    execute(&mut command("cargo", &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--", "--check"]))?;
    execute(&mut tools.cargo(
        "clippy",
        &["--workspace", "--all-targets", "--features", "usdt-attach/tokio", "--", "-D", "warnings"],
    ))?;
    fuzz::check()?;
    let mut unit =
        tools.cargo("test", &["--workspace", "--exclude", "usdt-e2e", "--features", "usdt-attach/tokio"]);
    if tools.bcc.is_none() {
        // Checking it needs no libbcc, linking it does.
        unit.args(["--exclude", BCC_HELPER]);
    }
    execute(&mut unit)?;
    book::build()?;
    golden::check(&tools)?;
    go(&tools)?;
    suite(&tools, &[])?;
    kernels::short(&tools)
}

/// The end-to-end suite; arguments go to the test runner.
pub(crate) fn e2e(args: &[String]) -> Outcome {
    let tools = setup::test()?;
    suite(&tools, args)
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
        for (os, arch) in [("linux", "amd64"), ("linux", "arm64"), ("darwin", "arm64"), ("linux", "riscv64")]
        {
            execute(
                tools.go("go", &["vet", "./..."]).env("GOOS", os).env("GOARCH", arch).current_dir(&folder),
            )?;
        }
        execute(tools.go("go", &["test", "./..."]).current_dir(&folder))?;
    }
    // Tests fire probes, so the generated assembly runs on the other architecture, too.
    let mut emulated = tools.go("go", &["test", "-exec", "qemu-aarch64", "./..."]);
    emulated.envs([("GOARCH", "arm64"), ("CGO_ENABLED", "0")]);
    execute(emulated.current_dir(root().join("go-stubs")))
}

pub(crate) fn suite(tools: &Tools, args: &[String]) -> Outcome {
    tools.build_with_examples()?;
    let mut test = tools.cargo("test", &["-p", "usdt-e2e", "--"]);
    test.args(args);
    if !is_root() {
        // The suite attaches to processes: it is built as the user and run as root.
        let binary = suite_binary(tools)?;
        let mut environment = tools.environment();
        environment.extend(std::env::var_os("USDT_E2E").map(|value| ("USDT_E2E", value)));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        test = privileged_with(&environment, binary, &args);
    }
    execute(&mut test)
}

fn suite_binary(tools: &Tools) -> Outcome<String> {
    let listing = output(&mut tools.cargo("test", &["-p", "usdt-e2e", "--no-run", "--message-format=json"]))?;
    executable(&listing)
}

/// The suite among what cargo says it has built.
pub(crate) fn executable(listing: &str) -> Outcome<String> {
    let executable = listing.lines().filter(|l| l.contains("\"name\":\"suite\"")).find_map(|line| {
        let (_, tail) = line.split_once("\"executable\":\"")?;
        Some(tail.split('"').next()?.to_owned())
    });
    executable.ok_or("cargo named no test executable").explain("cannot find the suite")
}
