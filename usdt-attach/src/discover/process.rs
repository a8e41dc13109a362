//! Processes as `/proc` shows them: the files they map executable, and whether they still run.

use super::object::Object;
use super::process_state;
use crate::error::{Error, Result};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Calls `visit` with every file that a process maps executable, its executable first, each once.
///
/// Files other than the executable are left out if they are in `seen`, to which those that can be
/// opened are added, by device and inode as `/proc/PID/maps` shows them. Only the file that is
/// visited is open, as a process can map more files than there are descriptors.
pub(super) fn for_each_object(
    pid: u32,
    seen: &mut HashSet<(String, u64)>,
    visit: &mut dyn FnMut(Result<Object>),
) -> Result<()> {
    let mappings = file_mappings(pid)?;
    let mut visited = HashSet::new();
    match std::fs::read_link(format!("/proc/{pid}/exe")) {
        Ok(name) => {
            let exe = Object::open(Path::new(&format!("/proc/{pid}/exe")), &without_deleted(&name));
            if let Ok(object) = &exe {
                visited.insert(object.id);
            }
            visit(exe);
        }
        // With CAP_PERFMON alone, current kernels show the mappings but not the mapped files.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(process_state::access_denied(pid));
        }
        Err(_) => {}
    }
    for mapping in &mappings {
        let key = (mapping.device.clone(), mapping.inode);
        if seen.contains(&key) {
            continue;
        }
        match try_open(pid, mapping) {
            Ok(object) => {
                seen.insert(key);
                if visited.insert(object.id) {
                    visit(Ok(object));
                }
            }
            Err(error) if error.is_resource_limit() => visit(Err(error)),
            Err(_) => {}
        }
    }
    Ok(())
}

/// A file that a process maps executable, before it is opened.
#[derive(Clone, Debug)]
pub(super) struct FileMapping {
    /// The address range as `/proc/PID/map_files` names it.
    range: String,
    /// The device as `/proc/PID/maps` shows it, which is not `st_dev` on some file systems.
    pub(super) device: String,
    pub(super) inode: u64,
    /// The path of the file in the mount namespace of the process; the file may have been deleted
    /// since.
    name: PathBuf,
}

/// Returns the files that a process maps executable, each once.
pub(super) fn file_mappings(pid: u32) -> Result<Vec<FileMapping>> {
    std::fs::read(format!("/proc/{pid}/maps"))
        .map(|maps| parse_maps(&maps))
        .map_err(|e| process_error(pid, &e))
}

fn parse_maps(maps: &[u8]) -> Vec<FileMapping> {
    let mut seen = HashSet::new();
    let mappings = maps.split(|b| *b == b'\n').filter_map(MapsLine::parse);
    mappings.filter(|m| seen.insert((m.device, m.inode))).map(|m| m.mapping()).collect()
}

/// Converts an address range from the form of `maps`, which pads addresses with zeros, to that of
/// `map_files`, which does not.
fn unpadded_range(range: &str) -> String {
    let (start, end) = range.split_once('-').unwrap_or((range, ""));
    format!("{}-{}", unpadded_address(start), unpadded_address(end))
}

fn unpadded_address(address: &str) -> &str {
    match address.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    }
}

/// Opens a mapped file; `None` if it cannot be opened or is not an ELF file.
///
/// `map_files` also reaches deleted files, but needs `CAP_CHECKPOINT_RESTORE`. Without it, the file
/// is opened as the executable of the process, or by its path below the root of the process. The
/// inode shows whether that is still the same file.
pub(super) fn open(pid: u32, mapping: &FileMapping) -> Option<Object> {
    try_open(pid, mapping).ok()
}

fn try_open(pid: u32, mapping: &FileMapping) -> Result<Object> {
    let name = &mapping.name;
    let by_mapping = format!("/proc/{pid}/map_files/{}", mapping.range);
    let exe = format!("/proc/{pid}/exe");
    let in_root =
        PathBuf::from(format!("/proc/{pid}/root")).join(name.strip_prefix("/").unwrap_or(name));
    Object::open(Path::new(&by_mapping), name).or_else(|error| {
        let others = [Path::new(&exe), &in_root];
        let mut open = others.iter().filter_map(|path| Object::open(path, name).ok());
        open.find(|object| object.id.ino == mapping.inode).ok_or(error)
    })
}

fn without_deleted(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    PathBuf::from(OsStr::from_bytes(bytes.strip_suffix(b" (deleted)").unwrap_or(bytes)))
}

fn process_error(pid: u32, error: &io::Error) -> Error {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => process_state::access_denied(pid),
        Some(libc::ENOENT | libc::ESRCH) | None => process_state::no_process(pid),
        Some(code) => {
            Error::io(format!("cannot read /proc/{pid}/maps"), io::Error::from_raw_os_error(code))
        }
    }
}

/// An address range at which a process maps a file executable.
#[derive(Clone, Debug)]
pub(crate) struct MappedRange {
    /// The first address.
    pub(crate) start: u64,
    /// The address after the last one.
    pub(crate) end: u64,
    /// The file offset of the first address.
    pub(crate) offset: u64,
    mapping: FileMapping,
}

impl MappedRange {
    /// Returns the device as `/proc/PID/maps` shows it, and the inode: a key for the file within
    /// the process.
    pub(crate) fn file(&self) -> (&str, u64) {
        (&self.mapping.device, self.mapping.inode)
    }

    /// Returns the path of the file in the mount namespace of the process.
    pub(crate) fn name(&self) -> &Path {
        &self.mapping.name
    }

    /// Opens the file; `None` if it cannot be opened or is not an ELF file.
    pub(crate) fn open(&self, pid: u32) -> Option<Object> {
        open(pid, &self.mapping)
    }
}

/// Returns all ranges at which a process maps files executable, in ascending order.
pub(crate) fn mapped_ranges(pid: u32) -> Result<Vec<MappedRange>> {
    let maps = std::fs::read(format!("/proc/{pid}/maps")).map_err(|e| process_error(pid, &e))?;
    let lines = maps.split(|b| *b == b'\n').filter_map(MapsLine::parse);
    Ok(lines.filter_map(|line| line.mapped_range()).collect())
}

/// A line of `/proc/PID/maps` (proc_pid_maps(5)) that maps a file executable.
struct MapsLine<'a> {
    range: &'a str,
    offset: &'a str,
    device: &'a str,
    inode: u64,
    path: &'a [u8],
}

impl<'a> MapsLine<'a> {
    /// Parses a line; `None` if it does not map a file executable.
    fn parse(line: &'a [u8]) -> Option<MapsLine<'a>> {
        let mut fields = line.splitn(6, |b| *b == b' ');
        let mut next_field = || std::str::from_utf8(fields.next()?).ok();
        let (range, permissions) = (next_field()?, next_field()?);
        let (offset, device) = (next_field()?, next_field()?);
        let inode = next_field()?.parse().ok()?;
        let path = fields.next()?.trim_ascii_start();
        (permissions.as_bytes().get(2) == Some(&b'x') && inode != 0 && path.starts_with(b"/"))
            .then_some(MapsLine { range, offset, device, inode, path })
    }

    fn mapped_range(&self) -> Option<MappedRange> {
        let hex = |digits: &str| u64::from_str_radix(digits, 16).ok();
        let (start, end) = self.range.split_once('-')?;
        let (start, end, offset) = (hex(start)?, hex(end)?, hex(self.offset)?);
        Some(MappedRange { start, end, offset, mapping: self.mapping() })
    }

    fn mapping(&self) -> FileMapping {
        FileMapping {
            range: unpadded_range(self.range),
            device: self.device.to_owned(),
            inode: self.inode,
            name: without_deleted(Path::new(OsStr::from_bytes(self.path))),
        }
    }
}

/// Returns true if the process exists and is not a zombie.
pub fn is_process_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read(format!("/proc/{pid}/stat")) else { return false };
    // The state follows the command name, which is in parentheses and may itself contain any
    // character.
    let state = stat.iter().rposition(|b| *b == b')').and_then(|at| stat.get(at + 2).copied());
    !matches!(state, Some(b'Z' | b'X') | None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_lines_that_map_files_executable() {
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
    fn removes_the_padding_of_addresses() {
        assert_eq!(unpadded_range("00400000-0048a000"), "400000-48a000");
        assert_eq!(unpadded_range("7f0012345000-7f0012346000"), "7f0012345000-7f0012346000");
        assert_eq!(unpadded_range("00000000-00001000"), "0-1000");
    }

    #[test]
    fn finds_the_executable_of_this_process_first() {
        let mut own = Vec::new();
        let visit = &mut |object| own.push(object);
        for_each_object(std::process::id(), &mut HashSet::new(), visit).unwrap();
        let exe = own.first().unwrap().as_ref().unwrap();
        assert_eq!(exe.path, std::env::current_exe().unwrap());
        assert!(is_process_alive(std::process::id()));
        assert!(own.len() > 1, "the C library is mapped, too");
    }

    #[test]
    fn names_a_missing_process() {
        let error = file_mappings(u32::MAX - 1).unwrap_err();
        assert_eq!(error.to_string(), "no process 4294967294; it may have ended");
    }
}
