//! `usdt-gen verify` and the consumers that it models: for notes with a known defect, the models
//! predict what the real tools do. Also `seal --fix`, which repairs defects.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use usdt_e2e::{
    Fixture, Mode, Need, Process, command, have, json_lines, root, stdout, text, usdt_gen,
};

/// A program with one probe, `prov:name`, whose note every consumer accepts. Tests modify this
/// source.
pub(crate) const ASSEMBLY: &str = r#"
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

/// Assembles a program.
pub(crate) fn build(folder: &Path, source: &str) -> PathBuf {
    let (file, out) = (folder.join("probe.S"), folder.join("probe"));
    std::fs::write(&file, source).unwrap();
    stdout(command("cc").args(["-no-pie", "-Wl,--build-id", "-o"]).arg(&out).arg(&file));
    out
}

/// Swaps the section headers of the notes and of `.probes`, as a careless linker would.
fn swap_section_headers(program: &Path) {
    stdout(command("strip").arg(program));
    let mut data = std::fs::read(program).unwrap();
    let view = stapsdt::elf::View::parse(&data).unwrap();
    let index = |name: &str| view.sections.iter().position(|s| s.name == name).unwrap();
    let (notes, probes) = (index(".note.stapsdt"), index(".probes"));
    let table = u64::from_le_bytes(data[40..48].try_into().unwrap()) as usize;
    for i in 0..64 {
        data.swap(table + 64 * notes + i, table + 64 * probes + i);
    }
    std::fs::write(program, data).unwrap();
}

/// Returns the verdicts of the models by consumer.
fn verdicts(program: &Path) -> BTreeMap<String, String> {
    let out = usdt_gen(&["verify", "--json", program.to_str().unwrap()]);
    let rows = json_lines(&text(&out.stdout));
    let string = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let all: BTreeMap<String, String> =
        rows.iter().map(|r| (string(r, "consumer"), string(r, "verdict"))).collect();
    assert_eq!(
        out.status.code(),
        Some(i32::from(all.values().any(|v| v != "accepted"))),
        "{all:?}"
    );
    for row in rows.iter().filter(|r| r["verdict"] != "accepted") {
        assert!(!string(row, "reason").is_empty() && !string(row, "hint").is_empty(), "{row}");
    }
    all
}

/// Runs the real tools, and returns for each whether it finds the probe at the right place.
fn real_results(program: &Path, folder: &Path) -> BTreeMap<String, bool> {
    let path = program.to_str().unwrap();
    let prints = |tool: &str, args: &[&str], what: &str| {
        text(&command(tool).args(args).output().unwrap().stdout).contains(what)
    };
    let stap = format!("process(\"{path}\").provider(\"prov\").mark(\"*\")");
    BTreeMap::from([
        ("bcc".to_owned(), prints("tplist-bpfcc", &["-l", path], "prov:name")),
        (
            "gdb".to_owned(),
            prints("gdb", &["-nx", "-batch", "-ex", "info probes stap", path], "prov"),
        ),
        ("systemtap".to_owned(), prints("stap", &["-L", &stap], "mark(\"name\")")),
        ("perf".to_owned(), perf(program, folder)),
        ("libbpf".to_owned(), libbpf(program, folder)),
    ])
}

/// Returns true if perf passes the right file offsets to the kernel and the kernel accepts them.
fn perf(program: &Path, folder: &Path) -> bool {
    // All tests share the kernel's event names.
    static EVENTS: Mutex<()> = Mutex::new(());
    let _guard = EVENTS.lock().unwrap_or_else(PoisonError::into_inner);
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
    // The site is the only NOP before `xor %eax, %eax; ret`.
    let site = data.windows(4).position(|w| w == [0x90, 0x31, 0xc0, 0xc3]).unwrap();
    let semaphore = view.section(".probes").map_or(0, |s| s.offset);
    defined && events.contains(&format!(":{site:#018x}({semaphore:#x})"))
}

/// Returns true if libbpf attaches and reads a hit.
fn libbpf(program: &Path, folder: &Path) -> bool {
    let (object, loader) = usdt_e2e::libbpf(folder);
    let args = [object.to_str().unwrap(), program.to_str().unwrap(), "prov", "name"];
    let mut tracer = Process::start(command(loader).args(args));
    // The loader exits with an error if it sees no hit for half a minute.
    while tracer.0.try_wait().unwrap().is_none() {
        stdout(&mut command(program));
    }
    tracer.finish().0.success()
}

/// Returns true if the machine has all modeled consumers.
fn have_all_consumers() -> bool {
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

/// A defect of a note.
struct Defect {
    name: &'static str,
    /// Builds a program with the defect in a folder.
    build: fn(&Path) -> PathBuf,
    /// The consumers that reject the note.
    rejected_by: &'static [&'static str],
}

/// The first [`REPAIRABLE`] defects can be repaired by `seal --fix`.
const DEFECTS: &[Defect] = &[
    Defect { name: "none", build: |f| build(f, ASSEMBLY), rejected_by: &[] },
    Defect {
        name: "padding counted in descsz",
        build: |f| build(f, &ASSEMBLY.replace("2:  .balign 4", "    .balign 4\n2:")),
        rejected_by: &["bcc", "gdb", "systemtap"],
    },
    Defect {
        name: "no .stapsdt.base",
        build: |f| {
            let source = ASSEMBLY.replace("site, base, sema", "site, 0, sema");
            let section = "    .section .stapsdt.base, \"a\", @progbits\nbase:\n    .byte 0\n";
            build(f, &source.replace(section, ""))
        },
        rejected_by: &["gdb", "perf"],
    },
    Defect {
        name: "loaded notes",
        build: |f| build(f, &ASSEMBLY.replace(".note.stapsdt, \"\"", ".note.stapsdt, \"a\"")),
        // The linker places loaded notes before `.probes`.
        rejected_by: &["bcc", "perf", "systemtap"],
    },
    Defect {
        name: "headers out of order",
        build: |f| {
            let program = build(f, ASSEMBLY);
            swap_section_headers(&program);
            program
        },
        rejected_by: &["bcc"],
    },
    Defect {
        name: "a float",
        build: |f| build(f, &ASSEMBLY.replace("-4@%eax", "8f@%xmm0")),
        rejected_by: &["libbpf", "perf"],
    },
    Defect {
        name: "a symbol",
        build: |f| build(f, &ASSEMBLY.replace("-4@%eax", "4@sema(%rip)")),
        rejected_by: &["libbpf"],
    },
    Defect {
        name: "thirteen arguments",
        build: |f| build(f, &ASSEMBLY.replace("-4@%eax", &["-4@%eax"; 13].join(" "))),
        rejected_by: &["libbpf", "systemtap"],
    },
];
const REPAIRABLE: usize = 5;

#[test]
fn models_predict_what_consumers_do() {
    if !have_all_consumers() {
        return;
    }
    for Defect { name, build, rejected_by } in DEFECTS {
        let folder = tempfile::tempdir().unwrap();
        let program = build(folder.path());
        let verdicts = verdicts(&program);
        let rejected: Vec<&str> =
            verdicts.iter().filter(|(_, v)| *v == "rejected").map(|(c, _)| c.as_str()).collect();
        assert_eq!(rejected, *rejected_by, "{name}: {verdicts:?}");
        for (consumer, found) in real_results(&program, folder.path()) {
            assert_eq!(
                found,
                !rejected_by.contains(&consumer.as_str()),
                "{name}: the model of {consumer} differs from the tool"
            );
        }
    }
}

#[test]
fn fix_repairs_defects() {
    if !have_all_consumers() {
        return;
    }
    for Defect { name, build, rejected_by } in DEFECTS.iter().take(REPAIRABLE) {
        let folder = tempfile::tempdir().unwrap();
        let program = build(folder.path());
        let before = std::fs::read(&program).unwrap();
        let fix = || stdout(command("usdt-gen").args(["seal", "--fix"]).arg(&program));
        assert_eq!(fix(), "");
        assert_eq!(std::fs::read(&program).unwrap() == before, rejected_by.is_empty(), "{name}");
        assert!(verdicts(&program).values().all(|v| v == "accepted"), "{name}");
        assert!(real_results(&program, folder.path()).values().all(|found| *found), "{name}");
        let once = std::fs::read(&program).unwrap();
        fix();
        assert!(
            std::fs::read(&program).unwrap() == once,
            "{name}: repairing again changes nothing"
        );
    }
}

/// Repairs arm64 notes with 32-bit register names, which libbpf and bcc do not know.
#[test]
fn fix_repairs_arm64_register_names() {
    if !have(&[Need::Program("clang"), Need::Program("ld.lld")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("p.s"), folder.path().join("p"));
    let arm = ASSEMBLY
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
    let args = usdt_e2e::list_probes(&program)[0]["args"].clone();
    assert_eq!(args, "-4@x0 8@[sp, 8] 4@x1");
}

/// Every consumer accepts every probe of every build mode; arm64 binaries are built here and
/// verified only.
#[test]
fn every_consumer_accepts_sealed_binaries() {
    for mode in Mode::SEALED {
        crate::builds::assert_accepted(&Fixture::get("hits", mode), 7, &format!("{mode:?}"));
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

/// Returns the rows of `usdt-gen verify --json`.
fn rows(program: &Path) -> Vec<Value> {
    json_lines(&text(&usdt_gen(&["verify", "--json", program.to_str().unwrap()]).stdout))
}

#[test]
fn explains_why_a_file_has_no_notes() {
    let error = |path: &Path| {
        let out = usdt_gen(&["verify", path.to_str().unwrap()]);
        assert_eq!(out.status.code(), Some(2));
        text(&out.stderr)
    };
    assert!(
        error(&Fixture::get("hits", Mode::Plain))
            .contains("it is not sealed; run `usdt-gen seal` on it")
    );
    assert!(error(Path::new("/bin/sh")).contains("it has no probe notes"));
    assert!(error(Path::new("/etc/passwd")).contains("not an ELF file"));
}
