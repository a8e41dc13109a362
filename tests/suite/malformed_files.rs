//! Malformed and hostile files cause an error message and no other effect.

use std::path::{Path, PathBuf};
use std::process::Command;
use usdt_e2e::sample_elf::note;
use usdt_e2e::{Need, attach, have, limited, stdout, text, tools};

/// Builds a program and replaces its notes.
fn build_with_notes(folder: &Path, notes: &[u8]) -> PathBuf {
    let app = crate::verification::build(folder, crate::verification::ASSEMBLY);
    let (section, out) = (folder.join("notes"), folder.join("hostile"));
    std::fs::write(&section, notes).unwrap();
    let update = format!(".note.stapsdt={}", section.display());
    stdout(Command::new("objcopy").args(["--update-section", &update]).arg(&app).arg(&out));
    out
}

/// Returns the address of a program's only site.
fn site(app: &Path) -> u64 {
    usdt_e2e::list_probes(app)[0]["address"].as_u64().unwrap()
}

/// Runs `usdt-attach` with a data segment of at most 64 MiB. Mapped files do not count.
fn run_with_64_mib(args: &[&str]) -> std::process::Output {
    limited("ulimit -d 65536", tools().join("usdt-attach")).args(args).output().unwrap()
}

#[test]
fn limits_memory_for_a_million_notes() {
    if !have(&[Need::Program("cc"), Need::Program("objcopy")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let good = site(&crate::verification::build(folder.path(), crate::verification::ASSEMBLY));
    for (pc, name) in [(good, "good"), (u64::MAX, "nowhere")] {
        let notes: Vec<u8> = (0..1 << 20)
            .flat_map(|n| note(pc, 0, format!("p\0n{n}\0 4@%eax\0").as_bytes()))
            .collect();
        let app = build_with_notes(folder.path(), &notes);
        let list = run_with_64_mib(&["list", app.to_str().unwrap()]);
        let errors = text(&list.stderr);
        assert_eq!(list.status.code(), Some(0), "{name}: {errors}");
        assert!(errors.contains("more than 32768 notes; skipped the others"), "{errors}");
        assert!(errors.lines().count() < 60, "{errors}");
        let trace =
            run_with_64_mib(&["trace", "--dry-run", "p:n7", "--exe", app.to_str().unwrap()]);
        assert_eq!(
            trace.status.code(),
            Some(if pc == good { 0 } else { 2 }),
            "{}",
            text(&trace.stderr)
        );
    }
}

#[test]
fn skips_notes_with_false_addresses_and_lengths() {
    if !have(&[Need::Bpf, Need::Program("cc"), Need::Program("objcopy")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let good = site(&crate::verification::build(folder.path(), crate::verification::ASSEMBLY));
    let huge = [b"p\0n\0".to_vec(), vec![b'4'; 1 << 20], vec![0]].concat();
    let escape = b"p\x1b[2J\0n\x07\0\x1b]0;owned\x07\0";
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("outside the file", note(0x10, 0, b"p\0n\0\0"), "is not in an executable segment"),
        (
            "in the middle of an instruction",
            note(good - 3, 0, b"p\0n\0\0"),
            "not a NOP; a probe there is single-stepped",
        ),
        ("a semaphore in the code", note(good, good, b"p\0n\0\0"), "semaphore"),
        ("a semaphore nowhere", note(good, u64::MAX - 1, b"p\0n\0\0"), "semaphore"),
        ("huge arguments", note(good, 0, &huge), "skipped a note of 1048605 bytes (limit 65536)"),
        ("no strings", note(good, 0, b""), "note"),
        (
            "a length beyond the section",
            [&[8, 0, 0, 0, 255, 255, 255, 255, 3, 0, 0, 0][..], b"stapsdt\0"].concat(),
            "note",
        ),
        ("escapes", note(good, 0, escape), ""),
    ];
    for (what, notes, expected_part) in cases {
        let app = build_with_notes(folder.path(), notes);
        let app = app.to_str().unwrap();
        let list = attach(&["list", app]);
        assert!(list.status.code() == Some(0), "{what}: {}", text(&list.stderr));
        let trace = attach(&["trace", "--duration", "200ms", "--", app]);
        assert!(
            [Some(0), Some(2)].contains(&trace.status.code()),
            "{what}: {}",
            text(&trace.stderr)
        );
        let output = [list.stdout, list.stderr, trace.stdout, trace.stderr]
            .map(|bytes| text(&bytes))
            .concat();
        assert!(!output.contains(['\x1b', '\x07']), "{what}: {output:?}");
        assert!(!output.contains("panicked"), "{what}: {output}");
        assert!(output.contains(expected_part), "{what}: {output}");
    }
}
