//! Instructions that the command-line tools execute, counted by valgrind, which is free of timing
//! noise. The counts must not exceed the recorded ones, with any toolchain.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use usdt_e2e::{Fixture, Mode, Need, command, have, root, stdout, text, tools};

/// Share by which a count may exceed the recorded one.
///
/// The same sources compiled by Rust 1.88 take up to 6.6 % more instructions than by 1.95, and up
/// to 1.0 % more by 1.97. Binaries of Go 1.21 take up to 5.0 % more than those of 1.26. Hash tables
/// are seeded randomly, and the C library selects functions by CPU.
const TOLERANCE: f64 = 0.15;

/// Counts the instructions of a command, which must succeed.
fn count_instructions(program: &str, args: &[&str]) -> u64 {
    let mut report = String::new();
    for _ in 0..20 {
        let mut valgrind = command("valgrind");
        valgrind
            // Exclude the dynamic linker.
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=main"])
            .arg(tools().join(program))
            .args(args);
        let out = valgrind.output().unwrap();
        report = text(&out.stderr);
        if out.status.success() {
            let count = report.lines().find_map(|line| line.split_once("Collected :")).unwrap().1;
            return count.trim().parse().unwrap();
        }
        // Valgrind executes the breakpoint that the tracer of another test has put into the dynamic
        // linker, instead of leaving it to the kernel.
        assert!(report.contains("SIGTRAP") && report.contains("dl-debug.c"), "{report}");
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    panic!("a tracer of the dynamic linker does not end: {report}");
}

/// Writes a definition of a hundred probes and returns its path.
fn definition(folder: &Path) -> String {
    let mut text = "provider app {\n".to_owned();
    for n in 0..100 {
        let _ = writeln!(
            text,
            "\t/** Number {n}. */\n\tprobe event_{n}__start(uint64_t id, string what, int32_t n);"
        );
    }
    let file = folder.join("probes.d");
    std::fs::write(&file, text + "};\n").unwrap();
    file.display().to_string()
}

#[test]
fn counts_stay_below_the_recorded_ones() {
    if !have(&[Need::Program("valgrind")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (plain, sealed) = (Fixture::get("hits", Mode::Plain), Fixture::get("hits", Mode::Sealed));
    let (plain, sealed) = (plain.to_str().unwrap(), sealed.to_str().unwrap());
    let (out, generated) = (folder.path().join("sealed"), folder.path().join("generated"));
    let counts: Value = [
        (
            "usdt-gen, 100 probes",
            "usdt-gen",
            &["-o", generated.to_str().unwrap(), &definition(folder.path())][..],
        ),
        ("usdt-gen seal", "usdt-gen", &["seal", "-o", out.to_str().unwrap(), plain]),
        ("usdt-gen verify", "usdt-gen", &["verify", sealed]),
        ("usdt-attach list, sealed", "usdt-attach", &["list", sealed]),
        ("usdt-attach list, not sealed", "usdt-attach", &["list", plain]),
        ("usdt-attach trace --dry-run", "usdt-attach", &["trace", "--dry-run", "--exe", sealed]),
    ]
    .into_iter()
    .map(|(what, program, args)| (what.to_owned(), json!(count_instructions(program, args))))
    .collect();
    let now = json!({
        "rustc": stdout(Command::new("rustc").arg("--version")).trim(),
        "go": stdout(command("go").args(["env", "GOVERSION"])).trim(),
        "instructions": counts,
    });

    let golden = root().join("tests/golden/instructions.json");
    if std::env::var("INSTA_UPDATE").as_deref() == Ok("always") {
        std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
        std::fs::write(&golden, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
    }
    let recorded: Value = serde_json::from_slice(&std::fs::read(&golden).unwrap()).unwrap();
    let recorded_by = format!("{}, {}", recorded["rustc"], recorded["go"]);
    let (recorded, now) = (&recorded["instructions"], &now["instructions"]);
    let names =
        |counts: &Value| counts.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(recorded), names(now), "run `cargo xtask golden instructions`");
    for (name, count) in now.as_object().unwrap() {
        let (count, before) = (count.as_f64().unwrap(), recorded[name].as_f64().unwrap());
        let change = 100.0 * (count / before - 1.0);
        println!("{name}: {count} instructions, {change:+.1} %");
        assert!(
            count <= before * (1.0 + TOLERANCE),
            "{name}: {count} instructions, {change:.1} % more than the {before} recorded with {recorded_by}; \
             if that is intended, run `cargo xtask golden instructions`"
        );
    }
}
