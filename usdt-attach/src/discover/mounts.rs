//! File systems that may never answer: whether a mapped file is on one, decided without asking it.
//!
//! Anyone can mount a FUSE file system in a user namespace and let it never answer, and a network
//! file system can lose its server. A thread that waits for one cannot be ended, not even by
//! SIGKILL. Such files are therefore read only if the user names them.
//!
//! # Decision
//!
//! 1. `/proc/PID/maps` has the device number of the file's superblock (`fs/proc/task_mmu.c`), which
//!    `/proc/PID/mountinfo` has, too. On btrfs and overlayfs, that is not `st_dev`.
//! 2. The file is opened with `O_PATH`, which does not ask the file system. `/proc/self/fdinfo` has
//!    its mount id.
//! 3. The mount id is looked up in mount tables that are up to date: the open descriptor keeps the
//!    mount, so its id is not reused.
//!
//! The process may map another file between the steps; the third step decides.
//!
//! # Trust
//!
//! File systems on block devices need root to mount and are local. So are a few without a device.
//! overlayfs is as good as its layers, and in a user namespace of its own a user may choose them:
//! it counts only if it is mounted where privileges of this process's user namespace are needed.
//! The root file system of this process and of process 1 always counts. If it hangs, so does
//! everything.

use super::process::fdinfo_number;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use stapsdt::escape::Escaped;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// File systems without a block device that are local.
const LOCAL: [&str; 10] = [
    "aufs",
    "devtmpfs",
    "hugetlbfs",
    "jffs2",
    "overlay",
    "ramfs",
    "rootfs",
    "tmpfs",
    "ubifs",
    "zfs",
];
/// The size limit of a mount table in bytes, far above that of a host with thousands of containers.
const MAX_TABLE: u64 = 16 << 20;
/// How often a changing table is read again in one scan.
const MAX_RELOADS: u32 = 8;

/// A device number: major and minor.
pub(super) type Device = (u32, u32);

/// Why a file is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unanswering {
    /// It is on a file system of this type.
    Type(String),
    /// Its file system is in no mount table.
    Unknown,
}

impl Unanswering {
    /// Returns the warning about a file that is skipped.
    pub(super) fn message(&self, file: &Path) -> String {
        let file = Escaped::new(file);
        match self {
            Unanswering::Type(kind) => format!(
                "skipped {file}: its file system ({kind}) may never answer; name the file to read it"
            ),
            Unanswering::Unknown => format!(
                "skipped {file}: its file system is in no mount table and may never answer; name the file to read it"
            ),
        }
    }
}

/// The mount tables of the processes of one scan.
#[derive(Debug)]
pub(crate) struct Mounts {
    /// Those of this process and of process 1.
    own: Vec<SharedTable>,
    /// By mount namespace and user namespace; `None` for tables that cannot be read.
    others: Mutex<HashMap<(u64, u64), Option<SharedTable>>>,
    own_user_namespace: Option<u64>,
    /// File systems of `/proc/filesystems` that need a block device.
    on_block_devices: HashSet<String>,
    /// The device and the mount id of memfds and of shared anonymous memory, which no table has.
    memory: Option<(Device, u64)>,
    /// The error code if a table could not be read because there were no descriptors left; 0 if
    /// there were.
    shortage: AtomicI32,
}

/// The field of `/proc/PID/fdinfo` with the id of the mount.
const MOUNT_ID: &str = "mnt_id";

type SharedTable = Arc<Mutex<Table>>;

/// The mount tables of a process, and those that count for every process.
#[derive(Debug)]
pub(super) struct ProcessTables(Vec<SharedTable>);

/// A mount table.
#[derive(Debug)]
struct Table {
    file: File,
    /// True if only privileges in the user namespace of this process can change it.
    is_trusted: bool,
    /// True if its root file system may be read whatever its type is.
    is_root_trusted: bool,
    reloads_left: u32,
    by_device: HashMap<Device, Result<(), String>>,
    by_mount: HashMap<u64, Device>,
}

impl Mounts {
    pub(crate) fn new() -> Mounts {
        let mut mounts = Mounts {
            own: Vec::new(),
            others: Mutex::default(),
            own_user_namespace: namespace("self", "user"),
            on_block_devices: on_block_devices(),
            memory: memory_file_system(),
            shortage: AtomicI32::new(0),
        };
        let own = ["self", "1"].map(|process| mounts.open_table(process, true, true));
        mounts.own = own.into_iter().flatten().collect();
        mounts
    }

    /// Returns an error if a table could not be read because there were no descriptors left. A file
    /// that is in no table may be in that one.
    pub(super) fn shortage(&self) -> Option<io::Error> {
        let code = self.shortage.load(Relaxed);
        (code != 0).then(|| io::Error::from_raw_os_error(code))
    }

    pub(super) fn note_shortage(&self, error: &io::Error) {
        if let Some(code @ (libc::EMFILE | libc::ENFILE)) = error.raw_os_error() {
            self.shortage.store(code, Relaxed);
        }
    }

    /// Decides by the device in `/proc/PID/maps` whether a file may be opened with `O_PATH`.
    pub(super) fn check_device(
        &self,
        tables: &ProcessTables,
        device: Device,
    ) -> Result<(), Unanswering> {
        let mut decision = Err(Unanswering::Unknown);
        if self.memory.is_some_and(|(memory, _)| memory == device) {
            return Ok(());
        }
        for table in &tables.0 {
            let table = table.lock().unwrap_or_else(PoisonError::into_inner);
            match table.by_device.get(&device) {
                Some(Ok(())) => return Ok(()),
                Some(Err(kind)) => decision = Err(Unanswering::Type(kind.clone())),
                None => {}
            }
        }
        // Without a mount table, a device with a driver is a disk.
        if decision == Err(Unanswering::Unknown) && device.0 != 0 { Ok(()) } else { decision }
    }

    /// Decides whether a file that is open with `O_PATH` may be read.
    pub(super) fn check_mount(
        &self,
        tables: &ProcessTables,
        handle: &File,
    ) -> Result<(), Unanswering> {
        let mount = fdinfo_number(handle, MOUNT_ID).inspect_err(|error| self.note_shortage(error));
        let mount = mount.ok().flatten().ok_or(Unanswering::Unknown)?;
        if self.memory.is_some_and(|(_, memory)| memory == mount) {
            return Ok(());
        }
        let mut device = None;
        for table in &tables.0 {
            let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
            table.refresh(self);
            device = device.or(table.by_mount.get(&mount).copied());
        }
        self.check_device(tables, device.ok_or(Unanswering::Unknown)?)
    }

    /// Returns true if a file system is mounted that is asked even about a file that is opened with
    /// `O_PATH` through a link in `/proc` (`d_weak_revalidate`).
    pub(super) fn may_revalidate(&self, tables: &ProcessTables) -> bool {
        let asks = |kind: &String| kind.starts_with("nfs") || kind == "9p";
        tables.0.iter().any(|table| {
            let table = table.lock().unwrap_or_else(PoisonError::into_inner);
            table.by_device.values().any(|decision| decision.as_ref().is_err_and(asks))
        })
    }

    /// Returns the mount tables in which the files of a process are looked up.
    pub(super) fn tables(&self, pid: u32) -> ProcessTables {
        ProcessTables(self.own.iter().cloned().chain(self.table_of(pid)).collect())
    }

    /// Returns the mount table of a process; `None` if it cannot be read.
    fn table_of(&self, pid: u32) -> Option<SharedTable> {
        let process = pid.to_string();
        let key = (namespace(&process, "mnt")?, namespace(&process, "user")?);
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let is_trusted = Some(key.1) == self.own_user_namespace;
        let open = || self.open_table(&process, is_trusted, false);
        others.entry(key).or_insert_with(open).clone()
    }

    fn open_table(
        &self,
        process: &str,
        is_trusted: bool,
        is_root_trusted: bool,
    ) -> Option<SharedTable> {
        let file = File::open(format!("/proc/{process}/mountinfo"));
        let mut table = Table {
            file: file.inspect_err(|error| self.note_shortage(error)).ok()?,
            is_trusted,
            is_root_trusted,
            reloads_left: MAX_RELOADS,
            by_device: HashMap::new(),
            by_mount: HashMap::new(),
        };
        table.read(self);
        Some(Arc::new(Mutex::new(table)))
    }

    fn is_local(&self, kind: &str, is_trusted: bool) -> bool {
        if kind == "overlay" || kind == "aufs" {
            return is_trusted;
        }
        // `fuseblk` needs a block device, but a program serves it.
        LOCAL.contains(&kind) || self.on_block_devices.contains(kind) && !kind.starts_with("fuse")
    }
}

impl Table {
    /// Reads the table again if a mount was added or removed since.
    fn refresh(&mut self, mounts: &Mounts) {
        let mut changed = [PollFd::new(&self.file, PollFlags::PRI)];
        let is_unchanged = poll(&mut changed, Some(&Timespec::default())) == Ok(0);
        if is_unchanged {
            return;
        }
        self.by_device.clear();
        self.by_mount.clear();
        // A table that changes all the time is not read all the time: nothing in it counts.
        if let Some(left) = self.reloads_left.checked_sub(1) {
            self.reloads_left = left;
            self.read(mounts);
        }
    }

    fn read(&mut self, mounts: &Mounts) {
        let mut text = Vec::new();
        if self.file.rewind().is_err()
            || self.file.by_ref().take(MAX_TABLE).read_to_end(&mut text).is_err()
        {
            return;
        }
        for MountLine { id, device, point, kind, .. } in parse_table(&text) {
            let is_root = self.is_root_trusted && point == b"/";
            let local = is_root || mounts.is_local(kind, self.is_trusted);
            let by_device = self.by_device.entry(device).or_insert_with(|| Err(kind.to_owned()));
            if local {
                *by_device = Ok(());
            }
            self.by_mount.insert(id, device);
        }
    }
}

/// A line of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MountLine<'a> {
    id: u64,
    device: Device,
    /// Where the file system is mounted. Spaces and other separators are escaped.
    pub(super) point: &'a [u8],
    kind: &'a str,
    /// The options of the file system, separated by commas; empty if there are none.
    pub(super) options: &'a [u8],
}

impl<'a> MountLine<'a> {
    fn parse(line: &'a [u8]) -> Option<MountLine<'a>> {
        fn text(field: &[u8]) -> Option<&str> {
            std::str::from_utf8(field).ok()
        }
        let mut fields = line.split(|b| *b == b' ');
        let id = text(fields.next()?)?.parse().ok()?;
        let (major, minor) = text(fields.nth(1)?)?.split_once(':')?;
        let device = (major.parse().ok()?, minor.parse().ok()?);
        let point = fields.nth(1)?;
        fields.find(|field| *field == b"-")?;
        // A subtype follows a dot: `fuse.sshfs`.
        let kind = text(fields.next()?)?;
        Some(MountLine { id, device, point, kind, options: fields.nth(1).unwrap_or_default() })
    }
}

/// Parses `/proc/PID/mountinfo`. Damaged lines are left out.
pub(super) fn parse_table(text: &[u8]) -> impl DoubleEndedIterator<Item = MountLine<'_>> {
    text.split(|b| *b == b'\n').filter_map(MountLine::parse)
}

/// Parses a device of `/proc/PID/maps`, which has hexadecimal numbers.
pub(super) fn parse_device(device: &str) -> Option<Device> {
    let (major, minor) = device.split_once(':')?;
    Some((u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?))
}

fn on_block_devices() -> HashSet<String> {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let lines = known.lines().filter(|line| !line.starts_with("nodev"));
    lines.map(|line| line.trim().to_owned()).collect()
}

/// Returns the number of a namespace.
fn namespace(process: &str, kind: &str) -> Option<u64> {
    let link = std::fs::read_link(format!("/proc/{process}/ns/{kind}")).ok()?;
    link.to_str()?.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}

/// Returns the device and the mount of the kernel's own tmpfs, which is in no mount table.
fn memory_file_system() -> Option<(Device, u64)> {
    let file = rustix::fs::memfd_create("usdt-attach", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
    let file = File::from(file);
    let device = file.metadata().ok()?.dev();
    Some((
        (rustix::fs::major(device), rustix::fs::minor(device)),
        fdinfo_number(&file, MOUNT_ID).ok()??,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_mount_lines() {
        let line =
            b"98 30 0:52 / /mnt/a\\040b rw,nosuid shared:1 master:2 - fuse.sshfs h: rw,user_id=0";
        let expected = MountLine {
            id: 98,
            device: (0, 52),
            point: b"/mnt/a\\040b",
            kind: "fuse.sshfs",
            options: b"rw,user_id=0",
        };
        assert_eq!(MountLine::parse(line), Some(expected));
        assert_eq!(MountLine::parse(b"98 30 0:52 / /mnt rw -"), None);
        assert_eq!((parse_device("fe:10"), parse_device("fe")), (Some((254, 16)), None));
    }

    #[test]
    fn only_trusted_overlays_and_local_file_systems_are_read() {
        let mounts = Mounts::new();
        let local = |kind| (mounts.is_local(kind, true), mounts.is_local(kind, false));
        assert_eq!((local("tmpfs"), local("overlay")), ((true, true), (true, false)));
        for kind in ["fuse", "fuse.sshfs", "fuseblk", "nfs4", "9p", "cifs", "ceph", "other"] {
            assert_eq!(local(kind), (false, false), "{kind}");
        }
    }

    #[test]
    fn own_files_and_memfds_are_read_but_not_unknown_devices() {
        let mounts = Mounts::new();
        let own = mounts.tables(std::process::id());
        let exe = File::open("/proc/self/exe").unwrap();
        assert_eq!(mounts.check_mount(&own, &exe), Ok(()));
        let memfd = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(mounts.check_mount(&own, &File::from(memfd)), Ok(()));
        let (device, _) = mounts.memory.unwrap();
        assert_eq!(mounts.check_device(&own, device), Ok(()));
        assert_eq!(mounts.check_device(&own, (0, 1 << 19)), Err(Unanswering::Unknown));
        assert_eq!(mounts.check_device(&own, (259, 1 << 19)), Ok(()), "a disk");
    }
}
