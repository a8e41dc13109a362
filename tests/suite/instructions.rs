//! How many instructions the command lines take, counted by valgrind: no clock, no noise. The numbers are golden, for the
//! toolchains that they were counted with.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use usdt_e2e::{Fixture, Mode, Need, command, have, root, stdout, text, tools};

/// Share by which a count may differ: hash tables are seeded by chance, and the C library has other functions for other CPUs.
const TOLERANCE: f64 = 0.05;

/// Instructions of a command, which must succeed.
fn counted(program: &str, args: &[&str]) -> u64 {
    let mut valgrind = command("valgrind");
    valgrind
        // Not what the dynamic linker takes.
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=main"])
        .arg(tools().join(program))
        .args(args);
    let out = valgrind.output().unwrap();
    let said = text(&out.stderr);
    assert!(out.status.success(), "{said}");
    let count = said.lines().find_map(|line| line.split_once("Collected :")).unwrap().1;
    count.trim().parse().unwrap()
}

/// A definition of a hundred probes.
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
fn of_the_command_lines() {
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
    .map(|(what, program, args)| (what.to_owned(), json!(counted(program, args))))
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
    let known: Value = serde_json::from_slice(&std::fs::read(&golden).unwrap()).unwrap();
    if (&known["rustc"], &known["go"]) != (&now["rustc"], &now["go"]) {
        eprintln!("counted with other toolchains: {} and {}; not compared", known["rustc"], known["go"]);
        return;
    }
    for (what, before) in known["instructions"].as_object().unwrap() {
        let (before, now) =
            (before.as_f64().unwrap(), now["instructions"][what].as_f64().unwrap_or(f64::NAN));
        assert!(
            (now / before - 1.0).abs() <= TOLERANCE,
            "{what}: {now} instructions instead of {before}; if that is meant, run `cargo xtask golden`"
        );
    }
}
