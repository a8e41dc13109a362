//! Checks beyond the tests: licenses and advisories, the oldest supported compiler and
//! dependencies, other Go releases, the packages as they would be published, the extension for
//! Visual Studio Code, undefined behavior, and accesses to invalid memory.

use crate::command::{
    Explain, Failure, Outcome, command, copy_tree, display, execute, install_cargo_tool, root,
};
use crate::semver::LIBRARIES;
use crate::setup;
use gobinary::supported_releases;
use packaging::Architecture;
use std::process::Command;

/// The `rust-version` of `Cargo.toml`.
const OLDEST_RUST: &str = "1.89.0";

/// A part: its name, and the function that checks it.
type Part = (&'static str, fn() -> Outcome);

const PARTS: [Part; 8] = [
    ("dependencies", dependencies),
    ("oldest-rust", oldest_rust),
    ("oldest-dependencies", oldest_dependencies),
    ("go-releases", go_releases),
    ("packages", packages),
    ("editors", editors),
    ("miri", miri),
    ("sanitizer", sanitizer),
];

/// Checks all parts, or the named ones.
pub(crate) fn run(args: &[String]) -> Outcome {
    setup::build()?;
    let chosen: Vec<Part> = PARTS
        .into_iter()
        .filter(|(name, _)| args.is_empty() || args.iter().any(|arg| arg == name))
        .collect();
    if chosen.len() < args.len() || chosen.is_empty() {
        return Err(Failure(format!(
            "unknown part; the parts are {}",
            PARTS.map(|(name, _)| name).join(", ")
        )));
    }
    chosen.into_iter().try_for_each(|(_, part)| part())
}

/// Packs the extension for Visual Studio Code, and tests the bundle and the grammar.
fn editors() -> Outcome {
    if command("npm", &["--version"]).output().is_err() {
        return Err(Failure("npm is missing; install Node.js 20 or newer".into()));
    }
    let folder = root().join("editors/vscode");
    for args in [&["ci", "--no-audit", "--no-fund"][..], &["run", "package"], &["test"]] {
        execute(command("npm", args).current_dir(&folder))?;
    }
    Ok(())
}

/// Checks licenses, sources and security advisories of the dependencies.
fn dependencies() -> Outcome {
    install_cargo_tool("deny")?;
    execute(&mut command("cargo", &["deny", "check", "licenses", "bans", "sources"]))?;
    let mut check = command("cargo", &["deny", "check", "advisories"]);
    let out = check.output().explain("cannot run cargo deny")?;
    let report = String::from_utf8_lossy(&out.stderr);
    if report.contains("failed to fetch advisory database") {
        eprintln!("skipped: security advisories: the database cannot be fetched");
        return Ok(());
    }
    eprint!("{report}");
    if out.status.success() {
        Ok(())
    } else {
        Err(Failure(format!("`{}` failed", display(&check))))
    }
}

/// Installs a Rust toolchain.
fn install_toolchain(version: &str) -> Outcome {
    execute(&mut command("rustup", &["toolchain", "install", version, "--profile", "minimal"]))
}

/// Checks that everything builds with the compiler that `rust-version` names.
fn oldest_rust() -> Outcome {
    install_toolchain(OLDEST_RUST)?;
    let mut check =
        command("cargo", &[&format!("+{OLDEST_RUST}"), "check", "--locked", "--all-targets"]);
    execute(check.env("CARGO_TARGET_DIR", root().join("target/oldest-rust")))
}

/// Checks that everything builds with the lowest versions of dependencies that its manifests allow.
fn oldest_dependencies() -> Outcome {
    install_toolchain(OLDEST_RUST)?;
    install_toolchain("nightly")?;
    let folder = root().join("target/oldest-dependencies");
    copy_tree(&folder)?;
    let cargo = |args: &[&str]| -> Outcome {
        let mut cargo = Command::new("cargo");
        cargo.args(args).current_dir(folder.join("tree"));
        execute(cargo.env("CARGO_TARGET_DIR", folder.join("target")))
    };
    cargo(&["+nightly", "update", "-q", "-Z", "direct-minimal-versions"])?;
    cargo(&[&format!("+{OLDEST_RUST}"), "check", "--locked"])
}

/// Runs the tests of the ready-made packages with every Go release, with and without the race
/// detector.
fn go_releases() -> Outcome {
    let tools = setup::build()?;
    for release in supported_releases::TESTED {
        // Allocation tests are skipped under the race detector, which makes pools drop items at
        // random.
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

/// Checks that each published crate builds from its package.
fn packages() -> Outcome {
    let mut package = command("cargo", &["package", "--allow-dirty", "--quiet"]);
    LIBRARIES.iter().for_each(|name| {
        package.args(["-p", name]);
    });
    execute(&mut package)
}

/// Runs the unit tests of the libraries with AddressSanitizer, which detects accesses to invalid
/// memory. It covers what Miri cannot run: calls of the kernel and memory that is mapped.
fn sanitizer() -> Outcome {
    install_toolchain("nightly")?;
    // With a target, cargo compiles no build script and no macro with these flags.
    let mut tests = command("cargo", &["+nightly", "test", "--lib", "--target"]);
    tests.arg(Architecture::HOST.target()).env("RUSTFLAGS", "-Zsanitizer=address");
    for library in LIBRARIES {
        tests.args(["-p", library]);
    }
    // Tests leak what their values borrow.
    tests.env("ASAN_OPTIONS", "detect_leaks=0");
    // Flags of its own would rebuild what is in `target`.
    execute(tests.env("CARGO_TARGET_DIR", root().join("target/sanitizer")))
}

/// Runs the tests of parsers and codecs under Miri, which detects undefined behavior. Miri cannot
/// run code that calls the kernel or C.
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
    // Tests of `elf` read their own executable, which is not an ELF file under Miri.
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
