//! Generated files that are checked in: rewritten by one command, compared by CI.

use crate::check;
use crate::command::{Failure, Outcome, command, execute, output, root};
use crate::setup::{self, Tools};
use crate::uapi;

/// Go modules whose packages `go generate` makes. Those with dependencies are on their own, so that the others have none.
pub(crate) const MODULES: &[&str] = &["go-stubs", "go-stubs/usdtotel", "go-stubs/usdtgrpc", "tests/go"];

/// Rewrites them all.
pub(crate) fn run(_: &[String]) -> Outcome {
    let tools = setup::run()?;
    generate(&tools)?;
    if let Err(Failure(why)) = uapi::run(&[]) {
        eprintln!("the structures of bpf(2) stay as they are: {why}");
    }
    // Snapshots inside Rust sources and beside them.
    execute(
        command(
            "cargo",
            &["test", "--quiet", "-p", "usdt-gen", "-p", "usdt-attach", "-p", "usdt-attach-cli"],
        )
        .env("INSTA_UPDATE", "always"),
    )?;
    // What the command lines take.
    let mut count = check::cargo(&tools, "test", &["--quiet", "-p", "usdt-e2e", "--", "instructions"]);
    execute(count.env("INSTA_UPDATE", "always").env("PATH", tools.path()))
}

/// Rewrites the Go packages.
fn generate(tools: &Tools) -> Outcome {
    check::build(tools)?;
    for module in MODULES {
        execute(tools.go("go", &["generate", "./..."]).current_dir(root().join(module)))?;
    }
    Ok(())
}

/// Fails where a definition of ours is not in the form that we tell others to use.
fn format(tools: &Tools) -> Outcome {
    let files = output(&mut command("git", &["ls-files", "--", "go-stubs/*.d"]))?;
    let mut args = vec!["fmt", "--check"];
    args.extend(files.lines());
    execute(command("usdt-gen", &args).env("PATH", tools.path()))
}

/// Fails when regenerating changes a file that git knows.
pub(crate) fn check(tools: &Tools) -> Outcome {
    let before = state()?;
    generate(tools)?;
    format(tools)?;
    if state()? == before {
        return Ok(());
    }
    Err(Failure("generated files are out of date; run `cargo xtask golden` and commit the result".into()))
}

/// What git sees in the generated folders.
fn state() -> Outcome<String> {
    let mut status = command("git", &["status", "--porcelain", "--"]);
    status.args(MODULES);
    let mut diff = command("git", &["diff", "--"]);
    diff.args(MODULES);
    Ok(output(&mut status)? + &output(&mut diff)?)
}
