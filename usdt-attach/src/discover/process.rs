//! Processes as `/proc` shows them: the files they map executable, and whether they still run.

use super::ObjectId;
use super::kernel_inode::mapped_ids;
use super::mounts::{Mounts, ProcessTables, Unanswering, parse_device};
use super::object::Object;
use super::process_state;
use crate::error::{Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use stapsdt::escape::Escaped;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What a process maps executable.
pub(super) enum Visited {
    /// A file, or why an ELF file cannot be read.
    Object { object: Result<Object>, is_executable: bool },
    /// Why a file is not read.
    Skipped(String),
}

/// Calls `visit` with every file that a process maps executable, its executable first, each once.
///
/// Files that are in `seen` are left out; those that can be opened are added to it, by device and
/// inode as `/proc/PID/maps` shows them. Only the file that is visited is open, as a process can map
/// more files than there are descriptors.
///
/// An executable that execve(2) has not mapped yet is visited as well.
pub(super) fn for_each_object(
    pid: u32,
    mounts: &Mounts,
    seen: &mut HashSet<(String, u64)>,
    visit: &mut dyn FnMut(Visited),
) -> Result<()> {
    let mut mappings = file_mappings(pid)?;
    let (mut executable, mut unmapped_exe) = (None, None);
    match std::fs::read_link(format!("/proc/{pid}/exe")) {
        Ok(name) => {
            let name = without_deleted(&name);
            if let Some(at) = mappings.files.iter().position(|m| m.name == name) {
                mappings.files.get_mut(..=at).unwrap_or_default().rotate_right(1);
                executable = Some(0);
            } else {
                unmapped_exe = Some(name);
            }
        }
        // With CAP_PERFMON alone, current kernels show the mappings but not the mapped files.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(process_state::access_denied(pid));
        }
        Err(_) => {}
    }
    if let Some(warning) = mappings.incomplete(pid) {
        visit(Visited::Skipped(warning));
    }
    let mut visited = HashSet::new();
    let mut mapped = MappedIds::of(pid);
    // Returns true if the file could be opened.
    let mut add = |opened: Opened, name: &Path, start, is_executable| match opened {
        Opened::Object(Ok(object)) => {
            if let Some(warning) = mapped.replaced(&object, start) {
                visit(Visited::Skipped(warning));
            }
            if visited.insert(object.id) {
                visit(Visited::Object { object: Ok(object), is_executable });
            }
            true
        }
        Opened::Object(error) => {
            visit(Visited::Object { object: error, is_executable });
            false
        }
        Opened::Skipped(reason) => {
            visit(Visited::Skipped(reason.message(name)));
            false
        }
        Opened::Nothing => false,
    };
    if let Some(name) = unmapped_exe {
        add(open_exe(pid, &name, mounts), &name, None, true);
    }
    for (index, mapping) in mappings.files.iter().enumerate() {
        let is_executable = executable == Some(index);
        let key = (mapping.device.clone(), mapping.inode);
        if seen.contains(&key) && !is_executable {
            continue;
        }
        let start = Some(mapping.start());
        if add(open(pid, mapping, mounts), &mapping.name, start, is_executable) {
            seen.insert(key);
        }
    }
    Ok(())
}

/// The files that a process maps as the kernel identifies them, which are asked for once.
pub(super) struct MappedIds {
    pid: u32,
    ids: Option<Vec<(u64, ObjectId)>>,
}

impl MappedIds {
    pub(super) fn of(pid: u32) -> MappedIds {
        MappedIds { pid, ids: None }
    }

    /// Returns a warning if the process maps another file at this address than the one that was
    /// opened: overlayfs copies a file when it is changed, and the process keeps the old one.
    pub(super) fn replaced(&mut self, object: &Object, start: Option<u64>) -> Option<String> {
        let start = start.filter(|_| object.is_on_overlay())?;
        let pid = self.pid;
        let ids = self.ids.get_or_insert_with(|| mapped_ids(pid).unwrap_or_default());
        let index = ids.binary_search_by_key(&start, |(start, _)| *start).ok()?;
        let (_, id) = ids.get(index)?;
        (*id != object.id).then(|| {
            format!(
                "process {pid} runs {} as it was before overlayfs copied it, because the file was changed; hits of this process may be missed: restart it",
                Escaped::new(&object.path)
            )
        })
    }
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

impl FileMapping {
    /// Returns the first address of the mapping.
    pub(super) fn start(&self) -> u64 {
        let start = self.range.split_once('-').map_or("", |(start, _)| start);
        u64::from_str_radix(start, 16).unwrap_or_default()
    }

    /// Returns the path of the file in the mount namespace of the process.
    pub(super) fn path(&self) -> &Path {
        &self.name
    }

    /// Returns the length of the path in bytes.
    pub(super) fn path_len(&self) -> usize {
        self.name.as_os_str().len()
    }
}

/// The files that a process maps executable, before they are opened.
#[derive(Default)]
pub(super) struct FileMappings {
    /// Each file once, in the order of addresses.
    pub(super) files: Vec<FileMapping>,
    /// True if the process maps more files than are listed.
    is_incomplete: bool,
}

impl FileMappings {
    /// Returns a warning if there are more files.
    pub(super) fn incomplete(&self, pid: u32) -> Option<String> {
        self.is_incomplete.then(|| {
            format!("process {pid} maps more than {MAX_FILES} files executable; skipped the others")
        })
    }
}

/// The number of files of a process that are listed. Programs map some hundred; with mappings of
/// 64 KiB of files with long names, a process could exhaust memory.
const MAX_FILES: usize = 4096;
/// The number of executable ranges of a process that are listed.
const MAX_RANGES: usize = 1 << 14;

/// Returns the files that a process maps executable, each once.
pub(super) fn file_mappings(pid: u32) -> Result<FileMappings> {
    let mut out = FileMappings::default();
    let mut seen = HashSet::new();
    for_each_mapping(pid, |line| {
        if !seen.insert((line.device.to_owned(), line.inode)) {
            return ControlFlow::Continue(());
        }
        if out.files.len() == MAX_FILES {
            out.is_incomplete = true;
            return ControlFlow::Break(());
        }
        out.files.push(line.mapping());
        ControlFlow::Continue(())
    })?;
    Ok(out)
}

/// Calls `visit` with the lines of `/proc/PID/maps` that map files executable, until it breaks.
fn for_each_mapping(
    pid: u32,
    mut visit: impl FnMut(&MapsLine<'_>) -> ControlFlow<()>,
) -> Result<()> {
    for_each_line(pid, |line| match MapsLine::parse(line) {
        Some(line) => visit(&line),
        None => ControlFlow::Continue(()),
    })
}

/// Calls `visit` with the lines of `/proc/PID/maps` until it breaks.
pub(super) fn for_each_line(
    pid: u32,
    mut visit: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<()> {
    let failed = |e: io::Error| process_error(pid, &e);
    let maps = File::open(format!("/proc/{pid}/maps")).map_err(failed)?;
    let mut maps = BufReader::new(maps);
    let mut line = Vec::new();
    loop {
        line.clear();
        if maps.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            return Ok(());
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        if visit(line).is_break() {
            return Ok(());
        }
    }
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

/// The result of opening a mapped file.
pub(super) enum Opened {
    /// The file, or why an ELF file cannot be read.
    Object(Result<Object>),
    /// The file is not read, because its file system may never answer.
    Skipped(Unanswering),
    /// The file cannot be opened or is not an ELF file.
    Nothing,
}

/// Opens a mapped file, unless its file system may never answer.
///
/// `map_files` also reaches deleted files, but needs `CAP_CHECKPOINT_RESTORE`. Without it, the file
/// is opened as the executable of the process, or by its path below the root of the process. The
/// inode shows whether that is still the same file.
pub(super) fn open(pid: u32, mapping: &FileMapping, mounts: &Mounts) -> Opened {
    let Some(device) = parse_device(&mapping.device) else { return Opened::Nothing };
    let tables = &mounts.tables(pid);
    if let Err(reason) = mounts.check_device(tables, device) {
        return skipped(reason, &mapping.name, mounts);
    }
    let by_mapping = format!("/proc/{pid}/map_files/{}", mapping.range);
    let opened = match path_handle(Path::new(&by_mapping)) {
        Ok(handle) => open_handle(tables, &handle, &mapping.name, mounts),
        Err(error) => {
            let error = Error::open(&mapping.name, error);
            // The file is not missing: it can be opened when there are descriptors again.
            if error.is_resource_limit() {
                return Opened::Object(Err(error));
            }
            Opened::Nothing
        }
    };
    if !matches!(opened, Opened::Nothing) {
        return opened;
    }
    let others = [
        path_handle(Path::new(&format!("/proc/{pid}/exe"))).ok(),
        handle_below_root(pid, &mapping.name),
    ];
    for handle in others.into_iter().flatten() {
        // A file of another name is not asked for its inode if its file system may not answer.
        match open_handle(tables, &handle, &mapping.name, mounts) {
            Opened::Object(Ok(object)) if object.number == mapping.inode => {
                return Opened::Object(Ok(object));
            }
            _ => {}
        }
    }
    Opened::Nothing
}

/// A file that is in no mount table is not skipped if one of the tables could not be read: it can
/// be opened when there are descriptors again.
fn skipped(reason: Unanswering, name: &Path, mounts: &Mounts) -> Opened {
    match mounts.shortage() {
        Some(shortage) if reason == Unanswering::Unknown => {
            Opened::Object(Err(Error::open(name, shortage)))
        }
        _ => Opened::Skipped(reason),
    }
}

/// Opens the executable of a process, whose device is not known.
fn open_exe(pid: u32, name: &Path, mounts: &Mounts) -> Opened {
    let tables = &mounts.tables(pid);
    if mounts.may_revalidate(tables) {
        return Opened::Skipped(Unanswering::Unknown);
    }
    match path_handle(Path::new(&format!("/proc/{pid}/exe"))) {
        Ok(handle) => open_handle(tables, &handle, name, mounts),
        Err(_) => Opened::Nothing,
    }
}

fn open_handle(tables: &ProcessTables, handle: &File, name: &Path, mounts: &Mounts) -> Opened {
    if let Err(reason) = mounts.check_mount(tables, handle) {
        return skipped(reason, name, mounts);
    }
    // A device, such as a mapped graphics card.
    if !handle.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Opened::Nothing;
    }
    match Object::open_mapped(handle, name) {
        Ok(Some(object)) => Opened::Object(Ok(object)),
        Err(error) if error.kind() != ErrorKind::Permission => Opened::Object(Err(error)),
        Ok(None) | Err(_) => Opened::Nothing,
    }
}

/// Opens a link of `/proc` with `O_PATH`, which does not ask the file system that it leads to.
fn path_handle(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)
}

/// Opens a path below the root of a process with `O_PATH`, without asking a file system: only names
/// that the kernel has in its cache are found. A mapped file and its directories are in the cache.
fn handle_below_root(pid: u32, name: &Path) -> Option<File> {
    /// Renames elsewhere on the host can make a look-up in the cache fail.
    const TRIES: usize = 8;
    let root = path_handle(Path::new(&format!("/proc/{pid}/root"))).ok()?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::CACHED;
    let mut open = (0..TRIES).map(|_| openat2(&root, name, flags, Mode::empty(), resolve));
    open.find(|handle| handle.as_ref().err() != Some(&Errno::AGAIN))?.ok().map(File::from)
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

/// Returns the first address at which a process maps code of its executable.
pub(crate) fn executable_start(pid: u32) -> Option<u64> {
    let name = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = without_deleted(&name);
    let mut start = None;
    for_each_mapping(pid, |line| {
        let mapping = line.mapping();
        if mapping.name != name {
            return ControlFlow::Continue(());
        }
        start = Some(mapping.start());
        ControlFlow::Break(())
    })
    .ok()?;
    start
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

    /// Opens the file; `None` if it cannot be opened, is not an ELF file, or is on a file system
    /// that may never answer.
    pub(crate) fn open(&self, pid: u32, mounts: &Mounts) -> Option<Object> {
        match open(pid, &self.mapping, mounts) {
            Opened::Object(object) => object.ok(),
            Opened::Skipped(_) | Opened::Nothing => None,
        }
    }
}

/// Returns the ranges at which a process maps files executable, in ascending order, up to 16,384.
pub(crate) fn mapped_ranges(pid: u32) -> Result<Vec<MappedRange>> {
    let mut out = Vec::new();
    for_each_mapping(pid, |line| {
        out.extend(line.mapped_range());
        if out.len() == MAX_RANGES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(out)
}

/// Returns the range at an address if the process maps a file there that it cannot write to: the
/// mapping is private, readable and not writable.
pub(crate) fn constant_range(pid: u32, address: u64) -> Result<Option<MappedRange>> {
    let mut found = None;
    for_each_line(pid, |line| {
        let Some((permissions, line)) = MapsLine::parse_file(line) else {
            return ControlFlow::Continue(());
        };
        let Some(range) = line.mapped_range() else { return ControlFlow::Continue(()) };
        if !(range.start..range.end).contains(&address) {
            return ControlFlow::Continue(());
        }
        if permissions.starts_with("r-") && permissions.ends_with('p') {
            found = Some(range);
        }
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// A line of `/proc/PID/maps` (proc_pid_maps(5)) that maps a file.
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
        let (permissions, line) = MapsLine::parse_file(line)?;
        (permissions.as_bytes().get(2) == Some(&b'x')).then_some(line)
    }

    /// Parses a line and returns its permissions as well; `None` if it does not map a file.
    fn parse_file(line: &'a [u8]) -> Option<(&'a str, MapsLine<'a>)> {
        let mut fields = line.splitn(6, |b| *b == b' ');
        let mut next_field = || std::str::from_utf8(fields.next()?).ok();
        let (range, permissions) = (next_field()?, next_field()?);
        let (offset, device) = (next_field()?, next_field()?);
        let inode = next_field()?.parse().ok()?;
        let path = fields.next()?.trim_ascii_start();
        (inode != 0 && path.starts_with(b"/"))
            .then_some((permissions, MapsLine { range, offset, device, inode, path }))
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

/// Parses a line of `/proc/PID/maps` in all the ways that the functions above do.
#[cfg(fuzzing)]
pub(super) fn parse_mapping(line: &[u8]) {
    let mapping = MapsLine::parse(line).map(|line| line.mapping());
    let start = mapping.as_ref().map(FileMapping::start);
    let range = MapsLine::parse_file(line).and_then(|(_, line)| line.mapped_range());
    assert!(range.is_none_or(|range| start.is_none_or(|start| start == range.start)));
}

/// Returns true if the process exists and is not a zombie.
pub fn is_process_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read(format!("/proc/{pid}/stat")) else { return false };
    let state = after_name(&stat).and_then(|fields| fields.first());
    !matches!(state, Some(b'Z' | b'X') | None)
}

/// Returns the fields of `/proc/PID/stat` that follow the name of the command: the state and the
/// others. The name is in parentheses and may itself contain any character.
pub(super) fn after_name(stat: &[u8]) -> Option<&[u8]> {
    stat.get(stat.iter().rposition(|b| *b == b')')? + 2..)
}

/// Returns a number that `/proc/self/fdinfo` shows of a descriptor; `None` if it does not show it.
/// The file system of the descriptor is not asked.
pub(crate) fn fdinfo_number<T: FromStr>(fd: impl AsFd, name: &str) -> io::Result<Option<T>> {
    let fd = fd.as_fd().as_raw_fd();
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}"))?;
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(value.and_then(|value| value.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_skipped_because_a_mount_table_cannot_be_read() {
        let (mounts, name) = (Mounts::new(), Path::new("/a"));
        assert!(matches!(skipped(Unanswering::Unknown, name, &mounts), Opened::Skipped(_)));
        mounts.note_shortage(&io::Error::from_raw_os_error(libc::EMFILE));
        match skipped(Unanswering::Unknown, name, &mounts) {
            Opened::Object(Err(error)) => assert!(error.is_resource_limit(), "{error:#}"),
            _ => panic!("skipped"),
        }
        let fuse = Unanswering::Type("fuse".to_owned());
        assert!(matches!(skipped(fuse, name, &mounts), Opened::Skipped(_)));
    }

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
        let visit = &mut |visited| match visited {
            Visited::Object { object, is_executable } => own.push((object, is_executable)),
            Visited::Skipped(_) => {}
        };
        for_each_object(std::process::id(), &Mounts::new(), &mut HashSet::new(), visit).unwrap();
        let (exe, is_executable) = own.first().unwrap();
        assert!(is_executable);
        let exe = exe.as_ref().unwrap();
        assert_eq!(exe.path, std::env::current_exe().unwrap());
        assert!(is_process_alive(std::process::id()));
        assert!(own.len() > 1, "the C library is mapped, too");
    }

    #[test]
    fn names_a_missing_process() {
        let error = file_mappings(u32::MAX - 1).err().unwrap();
        assert_eq!(error.to_string(), "no process 4294967294; it may have ended");
    }
}
