//! What the tests do not look at: licenses and advisories, the oldest compiler and dependencies that are promised, other
//! Go releases, the packages as they would be published, undefined behavior.

use crate::command::{
    Explain, Failure, Outcome, cargo_tool, command, copy_tree, execute, root, show,
};
use crate::semver::LIBRARIES;
use crate::setup;
use gobinary::supported_releases;
use std::process::Command;

/// As `Cargo.toml` says it.
const OLDEST_RUST: &str = "1.88.0";

/// Name, function.
type Part = (&'static str, fn() -> Outcome);

const PARTS: [Part; 6] = [
    ("dependencies", dependencies),
    ("oldest-rust", oldest_rust),
    ("oldest-dependencies", oldest_dependencies),
    ("go-releases", go_releases),
    ("packages", packages),
    ("miri", miri),
];

/// All parts, or those named.
pub(crate) fn run(args: &[String]) -> Outcome {
    setup::build()?;
    let chosen: Vec<Part> = PARTS
        .into_iter()
        .filter(|(name, _)| args.is_empty() || args.iter().any(|arg| arg == name))
        .collect();
    if chosen.len() < args.len() || chosen.is_empty() {
        return Err(Failure(format!("parts are: {}", PARTS.map(|(name, _)| name).join(", "))));
    }
    chosen.into_iter().try_for_each(|(_, part)| part())
}

/// Licences, sources, and what is known against any of them.
fn dependencies() -> Outcome {
    cargo_tool("deny")?;
    execute(&mut command("cargo", &["deny", "check", "licenses", "bans", "sources"]))?;
    let mut check = command("cargo", &["deny", "check", "advisories"]);
    let out = check.output().explain("cannot run cargo deny")?;
    let said = String::from_utf8_lossy(&out.stderr);
    if said.contains("failed to fetch advisory database") {
        eprintln!("left out: advisories, whose database cannot be fetched from here");
        return Ok(());
    }
    eprint!("{said}");
    if out.status.success() { Ok(()) } else { Err(Failure(format!("`{}` failed", show(&check)))) }
}

fn toolchain(version: &str) -> Outcome {
    execute(&mut command("rustup", &["toolchain", "install", version, "--profile", "minimal"]))
}

/// Everything that is published builds with the compiler that `rust-version` names.
fn oldest_rust() -> Outcome {
    toolchain(OLDEST_RUST)?;
    let mut check =
        command("cargo", &[&format!("+{OLDEST_RUST}"), "check", "--locked", "--all-targets"]);
    execute(check.env("CARGO_TARGET_DIR", root().join("target/oldest-rust")))
}

/// Everything that is published builds with the lowest versions of what its manifests name.
fn oldest_dependencies() -> Outcome {
    toolchain(OLDEST_RUST)?;
    toolchain("nightly")?;
    let folder = root().join("target/oldest-dependencies");
    copy_tree(&folder)?;
    let inside = |args: &[&str]| -> Outcome {
        let mut cargo = Command::new("cargo");
        cargo.args(args).current_dir(folder.join("tree"));
        execute(cargo.env("CARGO_TARGET_DIR", folder.join("target")))
    };
    inside(&["+nightly", "update", "-q", "-Z", "direct-minimal-versions"])?;
    inside(&[&format!("+{OLDEST_RUST}"), "check", "--locked"])
}

/// The ready-made packages pass their tests with every Go release, plain and with the race detector.
fn go_releases() -> Outcome {
    let tools = setup::build()?;
    for release in supported_releases::TESTED {
        // Allocations are not counted under the race detector, which makes pools forget at random.
        for args in [&["test", "./..."][..], &["test", "-race", "-skip=Disabled", "./..."]] {
            let mut test = tools.go("go", args);
            execute(
                test.env("GOTOOLCHAIN", format!("go{release}"))
                    .current_dir(root().join("go-stubs")),
            )?;
        }
    }
    Ok(())
}

/// What would be published builds by itself.
fn packages() -> Outcome {
    let mut package = command("cargo", &["package", "--allow-dirty", "--quiet"]);
    LIBRARIES.iter().for_each(|name| {
        package.args(["-p", name]);
    });
    execute(&mut package)
}

/// The parsers and codecs under the interpreter that sees undefined behavior. What calls the kernel or C it cannot run.
fn miri() -> Outcome {
    execute(&mut command(
        "rustup",
        &["toolchain", "install", "nightly", "-c", "miri", "--profile", "minimal"],
    ))?;
    let run = |args: &[&str]| {
        let mut miri = command("cargo", &["+nightly", "miri", "test", "--lib"]);
        miri.args(args)
            .env("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-ignore-leaks")
            .env("PROPTEST_CASES", "4");
        execute(miri.env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1"))
    };
    // Tests of `elf` read the test program itself, which is not an ELF file under the interpreter.
    run(&["-p", "stapsdt", "-p", "gobinary", "--", "--skip", "elf::tests"])?;
    run(&[
        "-p",
        "usdt-attach",
        "--",
        "btf::tests::f",
        "event",
        "filter",
        "plan",
        "ringbuf",
        "possible",
    ])
}
