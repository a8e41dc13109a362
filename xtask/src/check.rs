//! Tests and checks.

use crate::book;
use crate::command::{Explain, Failure, Outcome, command, execute, is_root, output, root};
use crate::golden;
use crate::kernels;
use crate::setup::{self, Tools};

/// Everything, cheapest first.
pub(crate) fn test(_: &[String]) -> Outcome {
    let tools = setup::run()?;
    execute(&mut command("cargo", &["fmt", "--all", "--check"]))?;
    execute(&mut command("cargo", &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--", "--check"]))?;
    execute(&mut command("cargo", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    let mut unit = command("cargo", &["test", "--workspace", "--exclude", "usdt-e2e"]);
    if !tools.bcc {
        // Checking it needs no libbcc, linking it does.
        unit.args(["--exclude", BCC_HELPER]);
    }
    execute(&mut unit)?;
    docs()?;
    golden::check(&tools)?;
    go(&tools)?;
    suite(&tools, &[])?;
    kernels::short(&tools)
}

/// The end-to-end suite; arguments go to the test runner.
pub(crate) fn e2e(args: &[String]) -> Outcome {
    let tools = setup::run()?;
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
    let tools = setup::run()?;
    build(&tools)?;
    let mut run = command("cargo", &["run", "-q", "-p", "usdt-e2e", "--bin", name, "--"]);
    execute(run.args(args).env("PATH", tools.path()))
}

/// The book, with its examples run, and the API documentation.
pub(crate) fn book(_: &[String]) -> Outcome {
    let tools = setup::run()?;
    docs()?;
    suite(&tools, &["docs::".to_owned()])
}

/// Both of them without the examples, which are part of the suite.
fn docs() -> Outcome {
    book::build()?;
    execute(
        command("cargo", &["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// The program that links libbcc.
pub(crate) const BCC_HELPER: &str = "usdt-attach-bcc";

/// Builds the tools as the tests use them: `usdt-attach-bcc` where libbcc is installed.
pub(crate) fn build(tools: &Tools) -> Outcome {
    let mut build =
        command("cargo", &["build", "-p", "usdt-gen", "-p", "usdt-attach", "-p", "usdt-attach-cli"]);
    if tools.bcc {
        build.args(["-p", BCC_HELPER]);
    }
    execute(build.args(["--bins", "--examples", "--features", "usdt-attach/tokio"]))
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

fn suite(tools: &Tools, args: &[String]) -> Outcome {
    build(tools)?;
    let mut test = command("cargo", &["test", "-p", "usdt-e2e", "--"]);
    test.args(args);
    if !is_root() {
        // The suite attaches to processes: it is built as the user and run as root.
        let binary = suite_binary()?;
        test = crate::command::privileged("env", &[]);
        test.arg(format!("USDT_E2E={}", std::env::var("USDT_E2E").unwrap_or_default()));
        test.arg(format!("PATH={}", tools.path())).arg(binary).args(args);
    }
    execute(test.env("PATH", tools.path()))
}

fn suite_binary() -> Outcome<String> {
    let listing =
        output(&mut command("cargo", &["test", "-p", "usdt-e2e", "--no-run", "--message-format=json"]))?;
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
