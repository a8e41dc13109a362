//! Measurements: release builds of the tools, and the program of `tests` that measures them.

use crate::check;
use crate::command::{Outcome, command, execute, privileged, root};
use crate::setup;

/// All of it, or the parts that are named.
pub(crate) fn run(parts: &[String]) -> Outcome {
    let tools = setup::run()?;
    check::build(&tools)?;
    let mut release =
        command("cargo", &["build", "--quiet", "--release", "-p", "usdt-gen", "-p", "usdt-attach-cli"]);
    if tools.bcc {
        release.args(["-p", check::BCC_HELPER]);
    }
    execute(&mut release)?;
    execute(&mut command("cargo", &["build", "--quiet", "--release", "-p", "usdt-e2e", "--bin", "bench"]))?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let mut bench = privileged(root().join("target/release/bench"), &parts);
    execute(bench.env("PATH", tools.path()))
}
