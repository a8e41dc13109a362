//! Files of other users that attack the reader: they change while they are read, never answer, or
//! claim absurd sizes. Each costs a message at most.

use stapsdt::note::Note;
use std::fmt::Write as _;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use usdt_e2e::neighbors::{Helper, hanging_file, hanging_file_of};
use usdt_e2e::sample_elf::{CONTENT, PT_LOAD, PT_NOTE, Section, Segment, elf, note};
use usdt_e2e::{
    Fixture, Mode, Need, attach, command, have, limited, mapping_start, stdout, text, tools,
    wait_for,
};

const SHT_PROGBITS: u32 = 1;
const SHT_RELA: u32 = 4;
const SHT_NOTE: u32 = 7;
const SHF_ALLOC: u64 = 2;
const RX: u32 = 5;
const RW: u32 = 6;

#[test]
fn lists_the_host_next_to_a_file_that_is_truncated_all_the_time() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = crate::verification::build(folder.path(), crate::verification::ASSEMBLY);
    let file = folder.path().join("victim");
    let args = [app.to_str().unwrap(), file.to_str().unwrap()];
    let _helper = Helper::start(folder.path(), "truncating", &mut command("env"), &args);
    let (mut listed, mut reported) = (0, 0);
    for run in 0..200 {
        let list = attach(&["list", "--all"]);
        let errors = text(&list.stderr);
        assert_eq!(list.status.code(), Some(0), "run {run}: {errors}");
        let name = file.to_str().unwrap();
        let (in_list, in_errors) = (text(&list.stdout).contains(name), errors.contains(name));
        assert!(in_list || in_errors, "run {run}: neither listed nor reported: {errors}");
        listed += u32::from(in_list);
        reported += u32::from(in_errors);
    }
    eprintln!("listed {listed} times, reported {reported} times");
}

#[test]
fn skips_files_on_a_file_system_that_never_answers() {
    if !have(&[Need::Bpf, Need::Program("cc"), Need::Program("unshare"), Need::File("/dev/fuse")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (helper, file) = hanging_file(folder.path(), "hang");
    let pid = helper.line.as_str();
    let check = |file: &str, message: &str| {
        for target in [&["--all"][..], &["-p", pid]] {
            let list = attach_in_time(&[&["list"], target].concat());
            let errors = text(&list.stderr);
            assert_eq!(list.status.code(), Some(0), "{target:?}: {errors}");
            let expected = format!("skipped {file}: its file system {message}");
            assert_eq!(errors.matches(&expected).count(), 1, "{target:?}: {errors}");
        }
    };
    check(file.to_str().unwrap(), "(fuse) may never answer; name the file to read it");
    stdout(command("nsenter").args(["-t", pid, "-m", "umount", "-l"]).arg(file.parent().unwrap()));
    // The kernel knows no path of the file any more.
    check("/file", "is in no mount table and may never answer; name the file to read it");
}

#[test]
fn reports_a_file_that_cannot_be_read() {
    if !have(&[Need::Bpf, Need::Program("cc"), Need::Program("unshare"), Need::File("/dev/fuse")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (helper, file) = hanging_file(folder.path(), "eio");
    let list = attach_in_time(&["list", "--all"]);
    assert_eq!(list.status.code(), Some(0), "{}", text(&list.stderr));
    assert!(text(&list.stderr).contains(file.to_str().unwrap()), "{}", text(&list.stderr));
    // The user names the file.
    let by_name = format!("/proc/{}/root{}", helper.line, file.display());
    let list = attach_in_time(&["list", &by_name]);
    let errors = text(&list.stderr);
    assert_eq!(list.status.code(), Some(2), "{errors}");
    assert!(errors.contains("Input/output error"), "{errors}");
}

/// A Go process has its list of goroutines in a file that never answers.
#[test]
fn go_does_not_read_memory_of_a_file_system_that_never_answers() {
    if !have(&[Need::Bpf, Need::Program("cc"), Need::Program("unshare"), Need::File("/dev/fuse")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = Fixture::get("mapped", Mode::Plain);
    let layout = gobinary::GoBinary::parse(&std::fs::read(&app).unwrap())
        .and_then(|go| go.runtime_layout())
        .unwrap();
    let (helper, file) = hanging_file_of(folder.path(), "hang", &[app.to_str().unwrap()]);
    let pid = helper.line.as_str();
    let address = || mapping_start(pid, file.to_str().unwrap());
    wait_for("the mapping", || address().is_some());
    let memory = std::fs::OpenOptions::new().write(true).open(format!("/proc/{pid}/mem")).unwrap();
    memory.write_all_at(&address().unwrap().to_le_bytes(), layout.allgs).unwrap();
    let mut go = command(tools().join("usdt-attach"));
    go.args(["go", "-p", pid, "--json", "--duration", "2s"]);
    let mut go = go.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while go.try_wait().unwrap().is_none() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
    }
    let has_ended = go.try_wait().unwrap().is_some();
    // A process that waits for the file system ends with it.
    go.kill().unwrap();
    drop(helper);
    let out = go.wait_with_output().unwrap();
    assert!(has_ended && out.status.success(), "{:?}: {}", out.status, text(&out.stderr));
    assert!(text(&out.stdout).contains("\"goroutines\""), "{}", text(&out.stdout));
}

/// Runs `usdt-attach` for 10 seconds at most.
fn attach_in_time(args: &[&str]) -> Output {
    let start = Instant::now();
    let out = command("timeout")
        .args(["-s", "KILL", "10"])
        .arg(tools().join("usdt-attach"))
        .args(args)
        .output()
        .unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{args:?}: {}", text(&out.stderr));
    out
}

/// Lists the probes of a file with 10 seconds of processor time and 128 MiB of address space.
fn list_with_limits(file: &[u8], globs: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile");
    std::fs::write(&path, file).unwrap();
    list_file_with_limits(&path, globs)
}

fn list_file_with_limits(path: &Path, globs: &[&str]) -> String {
    let mut attach = limited("ulimit -v 131072 && ulimit -t 10", tools().join("usdt-attach"));
    let out = attach.arg("list").arg(path).args(globs).output().unwrap();
    let errors = text(&out.stderr);
    assert!([Some(0), Some(2)].contains(&out.status.code()), "{:?}: {errors}", out.status);
    assert!(!errors.contains("panicked") && !errors.contains("memory allocation"), "{errors}");
    text(&out.stdout) + &errors
}

#[test]
fn sections_share_a_long_name() {
    let mut names = vec![b'x'; 8 << 20];
    names.push(0);
    let table =
        Section { kind: 3, offset: CONTENT, size: names.len() as u64, ..Section::default() };
    let out = list_with_limits(&elf(&names, &[], &vec![table; 0xfeff]), &[]);
    assert!(out.contains("no probes"), "{out}");
}

#[test]
fn segments_share_notes() {
    let notes = note(0x1000, 0, b"p\0n\0\0").repeat(20_000);
    let notes_at = Segment {
        kind: PT_NOTE,
        offset: CONTENT,
        filesz: notes.len() as u64,
        ..Segment::default()
    };
    let code = Segment { kind: PT_LOAD, flags: RX, offset: 0, vaddr: 0x1000, filesz: 4096 };
    let mut segments = vec![notes_at; 0xfff0];
    segments.push(code);
    let out = list_with_limits(&elf(&notes, &segments, &[]), &[]);
    assert!(out.matches("p:n").count() <= 20_000, "{} lines", out.lines().count());
}

#[test]
fn many_notes_meet_many_segments() {
    let count = 30_000;
    let notes: Vec<u8> =
        (0..count).flat_map(|n| note(0x1_0000 + 16 * n, 0x2_0000 + n, b"p\0n\0\0")).collect();
    let load =
        |n: u64| Segment { kind: PT_LOAD, flags: RX, offset: CONTENT, vaddr: 16 * n, filesz: 16 };
    let mut segments: Vec<Segment> = (0..0xfff0).map(load).collect();
    segments.push(Segment {
        kind: PT_NOTE,
        offset: CONTENT,
        filesz: notes.len() as u64,
        ..Segment::default()
    });
    let out = list_with_limits(&elf(&notes, &segments, &[]), &[]);
    assert!(out.contains("p:n"), "{out}");
}

/// Returns a Go binary with a function table and, before it, other content.
fn go_binary(table: &[u8], extra: &[(&str, &[u8])]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut names = b"\0".to_vec();
    let mut sections = vec![Section::default()];
    let text = Segment { kind: PT_LOAD, flags: RX, offset: 0, vaddr: 0x40_0000, filesz: 64 };
    let all = [(".gopclntab", table)];
    for (name, bytes) in all.iter().chain(extra) {
        let (offset, size) = (CONTENT + content.len() as u64, bytes.len() as u64);
        let name_at = names.len() as u32;
        names.extend(name.bytes().chain([0]));
        content.extend(*bytes);
        sections.push(Section {
            name: name_at,
            kind: SHT_PROGBITS,
            offset,
            size,
            ..Section::default()
        });
    }
    let offset = CONTENT + content.len() as u64;
    sections.push(Section { kind: 3, offset, size: names.len() as u64, ..Section::default() });
    content.extend(names);
    elf(&content, &[text], &sections)
}

/// Returns a function table of Go 1.20 or later with these words after its magic.
fn function_table(functions: u64, names: u64, entries: u64, body: &[u8]) -> Vec<u8> {
    let mut table = 0xffff_fff1u32.to_le_bytes().to_vec();
    table.extend([0, 0, 1, 8]);
    let body_at = 72;
    for word in [functions, 0, 0x40_0000, body_at + names, 0, 0, 0, body_at + entries] {
        table.extend(word.to_le_bytes());
    }
    table.extend(body);
    table
}

#[test]
fn function_tables_claim_absurd_numbers() {
    for functions in [1 << 62, u64::MAX, 1 << 32] {
        let table = function_table(functions, 0, 0, &vec![0; 4 << 20]);
        let out = list_with_limits(&go_binary(&table, &[]), &["go:*"]);
        assert!(out.contains("no probe matches"), "{out}");
    }
    // Entries in an order that needs a read for each of them.
    let count = 1u32 << 20;
    let scattered: Vec<u8> = (0..count)
        .flat_map(|n| [n, n.wrapping_mul(0x9e37_79b1) % (8 * count)])
        .flat_map(u32::to_le_bytes)
        .collect();
    let table = function_table(count.into(), 0, 0, &scattered);
    let out = list_with_limits(&go_binary(&table, &[]), &["go:*"]);
    assert!(out.contains("no probe matches"), "{out}");
}

/// Returns the build information of a Go version whose offsets come from DWARF.
fn build_info() -> Vec<u8> {
    let mut info = b"\xff Go buildinf:\x08\x02".to_vec();
    info.resize(32, 0);
    let version = b"devel go1.99-0123456789";
    info.push(version.len() as u8);
    info.extend(version);
    info.resize(64, 0);
    info
}

#[test]
fn dwarf_takes_no_more_than_its_share() {
    // Compile units whose root entry has no attributes, all with one large table of abbreviations.
    let unit = [8u32.to_le_bytes().to_vec(), vec![4, 0, 0, 0, 0, 0, 8, 1]].concat();
    let mut abbreviations = Vec::new();
    for code in 1..100_000u32 {
        leb128(&mut abbreviations, code);
        abbreviations.extend([0x11, 0, 0, 0]);
    }
    abbreviations.push(0);
    // Alternating tables, so that none can be reused.
    let other = [8u32.to_le_bytes().to_vec(), vec![4, 0, 4, 0, 0, 0, 8, 1]].concat();
    let units = [unit, other].concat().repeat(200_000);
    // An entry of one byte with thousands of attributes that take no bytes.
    let mut wide = vec![1, 0x11, 1, 3, 8, 0, 0, 2, 0x13, 0];
    for _ in 0..20_000 {
        wide.extend([0x3f, 0x19]);
    }
    wide.extend([0, 0, 0]);
    let mut entries = vec![4, 0, 0, 0, 0, 0, 8, 1];
    entries.extend(b"runtime\0");
    entries.resize(4 << 20, 2);
    let narrow = [(entries.len() as u32).to_le_bytes().to_vec(), entries].concat();
    for (info, abbreviations) in [(units, abbreviations), (narrow, wide)] {
        let info_of_build = build_info();
        let sections = [
            (".go.buildinfo", &info_of_build[..]),
            (".debug_info", &info[..]),
            (".debug_abbrev", &abbreviations[..]),
        ];
        let table = function_table(0, 0, 0, &[0; 64]);
        let out = list_with_limits(&go_binary(&table, &sections), &["go:*"]);
        assert!(out.contains("no probe matches"), "{out}");
    }
}

fn leb128(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[test]
fn notes_share_a_large_schema() {
    let mut json = r#"{"version":1,"provider":"p","name":"n","args":["#.to_owned();
    for n in 0..10_000 {
        let comma = if n == 0 { "" } else { "," };
        write!(json, r#"{comma}{{"name":"a{n}","type":"int","kind":"int","size":4}}"#).unwrap();
    }
    json.push_str("]}");
    let mut schema = Vec::new();
    for word in [5u32, json.len() as u32, 0x7573_6474] {
        schema.extend(word.to_le_bytes());
    }
    schema.extend(b"usdt\0\0\0\0");
    schema.extend(json.bytes());
    schema.resize(schema.len().next_multiple_of(4), 0);
    let notes = note(0x40_0000, 0, b"p\0n\0\0").repeat(32_768);
    let names = b"\0.note.usdt\0.note.stapsdt\0";
    let content = [&schema[..], &notes, names].concat();
    let section = |name, kind, offset: usize, size: usize| Section {
        name,
        kind,
        offset: CONTENT + offset as u64,
        size: size as u64,
        ..Section::default()
    };
    let sections = [
        Section::default(),
        section(1, SHT_NOTE, 0, schema.len()),
        section(12, SHT_NOTE, schema.len(), notes.len()),
        section(0, 3, schema.len() + notes.len(), names.len()),
    ];
    let text = Segment { kind: PT_LOAD, flags: RX, offset: 0, vaddr: 0x40_0000, filesz: 64 };
    let out = list_with_limits(&elf(&content, &[text], &sections), &["x:*"]);
    assert!(out.contains("argument names are left out"), "{}", out.lines().last().unwrap());
}

#[test]
fn blobs_meet_relocation_tables_that_overlap() {
    let note = Note {
        pc: 0,
        base: 0,
        semaphore: 0,
        provider: "p".into(),
        name: "n".into(),
        args: String::new(),
    };
    let blob = stapsdt::blob::encode_template(&note, 0, None).unwrap();
    let relocations = vec![1; 6 << 20];
    let names = b"\0.noptrdata\0";
    let content = [&blob[..], names, &relocations].concat();
    let data = Segment {
        kind: PT_LOAD,
        flags: RW,
        offset: CONTENT,
        vaddr: 0x1000,
        filesz: blob.len() as u64,
    };
    let names_at = CONTENT + blob.len() as u64;
    let rela = Section {
        kind: SHT_RELA,
        flags: SHF_ALLOC,
        offset: names_at + names.len() as u64,
        size: relocations.len() as u64,
        ..Section::default()
    };
    let mut sections = vec![rela; 0xff00];
    sections.push(Section { name: 1, kind: SHT_PROGBITS, ..Section::default() });
    sections.push(Section {
        kind: 3,
        offset: names_at,
        size: names.len() as u64,
        ..Section::default()
    });
    let out = list_with_limits(&elf(&content, &[data; 3], &sections), &[]);
    assert!(out.contains("no probes"), "{out}");
}

#[test]
fn sparse_files_are_not_read_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse");
    let size = 5u64 << 40;
    let flags = [RX, RW];
    let load = |flags| Segment { kind: PT_LOAD, flags, offset: 0, vaddr: 0, filesz: size };
    let notes = Segment { kind: PT_NOTE, flags: 0, offset: 4096, vaddr: 0, filesz: size - 4096 };
    let mut segments = flags.map(load).to_vec();
    segments.push(notes);
    std::fs::write(&path, elf(&[], &segments, &[])).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    if file.set_len(size).is_err() {
        eprintln!("skipped: the file system has no files of 5 TiB");
        return;
    }
    let out = list_file_with_limits(&path, &["go:*"]);
    assert!(out.contains("more than 8 MiB of notes") && out.contains("512 MiB"), "{out}");
}
