//! Measurements: release builds of the tools, and the program of `bench` that measures them.

use crate::command::{Outcome, command, execute, privileged_with, root};
use crate::setup;

/// All of it, or the parts that are named.
pub(crate) fn run(parts: &[String]) -> Outcome {
    let tools = setup::test()?;
    tools.build()?;
    let attach = ["build", "--quiet", "--release", "-p", "usdt-attach"];
    execute(&mut command(
        "cargo",
        &["build", "--quiet", "--release", "-p", "usdt-gen", "-p", "usdt-attach"],
    ))?;
    let with_bcc = ["--features", "usdt-attach/bcc", "--target-dir", "target/bench/bcc"];
    execute(command("cargo", &attach).args(with_bcc))?;
    execute(&mut command("cargo", &["build", "--quiet", "--release", "-p", "usdt-bench"]))?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let mut bench = privileged_with(&tools.environment(), root().join("target/release/usdt-bench"), &parts);
    execute(&mut bench)
}
