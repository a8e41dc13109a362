//! Files that lie: an error message, and nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;
use usdt_e2e::{Need, attach, command, have, stdout, text, tools};

/// One note, its strings as they are.
fn note(pc: u64, semaphore: u64, strings: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [8, 24 + strings.len() as u32, 3] {
        out.extend(word.to_le_bytes());
    }
    out.extend(b"stapsdt\0");
    [pc, 0, semaphore].iter().for_each(|word| out.extend(word.to_le_bytes()));
    out.extend(strings);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// A program with other notes than it was built with.
fn with_notes(folder: &Path, notes: &[u8]) -> PathBuf {
    let app = crate::verify::build(folder, crate::verify::GOOD);
    let (section, out) = (folder.join("notes"), folder.join("hostile"));
    std::fs::write(&section, notes).unwrap();
    let update = format!(".note.stapsdt={}", section.display());
    stdout(Command::new("objcopy").args(["--update-section", &update]).arg(&app).arg(&out));
    out
}

fn site(app: &Path) -> u64 {
    usdt_e2e::listed(app)[0]["address"].as_u64().unwrap()
}

/// Runs with at most 64 MiB of memory of its own: what it maps of the file is the file's.
fn limited(args: &[&str]) -> std::process::Output {
    let mut shell = command("sh");
    shell
        .args(["-c", "ulimit -d 65536; exec \"$@\"", "sh"])
        .arg(tools().join("usdt-attach"))
        .args(args);
    shell.output().unwrap()
}

#[test]
fn a_million_notes() {
    if !have(&[Need::Program("cc"), Need::Program("objcopy")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let good = site(&crate::verify::build(folder.path(), crate::verify::GOOD));
    for (pc, name) in [(good, "good"), (u64::MAX, "nowhere")] {
        let notes: Vec<u8> = (0..1 << 20)
            .flat_map(|n| note(pc, 0, format!("p\0n{n}\0 4@%eax\0").as_bytes()))
            .collect();
        let app = with_notes(folder.path(), &notes);
        let list = limited(&["list", app.to_str().unwrap()]);
        let errors = text(&list.stderr);
        assert_eq!(list.status.code(), Some(0), "{name}: {errors}");
        assert!(errors.contains("more than 32768 notes; skipped the others"), "{errors}");
        assert!(errors.lines().count() < 60, "{errors}");
        let trace = limited(&["trace", "--dry-run", "p:n7", "--exe", app.to_str().unwrap()]);
        assert_eq!(
            trace.status.code(),
            Some(if pc == good { 0 } else { 2 }),
            "{}",
            text(&trace.stderr)
        );
    }
}

#[test]
fn notes_that_lie() {
    if !have(&[Need::Bpf, Need::Program("cc"), Need::Program("objcopy")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let good = site(&crate::verify::build(folder.path(), crate::verify::GOOD));
    let huge = [b"p\0n\0".to_vec(), vec![b'4'; 1 << 20], vec![0]].concat();
    let escape = b"p\x1b[2J\0n\x07\0\x1b]0;owned\x07\0";
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("outside the file", note(0x10, 0, b"p\0n\0\0"), "is not in an executable segment"),
        (
            "in the middle of an instruction",
            note(good - 3, 0, b"p\0n\0\0"),
            "not a NOP; a probe there is single-stepped",
        ),
        ("a semaphore in the text", note(good, good, b"p\0n\0\0"), "semaphore"),
        ("a semaphore nowhere", note(good, u64::MAX - 1, b"p\0n\0\0"), "semaphore"),
        ("huge arguments", note(good, 0, &huge), "skipped a note of 1048605 bytes (limit 65536)"),
        ("no strings", note(good, 0, b""), "note"),
        (
            "a length beyond the section",
            [&[8, 0, 0, 0, 255, 255, 255, 255, 3, 0, 0, 0][..], b"stapsdt\0"].concat(),
            "note",
        ),
        ("escapes", note(good, 0, escape), "unknown"),
    ];
    for (what, notes, expected) in cases {
        let app = with_notes(folder.path(), notes);
        let app = app.to_str().unwrap();
        let list = attach(&["list", app]);
        assert!(list.status.code() == Some(0), "{what}: {}", text(&list.stderr));
        let trace = attach(&["trace", "--duration", "200ms", "--", app]);
        assert!(
            [Some(0), Some(2)].contains(&trace.status.code()),
            "{what}: {}",
            text(&trace.stderr)
        );
        let said = [list.stdout, list.stderr, trace.stdout, trace.stderr]
            .map(|bytes| text(&bytes))
            .concat();
        assert!(!said.contains(['\x1b', '\x07']), "{what}: {said:?}");
        assert!(!said.contains("panicked"), "{what}: {said}");
        if *expected != "unknown" {
            assert!(said.contains(expected), "{what}: {said}");
        }
    }
}
