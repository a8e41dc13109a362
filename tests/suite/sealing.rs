//! Sealed files: their layout, that they survive other tools, and that sealing loses nothing.

use stapsdt::blob::{self, Blob};
use stapsdt::elf::View;
use stapsdt::note::{Format, Note, NoteIter};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use usdt_e2e::{
    Fixture, Mode, Need, attach, command, copy, events_and_summary, have, list_probes, stdout,
    text, usdt_gen, write,
};

fn notes(view: &View<'_>) -> Vec<Note> {
    let section = view.section(".note.stapsdt").expect("a note section");
    let mut iter = NoteIter::new(view.section_data(section).unwrap(), Format::LE64);
    let mut out = Vec::new();
    while let Some(raw) = iter.next_note().unwrap() {
        assert!(raw.is_stapsdt());
        let note = raw.decode(Format::LE64).unwrap();
        assert_eq!(raw.desc.len(), note.desc_size(Format::LE64), "descsz is exact");
        out.push(note);
    }
    out
}

/// Checks the conformance rules of the file format on the file alone.
fn assert_conforms(path: &Path, what: &str) {
    let data = std::fs::read(path).unwrap();
    let view = View::parse(&data).unwrap();
    let index = |name: &str| {
        view.sections
            .iter()
            .position(|s| s.name == name)
            .unwrap_or_else(|| panic!("{what}: no section {name}"))
    };
    let first_text = view.sections.iter().position(|s| s.is_alloc() && s.is_executable()).unwrap();
    let (probes, note) = (index(".probes"), index(".note.stapsdt"));
    assert!(
        first_text < probes && probes < note,
        "{what}: header order {first_text} {probes} {note}"
    );
    let (note, base) = (&view.sections[note], &view.sections[index(".stapsdt.base")]);
    assert!(note.is_note() && note.flags == 0 && note.align == 4, "{what}: {note:?}");
    assert!(base.is_alloc() && !base.is_executable() && base.size == 1, "{what}: {base:?}");
    let notes = notes(&view);
    assert_eq!(notes.len(), 7, "{what}");
    for note in &notes {
        assert_eq!(note.base, base.addr, "{what}");
        let site = stapsdt::site::code(view.arch().unwrap());
        let text = view.load_segment(note.pc, site.len() as u64).unwrap();
        assert!(
            text.is_executable() && view.bytes_at(note.pc, site.len() as u64) == Some(site),
            "{what}: {note:?}"
        );
        assert_eq!(
            base.addr.wrapping_sub(base.offset),
            text.vaddr.wrapping_sub(text.offset),
            "{what}: .stapsdt.base has text's delta"
        );
        let data = view.load_segment(note.semaphore, 2).unwrap();
        assert!(data.is_writable() && !data.is_executable(), "{what}");
        let probes = &view.sections[probes];
        assert!(
            (probes.addr..probes.addr + probes.size).contains(&note.semaphore),
            "{what}: {note:?}"
        );
        assert_eq!(
            probes.addr.wrapping_sub(probes.offset),
            data.vaddr.wrapping_sub(data.offset),
            "{what}: .probes has its segment's delta"
        );
        assert!(stapsdt::argspec::parse(&note.args, view.arch().unwrap()).len() <= 12, "{what}");
    }
    assert_no_overlap(&view, what);
    let without_args = notes.iter().find(|n| n.name == "nothing").unwrap();
    assert!(
        ["8@%rdi", "8@x0"].contains(&without_args.args.as_str()),
        "{what}: {}",
        without_args.args
    );
}

fn assert_no_overlap(view: &View<'_>, what: &str) {
    let mut spans: Vec<(u64, u64, &str)> = view
        .sections
        .iter()
        // .tbss occupies no address range.
        .filter(|s| s.is_alloc() && s.size > 0 && s.name != ".tbss")
        .map(|s| (s.addr, s.addr + s.size, s.name.as_str()))
        .collect();
    spans.sort_unstable();
    for pair in spans.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "{what}: {} and {} overlap", pair[0].2, pair[1].2);
    }
}

/// binutils expects allocated sections in address order, so each added section must follow its
/// neighbor in memory.
fn assert_sections_in_address_order(path: &Path, what: &str) {
    let data = std::fs::read(path).unwrap();
    let view = View::parse(&data).unwrap();
    let alloc: Vec<_> = view.sections.iter().filter(|s| s.is_alloc() && s.kind != 8).collect();
    let probes = alloc.iter().position(|s| s.name == ".probes").unwrap();
    assert_eq!(
        alloc[probes - 1].addr + alloc[probes - 1].size,
        alloc[probes].addr,
        "{what}: carved out of the section before"
    );
    let base = alloc.iter().position(|s| s.name == ".stapsdt.base").unwrap();
    assert!(alloc[base].addr < alloc[base + 1].addr, "{what}");
}

/// Checks that every loaded byte is unchanged, except section headers, section indices of symbols,
/// and the goroutine id offsets of the stubs.
fn assert_loaded_bytes_unchanged(before: &[u8], after: &[u8], what: &str) {
    let (old, new) = (View::parse(before).unwrap(), View::parse(after).unwrap());
    let loads =
        |v: &View<'_>| v.segments.iter().filter(|s| s.is_load()).copied().collect::<Vec<_>>();
    for (a, b) in loads(&old).iter().zip(loads(&new)) {
        assert_eq!((a.vaddr, a.offset, a.flags), (b.vaddr, b.offset, b.flags), "{what}");
        assert!(b.filesz - a.filesz <= 1, "{what}: a segment grows by the base byte at most");
    }
    let goid_offset_fields: Vec<u64> =
        blobs(after).iter().map(|b| b.self_addr + blob::field::GOID_OFFSET as u64).collect();
    for section in
        old.sections.iter().filter(|s| s.is_alloc() && s.kind != 8 && s.name != ".dynsym")
    {
        let mut before = old.section_data(section).unwrap().to_vec();
        let after = new.bytes_at(section.addr, section.size).unwrap();
        for start in goid_offset_fields.iter().filter_map(|field| field.checked_sub(section.addr)) {
            let range = start as usize..start as usize + 4;
            if let (Some(old), Some(new)) = (before.get_mut(range.clone()), after.get(range)) {
                old.copy_from_slice(new);
            }
        }
        assert!(before == after, "{what}: {}", section.name);
    }
}

#[test]
fn every_build_mode_yields_conforming_notes() {
    for mode in Mode::SEALED {
        let path = Fixture::get("hits", mode);
        assert_conforms(&path, &format!("{mode:?}"));
        assert_sections_in_address_order(&path, &format!("{mode:?}"));
    }
}

#[test]
fn seal_command_writes_conforming_notes() {
    for mode in [Mode::Plain, Mode::PlainPie] {
        let app = copy(&Fixture::get("hits", mode));
        let plain = std::fs::read(&app.path).unwrap();
        std::fs::set_permissions(&app.path, std::fs::Permissions::from_mode(0o750)).unwrap();
        let out = usdt_gen(&["seal", app.as_str()]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        assert_eq!(text(&out.stderr), "");
        assert_conforms(&app.path, "seal");
        let sealed = std::fs::read(&app.path).unwrap();
        assert_loaded_bytes_unchanged(&plain, &sealed, &format!("{mode:?}"));
        assert_eq!(std::fs::metadata(&app.path).unwrap().permissions().mode() & 0o777, 0o750);
        // Sealing again, or into another file, yields the same bytes and the same mode.
        let other = app.folder.path().join("again");
        for args in
            [vec!["seal", app.as_str()], vec!["seal", app.as_str(), "-o", other.to_str().unwrap()]]
        {
            assert!(usdt_gen(&args).status.success());
        }
        assert!(
            std::fs::read(&app.path).unwrap() == sealed && std::fs::read(&other).unwrap() == sealed
        );
        assert_eq!(std::fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o750);
        assert!(stdout(command("go").args(["version", app.as_str()])).contains("go1."));
    }
}

#[test]
fn no_goid_omits_the_goroutine_id_reversibly() {
    let app = copy(&Fixture::get("hits", Mode::Plain));
    let arg_count = |path: &Path| -> usize {
        list_probes(path)
            .iter()
            .map(|p| p["args"].as_str().unwrap().split_whitespace().count())
            .sum()
    };
    let original = std::fs::read(&app.path).unwrap();
    assert!(usdt_gen(&["seal", "--no-goid", app.as_str()]).status.success());
    let without_goid = arg_count(&app.path);
    assert_eq!(goid_offsets(&app.path), [0; 7]);
    assert!(usdt_gen(&["seal", app.as_str()]).status.success());
    assert_eq!(
        arg_count(&app.path),
        without_goid + 6,
        "twelve arguments leave no room for a goroutine id"
    );
    let offset = gobinary::GoBinary::parse(&original).unwrap().goid_offset_from_dwarf().unwrap();
    let written = goid_offsets(&app.path);
    assert_eq!(written.iter().filter(|written| **written == offset).count(), 6, "{written:?}");
    // Sealing again with `--no-goid` removes the ids again.
    assert!(usdt_gen(&["seal", "--no-goid", app.as_str()]).status.success());
    assert_eq!((arg_count(&app.path), goid_offsets(&app.path)), (without_goid, vec![0; 7]));
    assert!(usdt_gen(&["seal", app.as_str()]).status.success());
    assert_conforms(&app.path, "sealed again");
}

/// Obfuscators remove the version of Go.
#[test]
fn says_that_notes_have_no_goroutine_id() {
    let app = copy(&Fixture::get("hits", Mode::PlainStripped));
    let mut content = std::fs::read(&app.path).unwrap();
    let version = stdout(command("go").args(["env", "GOVERSION"]));
    let version = version.trim().as_bytes();
    let mut at = 0;
    while let Some(found) = content[at..].windows(version.len()).position(|w| w == version) {
        at += found;
        content[at..at + version.len()].fill(b'x');
    }
    let anonymous = write(app.folder.path(), "anonymous", content);
    let out = usdt_gen(&["seal", &anonymous]);
    assert_eq!(out.status.code(), Some(0));
    let errors = text(&out.stderr);
    assert!(errors.contains("anonymous: the notes have no goroutine id"), "{errors}");
    let out = usdt_gen(&["seal", "--no-goid", &anonymous]);
    assert_eq!(text(&out.stderr), "");
}

/// Returns the goroutine id offset of each stub: what it adds to the address of the goroutine.
fn goid_offsets(path: &Path) -> Vec<u32> {
    blobs(&std::fs::read(path).unwrap()).iter().map(|blob| blob.goid_offset).collect()
}

fn blobs(data: &[u8]) -> Vec<Blob<'_>> {
    blob::scan(&View::parse(data).unwrap()).into_iter().map(Result::unwrap).collect()
}

#[test]
fn notes_survive_strip_tools() {
    let strippers: [(&str, &[&str]); 7] = [
        ("strip", &[]),
        ("strip", &["-g"]),
        ("strip", &["--strip-unneeded"]),
        ("eu-strip", &[]),
        ("objcopy", &[]),
        ("objcopy", &["--strip-debug"]),
        ("objcopy", &["--strip-all"]),
    ];
    for (tool, args) in strippers {
        if !have(&[Need::Program(tool)]) {
            continue;
        }
        for mode in Mode::SEALED {
            let app = copy(&Fixture::get("hits", mode));
            let before = list_probes(&app.path);
            let out = command(tool).args(args).arg(&app.path).output().unwrap();
            assert!(out.status.success(), "{tool} {mode:?}: {}", text(&out.stderr));
            assert_eq!(text(&out.stderr), "", "{tool} {mode:?} prints warnings");
            assert_eq!(list_probes(&app.path), before, "{tool} {mode:?}");
            assert_conforms(&app.path, &format!("{tool} {args:?} {mode:?}"));
            // The program still runs, and the kernel increments the semaphores that its gates read.
            if [Mode::Sealed, Mode::ExternalPie].contains(&mode) && have(&[Need::Bpf]) {
                let out = attach(&["trace", "--json", "*:*", "--", app.as_str(), "-types"]);
                let (events, summary) = events_and_summary(&text(&out.stdout));
                assert_eq!(
                    (events.len(), &summary["hits"]),
                    (8, &8.into()),
                    "{tool} {args:?} {mode:?}"
                );
            }
        }
    }
}

#[test]
fn seals_a_stripped_binary() {
    let app = copy(&Fixture::get("hits", Mode::Plain));
    assert!(command("strip").arg(&app.path).status().unwrap().success());
    assert_eq!(list_probes(&app.path).len(), 7);
    assert!(list_probes(&app.path).iter().all(|p| p["source"] == "blob"));
    assert!(usdt_gen(&["seal", app.as_str()]).status.success());
    assert_conforms(&app.path, "stripped, then sealed");
}

#[test]
fn seals_shared_libraries() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("lib.so");
    stdout(
        command("go")
            .args(["build", "-buildmode=c-shared", "-toolexec=usdt-gen toolexec", "-o"])
            .arg(&library)
            .arg("./shared")
            .current_dir(usdt_e2e::root().join("tests/go")),
    );
    let probes = list_probes(&library);
    assert_eq!(probes.len(), 1, "{probes:?}");
    assert_eq!((&probes[0]["probe"], &probes[0]["source"]), (&"hit".into(), &"note".into()));
}

#[test]
fn wrapper_builds_for_other_platforms() {
    let folder = tempfile::tempdir().unwrap();
    for (os, file) in [("darwin", "app"), ("windows", "app.exe"), ("linux", "arm64")] {
        let out = folder.path().join(file);
        let mut build = command("go");
        build.env("GOOS", os).env("GOARCH", "arm64").args([
            "build",
            "-toolexec=usdt-gen toolexec",
            "-o",
        ]);
        stdout(build.arg(&out).arg("./hits").current_dir(usdt_e2e::root().join("tests/go")));
        assert!(std::fs::metadata(&out).unwrap().len() > 0);
    }
    let arm = list_probes(&folder.path().join("arm64"));
    assert_eq!(arm.len(), 7);
    let hit = arm.iter().find(|p| p["probe"] == "hit" && p["provider"] == "e2e").unwrap();
    let args = hit["args"].as_str().unwrap();
    assert_eq!(args, "8@x0 8@x1 8@x2 8@x3 8@x4");
    assert_eq!(hit["source"], "note");
}

#[test]
fn failed_write_keeps_the_old_file() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let plain = Fixture::get("hits", Mode::Plain);
    // The file system has room for the file, but not for a second copy.
    let size = std::fs::metadata(&plain).unwrap().len();
    let mount = Mount::tmpfs(folder.path(), &(size + size / 2).to_string());
    let app = folder.path().join("app");
    std::fs::copy(plain, &app).unwrap();
    let before = std::fs::read(&app).unwrap();
    let out = usdt_gen(&["seal", app.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("No space left on device"), "{}", text(&out.stderr));
    assert!(std::fs::read(&app).unwrap() == before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file remains");
    mount.read_only();
    let out = usdt_gen(&["seal", app.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(3));
    assert!(text(&out.stderr).contains("Read-only file system"), "{}", text(&out.stderr));
    assert!(std::fs::read(&app).unwrap() == before);
}

/// A tmpfs that is unmounted when the test ends.
pub(crate) struct Mount {
    pub(crate) path: std::path::PathBuf,
}

impl Mount {
    pub(crate) fn tmpfs(path: &Path, size: &str) -> Mount {
        let options = format!("size={size}");
        stdout(command("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path));
        Mount { path: path.to_owned() }
    }

    pub(crate) fn read_only(&self) {
        stdout(command("mount").args(["-o", "remount,ro"]).arg(&self.path));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = command("umount").arg(&self.path).status();
    }
}

/// The version table matches the DWARF of the toolchain; a release that changes the offset fails
/// here.
#[test]
fn goroutine_id_table_matches_dwarf() {
    let data = std::fs::read(Fixture::get("hits", Mode::Plain)).unwrap();
    let go = gobinary::GoBinary::parse(&data).unwrap();
    assert!(go.has_dwarf());
    let version = go.version().unwrap();
    assert_eq!(go.goid_offset_from_dwarf(), go.goid_offset(), "{version}");
}
