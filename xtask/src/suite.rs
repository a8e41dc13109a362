//! Builds the end-to-end suite and runs it as root.

use crate::command::{Explain, Outcome, execute, is_root, output, privileged_with};
use crate::tools::Tools;

/// Builds the tools and runs the suite; arguments go to the test runner.
pub(crate) fn run(tools: &Tools, args: &[String]) -> Outcome {
    tools.build_with_examples()?;
    let mut test = tools.cargo("test", &["-p", "usdt-e2e", "--"]);
    test.args(args);
    if !is_root() {
        // The suite needs root to attach, but it is built as the user.
        let binary = build(tools)?;
        let mut environment = tools.environment();
        environment.extend(std::env::var_os("USDT_E2E").map(|value| ("USDT_E2E", value)));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        test = privileged_with(&environment, binary, &args);
    }
    execute(&mut test)
}

/// Builds the suite and returns its path.
fn build(tools: &Tools) -> Outcome<String> {
    let listing =
        output(&mut tools.cargo("test", &["-p", "usdt-e2e", "--no-run", "--message-format=json"]))?;
    executable(&listing)
}

/// Finds the path of the suite in cargo's messages.
pub(crate) fn executable(listing: &str) -> Outcome<String> {
    let executable =
        listing.lines().filter(|l| l.contains("\"name\":\"suite\"")).find_map(|line| {
            let (_, tail) = line.split_once("\"executable\":\"")?;
            Some(tail.split('"').next()?.to_owned())
        });
    executable.ok_or("cargo named no test executable").explain("cannot find the suite")
}
