//! Benchmarks: release builds of the tools, and the program of `bench` that measures them.

use crate::command::{Failure, Outcome, command, execute, privileged_with, root};
use crate::revisions;
use crate::setup;

/// Runs all benchmarks, or the named parts. With `--against`, compares two revisions instead.
pub(crate) fn run(args: &[String]) -> Outcome {
    let tools = setup::test()?;
    let environment = tools.environment();
    if let [flag, rest @ ..] = args
        && flag == "--against"
    {
        let [revision, parts @ ..] = rest else {
            return Err(Failure("`--against` needs a revision, or two as `OLD..NEW`".to_owned()));
        };
        let [old, new] = revisions::build(revision)?;
        let builds = [old.display().to_string(), new.display().to_string()];
        return measure(
            &environment,
            ["--against"].into_iter().chain(words(&builds)).chain(words(parts)),
        );
    }
    tools.build()?;
    let mut release = command(
        "cargo",
        &["build", "--quiet", "--release", "-p", "usdt-gen", "-p", "usdt-attach-cli"],
    );
    execute(tools.with_bcc_helper(&mut release))?;
    measure(&environment, words(args))
}

fn words(words: &[String]) -> impl Iterator<Item = &str> {
    words.iter().map(String::as_str)
}

/// Builds the program that measures, and runs it as root.
fn measure<'a>(
    environment: &[(&'static str, std::ffi::OsString)],
    args: impl Iterator<Item = &'a str>,
) -> Outcome {
    execute(&mut command("cargo", &["build", "--quiet", "--release", "-p", "usdt-bench"]))?;
    let args: Vec<&str> = args.collect();
    execute(&mut privileged_with(environment, root().join("target/release/usdt-bench"), &args))
}
