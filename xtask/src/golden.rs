//! Generated files that are checked in: rewritten by one command, compared by CI.

use crate::catalogue;
use crate::command::{Failure, Outcome, command, execute, output, root};
use crate::go_releases;
use crate::messages;
use crate::setup;
use crate::tools::Tools;
use crate::uapi;

/// Go modules whose packages `go generate` makes. Those with dependencies are on their own, so that the others have none.
pub(crate) const MODULES: &[&str] =
    &["go-stubs", "go-stubs/usdtotel", "go-stubs/usdtgrpc", "tests/go"];

/// What can be rewritten by itself, in the order in which one needs the other.
type Part = (&'static str, fn() -> Outcome);

const PARTS: [Part; 7] = [
    ("catalogue", catalogue::write),
    ("releases", go_releases::write),
    ("uapi", bpf_structures),
    ("go", go_packages),
    ("messages", all_messages),
    ("snapshots", snapshots),
    ("instructions", instructions),
];

/// Rewrites all of them, or the parts that are named.
pub(crate) fn run(args: &[String]) -> Outcome {
    if args.iter().any(|arg| PARTS.iter().all(|(name, _)| name != arg)) {
        return Err(Failure(format!("parts are: {}", PARTS.map(|(name, _)| name).join(", "))));
    }
    let chosen =
        PARTS.iter().filter(|(name, _)| args.is_empty() || args.iter().any(|arg| arg == name));
    chosen.map(|(_, part)| part).try_for_each(|part| part())
}

/// The structures of bpf(2), where the kernel's headers are new enough.
fn bpf_structures() -> Outcome {
    if let Err(Failure(why)) = uapi::run(&[]) {
        eprintln!("the structures of bpf(2) stay as they are: {why}");
    }
    Ok(())
}

fn go_packages() -> Outcome {
    generate(&setup::build()?)
}

fn all_messages() -> Outcome {
    let tools = setup::build()?;
    tools.build()?;
    messages::write(&tools)
}

/// Snapshots inside Rust sources and next to them, and the pages that tests write.
fn snapshots() -> Outcome {
    let mut test = command(
        "cargo",
        &["test", "--quiet", "-p", "usdt-gen", "-p", "usdt-attach", "-p", "usdt-attach-cli"],
    );
    execute(test.env("INSTA_UPDATE", "always"))
}

/// What the command lines take.
fn instructions() -> Outcome {
    let tools = setup::test()?;
    tools.build()?;
    let mut count = tools.cargo("test", &["--quiet", "-p", "usdt-e2e", "--", "instructions"]);
    execute(count.env("INSTA_UPDATE", "always"))
}

/// Rewrites the Go packages.
fn generate(tools: &Tools) -> Outcome {
    tools.build()?;
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
    catalogue::check()?;
    go_releases::check()?;
    let before = state()?;
    generate(tools)?;
    format(tools)?;
    messages::check(tools)?;
    if state()? == before {
        return Ok(());
    }
    Err(Failure(
        "generated files are out of date; run `cargo xtask golden` and commit the result".into(),
    ))
}

/// What git sees in the generated folders.
fn state() -> Outcome<String> {
    let mut status = command("git", &["status", "--porcelain", "--"]);
    status.args(MODULES);
    let mut diff = command("git", &["diff", "--"]);
    diff.args(MODULES);
    Ok(output(&mut status)? + &output(&mut diff)?)
}
