//! Owner, mode and extended attributes: what a replaced file passes on to its successor.
//!
//! Order of the steps. Changing the owner clears setuid, setgid and capabilities, and an ACL changes
//! the mode. So the owner comes first, then the attributes, then the mode, and the new file gets
//! its name after that. No file has both the new content and a privilege that it is not to have.

use crate::refused;
use rustix::fs::{Gid, IFlags, Mode, Stat, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::CString;
use std::fs::File;
use std::io;

const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;
const CAPABILITIES: &str = "security.capability";
const ACL: &str = "system.posix_acl_access";
/// Attributes that the kernel computes from the content and the inode.
const MEASURED: [&str; 2] = ["security.ima", "security.evm"];

/// What a file passes on to its successor.
#[derive(Debug)]
pub(crate) struct Attributes {
    status: Stat,
    extended: Vec<(String, Vec<u8>)>,
}

impl Attributes {
    /// Reads the attributes of an open file.
    ///
    /// # Errors
    ///
    /// Returns the error of a system call, or a reason if the file must not be replaced.
    pub(crate) fn read(file: &File) -> io::Result<Attributes> {
        // Not every file system has flags.
        if let Ok(flags) = rustix::fs::ioctl_getflags(file)
            && flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND)
        {
            return Err(refused("it is immutable or append-only; run `chattr -i -a` on it first"));
        }
        Ok(Attributes { status: rustix::fs::fstat(file)?, extended: extended(file)? })
    }

    /// Returns the status of the file when its attributes were read.
    pub(crate) fn status(&self) -> &Stat {
        &self.status
    }

    /// Returns true if the same file had these attributes and this content before.
    ///
    /// Time stamps alone would not do: they advance every few milliseconds. A write to a
    /// file with privileges removes these, which the mode and the attributes show.
    pub(crate) fn is_unchanged_since(&self, old: &Attributes) -> bool {
        let key = |s: &Stat| {
            (
                (s.st_dev, s.st_ino, s.st_size, s.st_mode, s.st_uid, s.st_gid),
                (s.st_mtime, s.st_mtime_nsec, s.st_ctime, s.st_ctime_nsec),
            )
        };
        key(&self.status) == key(&old.status) && self.extended == old.extended
    }

    /// Sets the attributes of the new file. Privileges, which are setuid, setgid and capabilities,
    /// are kept if `keep_privileges` is true and owner and group can be kept.
    ///
    /// Returns what was not kept, as clauses for a warning.
    ///
    /// # Errors
    ///
    /// Returns an error if an attribute that restricts access cannot be set.
    pub(crate) fn apply(&self, new: &File, keep_privileges: bool) -> io::Result<Vec<String>> {
        let old = &self.status;
        let mut lost = Vec::new();
        let (owner, group) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
        let status = rustix::fs::fstat(new)?;
        if (status.st_uid, status.st_gid) != (old.st_uid, old.st_gid)
            && rustix::fs::fchown(new, Some(owner), Some(group)).is_err()
        {
            // Without CAP_CHOWN, the owner can choose a group that they belong to. The outcome is
            // read back.
            let _ = rustix::fs::fchown(new, None, Some(group));
        }
        let status = rustix::fs::fstat(new)?;
        let (is_owner_kept, is_group_kept) =
            (status.st_uid == old.st_uid, status.st_gid == old.st_gid);
        if !is_owner_kept {
            lost.push(format!("it belongs to user {} instead of {}", status.st_uid, old.st_uid));
        }
        if !is_group_kept {
            lost.push(format!("it has group {} instead of {}", status.st_gid, old.st_gid));
        }
        let keep_privileges = keep_privileges && is_owner_kept && is_group_kept;
        self.apply_extended(new, keep_privileges, &mut lost)?;
        let mut mode = old.st_mode & 0o7777;
        if !keep_privileges {
            mode &= !(SETUID | SETGID);
        }
        if !is_group_kept {
            // Another group gets no more than everybody has.
            mode = mode & !0o070 | mode & ((mode & 0o007) << 3);
        }
        rustix::fs::fchmod(new, Mode::from_raw_mode(mode))?;
        // The kernel drops setgid silently if this process is not in the group.
        let mode = rustix::fs::fstat(new)?.st_mode;
        for (bit, name) in [(SETUID, "setuid"), (SETGID, "setgid")] {
            if old.st_mode & bit != 0 && mode & bit == 0 {
                lost.push(format!("it is no longer {name}"));
            }
        }
        Ok(lost)
    }

    fn apply_extended(
        &self,
        new: &File,
        keep_privileges: bool,
        lost: &mut Vec<String>,
    ) -> io::Result<()> {
        if !self.extended.iter().any(|(name, _)| name == ACL) {
            // The new file may have inherited entries from the default ACL of its directory.
            match rustix::fs::fremovexattr(new, ACL) {
                Ok(()) | Err(Errno::NODATA | Errno::NOTSUP | Errno::NOSYS) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for (name, value) in &self.extended {
            if name == CAPABILITIES && !keep_privileges {
                lost.push("it no longer has capabilities".to_owned());
                continue;
            }
            if MEASURED.contains(&name.as_str()) {
                lost.push(format!("`{name}` does not match the new content and was removed"));
                continue;
            }
            let Err(error) = rustix::fs::fsetxattr(new, name, value, XattrFlags::empty()) else {
                continue;
            };
            // Without its ACL or its user's attributes the file would be another one. Attributes of
            // security modules belong to the administrator.
            if name == CAPABILITIES {
                lost.push("it no longer has capabilities".to_owned());
            } else if name.starts_with("security.") || name.starts_with("trusted.") {
                lost.push(format!("its attribute `{name}` cannot be kept ({error})"));
            } else {
                return Err(refused(format!("its attribute `{name}` cannot be kept ({error})")));
            }
        }
        Ok(())
    }
}

/// Reads the extended attributes of a file, of which ACLs and capabilities are some.
fn extended(file: &File) -> io::Result<Vec<(String, Vec<u8>)>> {
    // The kernel limits the list and each value to 64 KiB (XATTR_LIST_MAX, XATTR_SIZE_MAX).
    let mut buffer = vec![0; 64 << 10];
    let size = match rustix::fs::flistxattr(file, buffer.as_mut_slice()) {
        Ok(size) => size,
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let names = buffer.get(..size).unwrap_or_default().to_vec();
    let mut attributes = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(name).into_owned();
        let c_name = CString::new(name.as_str())?;
        match rustix::fs::fgetxattr(file, c_name.as_c_str(), buffer.as_mut_slice()) {
            Ok(size) => {
                attributes.push((name, buffer.get(..size).unwrap_or_default().to_vec()));
            }
            // The attribute was removed meanwhile, or is listed but not readable.
            Err(Errno::NODATA | Errno::NOTSUP) => {}
            Err(error) => {
                let reason = format!("its attribute `{name}` cannot be read ({error})");
                return Err(refused(reason));
            }
        }
    }
    Ok(attributes)
}
