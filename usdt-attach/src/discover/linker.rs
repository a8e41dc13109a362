//! Dynamic linkers: where they tell debuggers that they map libraries.

use super::mounts::Mounts;
use super::object::Object;
use super::process::{self, Opened};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Functions that a linker calls before and after it maps libraries: those of glibc and musl, and of
/// Bionic.
const FUNCTIONS: [&str; 2] = ["_dl_debug_state", "rtld_db_dlactivity"];
/// `PT_INTERP` (gABI, "Program Header").
const INTERPRETER: u32 = 3;
/// `PATH_MAX`.
const MAX_PATH: u64 = 4096;

/// A dynamic linker.
#[derive(Debug)]
pub(crate) struct Linker {
    pub(crate) object: Object,
    /// The file offset of the function that it calls.
    pub(crate) offset: u64,
}

impl Linker {
    /// Returns the linker that an executable names; `None` if it has none, or one that is not known.
    pub(crate) fn of_executable(path: &Path) -> Option<Linker> {
        if let Some(interpreter) = script_interpreter(path) {
            return Linker::of_elf_file(&interpreter);
        }
        Linker::of_elf_file(path)
    }

    fn of_elf_file(path: &Path) -> Option<Linker> {
        let executable = Object::open(path, path).ok()?;
        let bytes = executable.bytes();
        let view = executable.view(&bytes).ok()?;
        let segment = view.segments.iter().find(|segment| segment.kind == INTERPRETER)?;
        let name = view.bytes_at_offset(segment.offset, segment.filesz.min(MAX_PATH))?;
        let name = Path::new(OsStr::from_bytes(name.strip_suffix(b"\0").unwrap_or(name)));
        Linker::new(Object::open(name, name).ok()?)
    }

    /// Returns the linker that a process maps; `None` if there is none, or one for which `is_new`
    /// returns false. It gets the device and the inode as `/proc/PID/maps` shows them.
    pub(crate) fn of_process(
        pid: u32,
        mounts: &Mounts,
        mut is_new: impl FnMut(&str, u64) -> bool,
    ) -> Option<Linker> {
        let mappings = process::file_mappings(pid).ok()?.files;
        let mut linkers = mappings.iter().filter(|mapping| is_linker_name(mapping.path()));
        linkers.find_map(|mapping| {
            if !is_new(&mapping.device, mapping.inode) {
                return None;
            }
            match process::open(pid, mapping, mounts) {
                Opened::Object(object) => Linker::new(object.ok()?),
                Opened::Skipped(_) | Opened::Nothing => None,
            }
        })
    }

    /// Reads a file as a linker.
    #[cfg(fuzzing)]
    pub(super) fn of_file(path: &Path) -> Option<Linker> {
        Linker::new(Object::open(path, path).ok()?)
    }

    fn new(object: Object) -> Option<Linker> {
        let bytes = object.bytes();
        let view = object.view(&bytes).ok()?;
        let symbols = view.symbols(FUNCTIONS);
        let address = FUNCTIONS.iter().find_map(|name| symbols.get(name))?;
        let offset = view.vaddr_to_offset(*address)?;
        Some(Linker { offset, object })
    }
}

/// Returns the program that runs a script, by its first line; `None` if the file is no script.
pub(crate) fn script_interpreter(path: &Path) -> Option<PathBuf> {
    let mut line = Vec::new();
    File::open(path).ok()?.take(MAX_PATH).read_to_end(&mut line).ok()?;
    let line = line.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?.trim_ascii();
    let name = line.split(|b| b" \t".contains(b)).next()?;
    (!name.is_empty()).then(|| Path::new(OsStr::from_bytes(name)).to_owned())
}

/// Returns true for names like `ld-linux-x86-64.so.2`, `ld-musl-x86_64.so.1` and `linker64`. The
/// linker of musl is its C library, which some distributions call `libc.so`.
fn is_linker_name(path: &Path) -> bool {
    let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
    let starts = [&b"ld-"[..], b"ld.so", b"ld64.so", b"linker"];
    name == b"libc.so" || starts.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_linkers_by_name() {
        let is_linker = |name: &str| is_linker_name(Path::new(name));
        for name in ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1", "/usr/lib/libc.so"]
        {
            assert!(is_linker(name), "{name}");
        }
        for name in ["/lib/libc.so.6", "/usr/bin/app", "/", "/usr/lib/libld-2.so"] {
            assert!(!is_linker(name), "{name}");
        }
    }

    #[test]
    fn reads_the_first_line_of_scripts() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        let of = |content: &str| {
            std::fs::write(&script, content).unwrap();
            script_interpreter(&script)
        };
        assert_eq!(of("#! /bin/sh -e\n"), Some("/bin/sh".into()));
        assert_eq!(of("#!/usr/bin/env\tpython"), Some("/usr/bin/env".into()));
        assert_eq!((of("#!\n/bin/sh"), of("# x"), of("")), (None, None, None));
        assert_eq!(script_interpreter(folder.path()), None);
    }

    #[test]
    fn finds_the_linker_of_this_process() {
        let own = std::env::current_exe().unwrap();
        let Some(linker) = Linker::of_executable(&own) else {
            panic!("this program names no linker that is known")
        };
        let mut keys = Vec::new();
        let mut find = || {
            Linker::of_process(std::process::id(), &Mounts::new(), |device, inode| {
                let key = (device.to_owned(), inode);
                let is_new = !keys.contains(&key);
                keys.push(key);
                is_new
            })
        };
        let mapped = find().unwrap();
        assert_eq!((mapped.object.id, mapped.offset), (linker.object.id, linker.offset));
        assert!(find().is_none(), "it is not new");
    }
}
