//! `verify` and the consumers it speaks for: what the models say of notes with a known defect, the real tools do.
//! And `seal --fix`, which mends what can be mended.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use usdt_e2e::{Fixture, Mode, Need, Process, command, have, lines, root, stdout, text, usdt_gen};

/// A program with one probe, `prov:name`, whose note is what every consumer takes; tests change the text.
pub(crate) const GOOD: &str = r#"
    .text
    .globl main
main:
    movl $7, %eax
site:
    nop
    xorl %eax, %eax
    ret
    .section .probes, "aw", @progbits
sema:
    .2byte 0
    .section .stapsdt.base, "a", @progbits
base:
    .byte 0
    .section .note.stapsdt, "", @note
    .balign 4
    .4byte 8, 2f-1f, 3
    .asciz "stapsdt"
1:  .8byte site, base, sema
    .asciz "prov"
    .asciz "name"
    .asciz "-4@%eax"
2:  .balign 4
    .section .note.GNU-stack, "", @progbits
"#;

pub(crate) fn build(folder: &Path, source: &str) -> PathBuf {
    let (file, out) = (folder.join("probe.S"), folder.join("probe"));
    std::fs::write(&file, source).unwrap();
    stdout(command("cc").args(["-no-pie", "-Wl,--build-id", "-o"]).arg(&out).arg(&file));
    out
}

/// Puts the section headers of notes and of `.probes` in each other's place, as a careless linker would.
fn swapped(program: &Path) {
    stdout(command("strip").arg(program));
    let mut data = std::fs::read(program).unwrap();
    let view = stapsdt::elf::View::parse(&data).unwrap();
    let at = |name: &str| view.sections.iter().position(|s| s.name == name).unwrap();
    let (notes, probes) = (at(".note.stapsdt"), at(".probes"));
    let table = u64::from_le_bytes(data[40..48].try_into().unwrap()) as usize;
    for i in 0..64 {
        data.swap(table + 64 * notes + i, table + 64 * probes + i);
    }
    std::fs::write(program, data).unwrap();
}

/// The verdicts of the models, by consumer.
fn verdicts(program: &Path) -> BTreeMap<String, String> {
    let out = usdt_gen(&["verify", "--json", program.to_str().unwrap()]);
    let rows = lines(&text(&out.stdout));
    let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let all: BTreeMap<String, String> =
        rows.iter().map(|r| (word(r, "consumer"), word(r, "verdict"))).collect();
    assert_eq!(
        out.status.code(),
        Some(i32::from(all.values().any(|v| v != "accepted"))),
        "{all:?}"
    );
    for row in rows.iter().filter(|r| r["verdict"] != "accepted") {
        assert!(!word(row, "reason").is_empty() && !word(row, "hint").is_empty(), "{row}");
    }
    all
}

/// What the tools themselves do: whether each finds the probe, at the right place.
fn found(program: &Path, folder: &Path) -> BTreeMap<String, bool> {
    let path = program.to_str().unwrap();
    let says = |tool: &str, args: &[&str], what: &str| {
        text(&command(tool).args(args).output().unwrap().stdout).contains(what)
    };
    let stap = format!("process(\"{path}\").provider(\"prov\").mark(\"*\")");
    BTreeMap::from([
        ("bcc".to_owned(), says("tplist-bpfcc", &["-l", path], "prov:name")),
        (
            "gdb".to_owned(),
            says("gdb", &["-nx", "-batch", "-ex", "info probes stap", path], "prov"),
        ),
        ("systemtap".to_owned(), says("stap", &["-L", &stap], "mark(\"name\")")),
        ("perf".to_owned(), perf(program, folder)),
        ("libbpf".to_owned(), libbpf(program, folder)),
    ])
}

/// Whether perf hands the right file offsets to the kernel, and the kernel takes them.
fn perf(program: &Path, folder: &Path) -> bool {
    // The kernel's names of events are shared by all tests.
    static EVENTS: Mutex<()> = Mutex::new(());
    let _turn = EVENTS.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = folder.join("perf");
    let _ = std::fs::remove_dir_all(&cache);
    std::fs::create_dir(&cache).unwrap();
    let perf = |args: &[&str]| {
        command("perf")
            .args(["--buildid-dir", cache.to_str().unwrap()])
            .args(args)
            .output()
            .unwrap()
    };
    perf(&["buildid-cache", "--add", program.to_str().unwrap()]);
    let defined = perf(&["probe", "-q", "sdt_prov:name"]).status.success();
    let events = std::fs::read_to_string("/sys/kernel/tracing/uprobe_events").unwrap();
    perf(&["probe", "-q", "-d", "sdt_prov:*"]);
    let data = std::fs::read(program).unwrap();
    let view = stapsdt::elf::View::parse(&data).unwrap();
    // The site is the only no-op in front of this: `xor %eax, %eax; ret`.
    let site = data.windows(4).position(|w| w == [0x90, 0x31, 0xc0, 0xc3]).unwrap();
    let semaphore = view.section(".probes").map_or(0, |s| s.offset);
    defined && events.contains(&format!(":{site:#018x}({semaphore:#x})"))
}

/// Whether libbpf attaches and sees the program pass by.
fn libbpf(program: &Path, folder: &Path) -> bool {
    let (object, loader) = usdt_e2e::libbpf(folder);
    let args = [object.to_str().unwrap(), program.to_str().unwrap(), "prov", "name"];
    let mut tracer = Process::start(command(loader).args(args));
    // It gives up by itself where it has seen nothing for half a minute.
    while tracer.0.try_wait().unwrap().is_none() {
        stdout(&mut command(program));
    }
    tracer.finish().0.success()
}

fn ready() -> bool {
    cfg!(target_arch = "x86_64")
        && have(&[
            Need::Bpf,
            Need::Program("cc"),
            Need::Program("clang"),
            Need::File("/usr/include/bpf/usdt.bpf.h"),
            Need::Program("tplist-bpfcc"),
            Need::Program("gdb"),
            Need::Program("perf"),
            Need::Program("stap"),
            Need::File("/sys/kernel/tracing/uprobe_events"),
        ])
}

/// One defect each: how to make it, and who rejects the note for it.
type Defect = (&'static str, fn(&Path) -> PathBuf, &'static [&'static str]);

const DEFECTS: &[Defect] = &[
    ("none", |f| build(f, GOOD), &[]),
    (
        "padding counted in descsz",
        |f| build(f, &GOOD.replace("2:  .balign 4", "    .balign 4\n2:")),
        &["bcc", "gdb", "systemtap"],
    ),
    (
        "no .stapsdt.base",
        |f| {
            let text = GOOD.replace("site, base, sema", "site, 0, sema");
            build(
                f,
                &text.replace(
                    "    .section .stapsdt.base, \"a\", @progbits\nbase:\n    .byte 0\n",
                    "",
                ),
            )
        },
        &["gdb", "perf"],
    ),
    (
        "loaded notes",
        |f| build(f, &GOOD.replace(".note.stapsdt, \"\"", ".note.stapsdt, \"a\"")),
        // The linker puts what is loaded in front of `.probes`.
        &["bcc", "perf", "systemtap"],
    ),
    (
        "headers out of order",
        |f| {
            let program = build(f, GOOD);
            swapped(&program);
            program
        },
        &["bcc"],
    ),
    ("a float", |f| build(f, &GOOD.replace("-4@%eax", "8f@%xmm0")), &["libbpf", "perf"]),
    ("a symbol", |f| build(f, &GOOD.replace("-4@%eax", "4@sema(%rip)")), &["libbpf"]),
    (
        "thirteen arguments",
        |f| build(f, &GOOD.replace("-4@%eax", &["-4@%eax"; 13].join(" "))),
        &["libbpf", "systemtap"],
    ),
];

#[test]
fn models_say_what_the_consumers_do() {
    if !ready() {
        return;
    }
    for (name, make, rejecting) in DEFECTS {
        let folder = tempfile::tempdir().unwrap();
        let program = make(folder.path());
        let verdicts = verdicts(&program);
        let rejected: Vec<&str> =
            verdicts.iter().filter(|(_, v)| *v == "rejected").map(|(c, _)| c.as_str()).collect();
        assert_eq!(rejected, *rejecting, "{name}: {verdicts:?}");
        for (consumer, found) in found(&program, folder.path()) {
            assert_eq!(
                found,
                !rejecting.contains(&consumer.as_str()),
                "{name}: what {consumer} itself does"
            );
        }
    }
}

#[test]
fn defects_are_repaired() {
    if !ready() {
        return;
    }
    for (name, make, rejecting) in DEFECTS.iter().take(5) {
        let folder = tempfile::tempdir().unwrap();
        let program = make(folder.path());
        let before = std::fs::read(&program).unwrap();
        let fix = || stdout(command("usdt-gen").args(["seal", "--fix"]).arg(&program));
        assert_eq!(fix(), "");
        assert_eq!(std::fs::read(&program).unwrap() == before, rejecting.is_empty(), "{name}");
        assert!(verdicts(&program).values().all(|v| v == "accepted"), "{name}");
        assert!(found(&program, folder.path()).values().all(|found| *found), "{name}");
        let once = std::fs::read(&program).unwrap();
        fix();
        assert!(
            std::fs::read(&program).unwrap() == once,
            "{name}: repairing again changes nothing"
        );
    }
}

/// arm64 notes with 32-bit register names, which libbpf and bcc do not know.
#[test]
fn register_names_are_repaired() {
    if !have(&[Need::Program("clang"), Need::Program("ld.lld")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("p.s"), folder.path().join("p"));
    let arm = GOOD
        .replace("main:\n    movl $7, %eax", "main:")
        .replace("xorl %eax, %eax", "mov w0, 0")
        .replace("-4@%eax", "-4@w0 8@[sp, 8] 4@w1");
    std::fs::write(&source, arm).unwrap();
    let mut clang = command("clang");
    clang.args(["-target", "aarch64-linux-gnu", "-nostdlib", "-fuse-ld=lld", "-Wl,-e,main", "-o"]);
    stdout(clang.arg(&program).arg(&source));
    assert_eq!(verdicts(&program)["libbpf"], "rejected");
    assert_eq!(verdicts(&program)["bcc"], "partial");
    stdout(command("usdt-gen").args(["seal", "--fix"]).arg(&program));
    assert_eq!(verdicts(&program)["libbpf"], "accepted");
    let args = usdt_e2e::listed(&program)[0]["args"].clone();
    assert_eq!(args, "-4@x0 8@[sp, 8] 4@x1");
}

/// Of everything that Go builds, every consumer takes every probe; arm64 is built here and read.
#[test]
fn sealed_binaries_conform() {
    for mode in Mode::SEALED {
        let rows = rows(&Fixture::get("hits", mode));
        assert_eq!(rows.len(), 5 * 7, "{mode:?}");
        for row in rows {
            // Go before 1.24 gives no GNU build id by itself.
            let id = row["reason"].as_str().is_some_and(|r| r.contains("GNU build ID"));
            assert!(row["verdict"] == "accepted" || id, "{mode:?}: {row}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("arm64");
    for pie in ["-buildmode=exe", "-buildmode=pie"] {
        let mut build = command("go");
        build.args([
            "build",
            "-toolexec=usdt-gen toolexec",
            pie,
            "-ldflags=-B 0x0123456789abcdef",
            "-o",
        ]);
        build
            .arg(&program)
            .arg("./hits")
            .env("GOARCH", "arm64")
            .current_dir(root().join("tests/go"));
        stdout(&mut build);
        for row in rows(&program) {
            assert_eq!(row["verdict"], "accepted", "{pie}: {row}");
        }
    }
}

fn rows(program: &Path) -> Vec<Value> {
    lines(&text(&usdt_gen(&["verify", "--json", program.to_str().unwrap()]).stdout))
}

#[test]
fn what_has_no_notes_is_told_apart() {
    let say = |path: &Path| {
        let out = usdt_gen(&["verify", path.to_str().unwrap()]);
        assert_eq!(out.status.code(), Some(2));
        text(&out.stderr)
    };
    assert!(
        say(&Fixture::get("hits", Mode::Plain))
            .contains("it is not sealed; run `usdt-gen seal` on it")
    );
    assert!(say(Path::new("/bin/sh")).contains("it has no probe notes"));
    assert!(say(Path::new("/etc/passwd")).contains("not an ELF file"));
}
