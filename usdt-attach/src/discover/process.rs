//! What `/proc` says: which files a process maps, whether it is there.

use super::object::Object;
use crate::error::{Error, Result};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Every file that the process maps executable, the executable first, each once.
pub fn objects(pid: u32) -> Result<Vec<Result<Object>>> {
    let mappings = file_mappings(pid)?;
    let mut out = Vec::new();
    let mut seen = HashSet::new();
    match std::fs::read_link(format!("/proc/{pid}/exe")) {
        Ok(name) => {
            let exe = Object::open(Path::new(&format!("/proc/{pid}/exe")), &without_deleted(&name));
            if let Ok(object) = &exe {
                seen.insert(object.id);
            }
            out.push(exe);
        }
        // CAP_PERFMON alone opens the maps on current kernels, but no file behind them.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(Error::process_access_denied(pid));
        }
        Err(_) => {}
    }
    for mapping in &mappings {
        let Some(object) = open(pid, mapping) else { continue };
        if seen.insert(object.id) {
            out.push(Ok(object));
        }
    }
    Ok(out)
}

/// Where a process maps a file executable.
#[derive(Clone, Debug)]
pub(super) struct FileMapping {
    range: String,
    /// Device as maps have it. On some file systems it is not `st_dev`.
    pub(super) device: String,
    pub(super) inode: u64,
    /// The file's name in the process's mount namespace, when it had one.
    name: PathBuf,
}

/// Where a process maps files executable, each file once.
pub(super) fn file_mappings(pid: u32) -> Result<Vec<FileMapping>> {
    std::fs::read(format!("/proc/{pid}/maps"))
        .map(|maps| parse(&maps))
        .map_err(|e| process_error(pid, &e))
}

fn parse(maps: &[u8]) -> Vec<FileMapping> {
    let mut seen = HashSet::new();
    let mappings = maps.split(|b| *b == b'\n').filter_map(MapsLine::parse);
    mappings.filter(|m| seen.insert((m.device, m.inode))).map(|m| m.mapping()).collect()
}

/// A range as `map_files` names it: `maps` pads addresses to eight digits, that does not.
fn unpadded(range: &str) -> String {
    let short = |address: &str| match address.trim_start_matches('0') {
        "" => "0".to_owned(),
        rest => rest.to_owned(),
    };
    let (start, end) = range.split_once('-').unwrap_or((range, ""));
    format!("{}-{}", short(start), short(end))
}

/// Through the mapping itself, which also reaches deleted files; without the privilege for that
/// (CAP_CHECKPOINT_RESTORE), as the executable or through the process's root, where that is still the same file.
pub(super) fn open(pid: u32, mapping: &FileMapping) -> Option<Object> {
    let name = &mapping.name;
    let by_mapping = format!("/proc/{pid}/map_files/{}", mapping.range);
    let exe = format!("/proc/{pid}/exe");
    let in_root =
        PathBuf::from(format!("/proc/{pid}/root")).join(name.strip_prefix("/").unwrap_or(name));
    // What is no ELF file (locale archives, fonts) is mapped, too, and of no interest.
    let by_mapping = Object::open(Path::new(&by_mapping), name).ok();
    by_mapping.or_else(|| {
        let others = [Path::new(&exe), &in_root];
        let mut open = others.iter().filter_map(|path| Object::open(path, name).ok());
        open.find(|object| object.id.ino == mapping.inode)
    })
}

fn without_deleted(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    PathBuf::from(OsStr::from_bytes(bytes.strip_suffix(b" (deleted)").unwrap_or(bytes)))
}

fn process_error(pid: u32, error: &io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => Error::process_access_denied(pid),
        _ => Error::no_process(pid),
    }
}

/// A file mapped executable, and where.
#[derive(Clone, Debug)]
pub(crate) struct MappedRange {
    /// First address.
    pub(crate) start: u64,
    /// Behind the last one.
    pub(crate) end: u64,
    /// File offset of the first one.
    pub(crate) offset: u64,
    mapping: FileMapping,
}

impl MappedRange {
    /// Device as maps have it, and inode.
    pub(crate) fn file(&self) -> (&str, u64) {
        (&self.mapping.device, self.mapping.inode)
    }

    /// The file's name, where the process sees it.
    pub(crate) fn name(&self) -> &Path {
        &self.mapping.name
    }

    /// The file itself.
    pub(crate) fn open(&self, pid: u32) -> Option<Object> {
        open(pid, &self.mapping)
    }
}

/// Everything that a process maps executable from files, by address.
pub(crate) fn mapped_ranges(pid: u32) -> Result<Vec<MappedRange>> {
    let maps = std::fs::read(format!("/proc/{pid}/maps")).map_err(|e| process_error(pid, &e))?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let one = |line| {
        let mapping = MapsLine::parse(line)?;
        let (start, end) = mapping.range.split_once('-')?;
        let (start, end, offset) = (number(start)?, number(end)?, number(mapping.offset)?);
        Some(MappedRange { start, end, offset, mapping: mapping.mapping() })
    };
    Ok(maps.split(|b| *b == b'\n').filter_map(one).collect())
}

/// A line of `/proc/PID/maps` (proc(5)) that maps a file executable.
struct MapsLine<'a> {
    range: &'a str,
    offset: &'a str,
    device: &'a str,
    inode: u64,
    path: &'a [u8],
}

impl<'a> MapsLine<'a> {
    fn parse(line: &'a [u8]) -> Option<MapsLine<'a>> {
        let mut fields = line.splitn(6, |b| *b == b' ');
        let mut text = || std::str::from_utf8(fields.next()?).ok();
        let (range, permissions, offset, device) = (text()?, text()?, text()?, text()?);
        let inode = text()?.parse().ok()?;
        let path = fields.next()?.trim_ascii_start();
        (permissions.as_bytes().get(2) == Some(&b'x') && inode != 0 && path.starts_with(b"/"))
            .then_some(MapsLine { range, offset, device, inode, path })
    }

    fn mapping(&self) -> FileMapping {
        FileMapping {
            range: unpadded(self.range),
            device: self.device.to_owned(),
            inode: self.inode,
            name: without_deleted(Path::new(OsStr::from_bytes(self.path))),
        }
    }
}

/// Whether the process exists and is no zombie.
pub fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read(format!("/proc/{pid}/stat")) else { return false };
    // The state follows the command, which may hold anything, in parentheses.
    let state = stat.iter().rposition(|b| *b == b')').and_then(|at| stat.get(at + 2).copied());
    !matches!(state, Some(b'Z' | b'X') | None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_lines() {
        let line = b"00400000-0048a000 r-xp 00001000 fe:00 1234      /opt/my app (deleted)";
        let mapping = MapsLine::parse(line).unwrap();
        assert_eq!(
            (mapping.range, mapping.device, mapping.inode),
            ("00400000-0048a000", "fe:00", 1234)
        );
        assert_eq!(
            without_deleted(Path::new(OsStr::from_bytes(mapping.path))),
            Path::new("/opt/my app")
        );
        for other in [
            &b"7f00-7f01 rw-p 00000000 fe:00 12 /lib/x.so"[..],
            b"7ffd-7ffe r-xp 00000000 00:00 0 [vdso]",
            b"7f00-7f01 r-xp 00000000 00:00 0 ",
            b"",
            b"nonsense",
        ] {
            assert!(MapsLine::parse(other).is_none());
        }
    }

    #[test]
    fn ranges_as_map_files_has_them() {
        assert_eq!(unpadded("00400000-0048a000"), "400000-48a000");
        assert_eq!(unpadded("7f0012345000-7f0012346000"), "7f0012345000-7f0012346000");
        assert_eq!(unpadded("00000000-00001000"), "0-1000");
    }

    #[test]
    fn this_process_maps_its_file_first() {
        let own = objects(std::process::id()).unwrap();
        let exe = own.first().unwrap().as_ref().unwrap();
        assert_eq!(exe.path, std::env::current_exe().unwrap());
        assert!(is_alive(std::process::id()));
        assert!(own.len() > 1, "the C library is mapped, too");
    }

    #[test]
    fn a_missing_process_is_named() {
        let error = objects(u32::MAX - 1).unwrap_err();
        assert_eq!(error.to_string(), "no process 4294967294; it may have ended");
    }
}
