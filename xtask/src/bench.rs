//! Benchmarks: release builds of the tools, and the program of `bench` that measures them.

use crate::command::{Outcome, command, execute, privileged_with, root};
use crate::setup;

/// Runs all benchmarks, or the named parts.
pub(crate) fn run(parts: &[String]) -> Outcome {
    let tools = setup::test()?;
    tools.build()?;
    let mut release = command(
        "cargo",
        &["build", "--quiet", "--release", "-p", "usdt-gen", "-p", "usdt-attach-cli"],
    );
    execute(tools.with_bcc_helper(&mut release))?;
    execute(&mut command("cargo", &["build", "--quiet", "--release", "-p", "usdt-bench"]))?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let mut bench =
        privileged_with(&tools.environment(), root().join("target/release/usdt-bench"), &parts);
    execute(&mut bench)
}
