//! Generated files that are checked in. One command regenerates them, and CI checks that they are
//! current.

use crate::catalog;
use crate::command::{Failure, Outcome, command, execute, output, root};
use crate::go_releases;
use crate::known;
use crate::messages;
use crate::packages;
use crate::setup;
use crate::tools::Tools;
use crate::uapi;

/// Go modules that are checked on all platforms, and in which `go generate` may write packages.
/// Modules with dependencies are separate, so that the others have none.
pub(crate) const MODULES: &[&str] = &[
    "go-stubs",
    "go-stubs/usdtotel",
    "go-stubs/usdtgrpc",
    LIBRARIES[0],
    "tests/go",
    LIBRARIES[1],
    "tests/go/unmodified",
    "usdt-gen/src/inject/helper",
    "tests/go/functions",
    "tests/go/oracle",
    LIBRARIES[2],
    LIBRARIES[3],
];

/// The modules that depend on many libraries: the packages for them, the program that uses these, and
/// programs that probes are injected into.
pub(crate) const LIBRARIES: [&str; 4] =
    ["go-stubs/libraries", "tests/go/libraries", "tests/go/recipes", "tests/go/service"];

/// A part that can be regenerated alone.
type Part = (&'static str, fn() -> Outcome);

/// All parts. A part may depend on the ones before it.
const PARTS: [Part; 10] = [
    ("catalog", catalog::write),
    ("releases", go_releases::write),
    ("uapi", bpf_structures),
    ("packages", packages::write),
    ("known", known::write),
    ("go", go_packages),
    ("messages", all_messages),
    ("snapshots", snapshots),
    ("instructions", instructions),
    ("recording", recording),
];

/// Regenerates all parts, or the named ones.
pub(crate) fn run(args: &[String]) -> Outcome {
    if args.iter().any(|arg| PARTS.iter().all(|(name, _)| name != arg)) {
        return Err(Failure(format!(
            "unknown part; the parts are {}",
            PARTS.map(|(name, _)| name).join(", ")
        )));
    }
    let chosen =
        PARTS.iter().filter(|(name, _)| args.is_empty() || args.iter().any(|arg| arg == name));
    chosen.map(|(_, part)| part).try_for_each(|part| part())
}

/// Regenerates the structures of bpf(2) if the kernel's headers are available.
fn bpf_structures() -> Outcome {
    if let Err(Failure(why)) = uapi::run(&[]) {
        eprintln!("skipped: structures of bpf(2): {why}");
    }
    Ok(())
}

/// Builds the tools and regenerates the Go packages.
fn go_packages() -> Outcome {
    generate(&setup::build()?)
}

/// Builds the tools and collects their messages.
fn all_messages() -> Outcome {
    let tools = setup::build()?;
    tools.build()?;
    messages::write(&tools)
}

/// Regenerates snapshots in and next to Rust sources, and the pages that tests write.
fn snapshots() -> Outcome {
    let mut test = command(
        "cargo",
        &["test", "--quiet", "-p", "usdt-gen", "-p", "usdt-attach", "-p", "usdt-attach-cli"],
    );
    execute(test.env("INSTA_UPDATE", "always"))
}

/// Records the instruction counts of the command-line tools.
fn instructions() -> Outcome {
    let tools = setup::test()?;
    tools.build()?;
    let mut count = tools.cargo("test", &["--quiet", "-p", "usdt-e2e", "--", "instruction_counts"]);
    execute(count.env("INSTA_UPDATE", "always"))
}

/// Runs the commands of the recording in the README, which takes root, and draws it.
fn recording() -> Outcome {
    let tools = setup::test()?;
    tools.build()?;
    let mut record = tools.cargo("test", &["--quiet", "-p", "usdt-e2e", "--", "recording"]);
    execute(record.envs([("USDT_RECORDING", "write"), ("USDT_E2E", "require")]))
}

/// Regenerates the Go packages.
fn generate(tools: &Tools) -> Outcome {
    tools.build()?;
    for module in MODULES {
        execute(tools.go("go", &["generate", "./..."]).current_dir(root().join(module)))?;
    }
    Ok(())
}

/// Fails if a definition in `go-stubs` or of a known provider is not formatted by `usdt-gen fmt`.
fn check_format(tools: &Tools) -> Outcome {
    let files = output(&mut command("git", &["ls-files", "--", "go-stubs/*.d"]))?;
    let known = known::definitions()?;
    let mut args = vec!["fmt", "--check"];
    args.extend(files.lines());
    args.extend(known.iter().map(String::as_str));
    execute(command("usdt-gen", &args).env("PATH", tools.path()))
}

/// Fails if regenerating changes a file.
pub(crate) fn check(tools: &Tools) -> Outcome {
    catalog::check()?;
    go_releases::check()?;
    packages::check()?;
    known::check()?;
    let before = git_state()?;
    generate(tools)?;
    check_format(tools)?;
    messages::check(tools)?;
    if git_state()? == before {
        return Ok(());
    }
    Err(Failure(
        "generated files are out of date; run `cargo xtask golden` and commit the result".into(),
    ))
}

/// Returns the state of the generated folders according to git.
fn git_state() -> Outcome<String> {
    let mut status = command("git", &["status", "--porcelain", "--"]);
    status.args(MODULES);
    let mut diff = command("git", &["diff", "--"]);
    diff.args(MODULES);
    Ok(output(&mut status)? + &output(&mut diff)?)
}
