//! Opening and reading of input files.

use crate::{describe, descriptor, refused};
use rustix::fs::{FileType, Mode, OFlags};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// The limit for definitions, configurations and schemas in bytes. A real one is far smaller.
pub const TEXT_LIMIT: u64 = 16 << 20;

/// Opens a regular file for reading. Symbolic links are followed.
///
/// # Errors
///
/// Returns the error of the system call, or a reason if the path names something else than a
/// regular file. Opening a named pipe would wait for a writer, and opening a device can have side
/// effects.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // A descriptor with O_PATH tells the type of a file without opening it.
    let found = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode);
    if kind != FileType::RegularFile {
        return Err(refused(describe(kind)));
    }
    open_found(&found, path)
}

/// Opens the file of an O_PATH descriptor, so that it cannot be exchanged meanwhile.
fn open_found(found: &OwnedFd, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let own_path = format!("/proc/self/fd/{}", found.as_raw_fd());
    let file: File = match rustix::fs::open(own_path, flags, Mode::empty()) {
        // Without /proc, the file is opened by its path and compared.
        Err(rustix::io::Errno::NOENT) => {
            let file = rustix::fs::open(path, flags, Mode::empty())?;
            let (a, b) = (rustix::fs::fstat(found)?, rustix::fs::fstat(&file)?);
            if (a.st_dev, a.st_ino) != (b.st_dev, b.st_ino) {
                return Err(refused("it was replaced while it was opened; try again"));
            }
            file.into()
        }
        opened => opened?.into(),
    };
    Ok(file)
}

/// Reads a file of at most `limit` bytes.
///
/// The file is a regular file, or a pipe, terminal or socket that is an open descriptor of this
/// process and named as `/dev/stdin` or `/dev/fd/N`.
///
/// # Errors
///
/// Returns the error of the system call, or a reason if the file is too large or of another type.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = match descriptor::number(path) {
        Some(number) => descriptor::reader(number)?,
        None => open_regular(path)?,
    };
    let mut bytes = Vec::new();
    // The size of the file is not relied on: it may grow, and a pipe has none.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(refused(format!("larger than {} MiB", limit >> 20)));
    }
    Ok(bytes)
}

/// Reads a UTF-8 file of at most `limit` bytes.
///
/// # Errors
///
/// As for [`read`]; also fails with [`io::ErrorKind::InvalidData`] if the file is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let reason = format!("not a text file: invalid UTF-8 at byte {offset}");
        io::Error::new(io::ErrorKind::InvalidData, reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_pipes_devices_directories_and_large_files() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("fifo", &link).unwrap();
        let large = folder.path().join("large");
        File::create(&large).unwrap().set_len(5 << 30).unwrap();
        for (path, reason) in [
            (fifo.as_path(), "a named pipe, not a regular file"),
            (&link, "a named pipe, not a regular file"),
            (folder.path(), "a directory, not a regular file"),
            (Path::new("/dev/zero"), "a device, not a regular file"),
            (&large, "larger than 16 MiB"),
        ] {
            let error = read(path, TEXT_LIMIT).unwrap_err();
            assert_eq!(error.to_string(), reason, "{}", stapsdt::escape::Escaped::new(path));
        }
        let missing = read(&folder.path().join("missing"), TEXT_LIMIT).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn reads_a_pipe_that_is_an_open_descriptor() {
        let (reader, mut writer) = io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"provider").unwrap();
        drop(writer);
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        assert_eq!(read_text(Path::new(&path), TEXT_LIMIT).unwrap(), "provider");
    }

    #[test]
    fn reads_files_of_proc_whose_size_is_zero() {
        assert!(read_text(Path::new("/proc/self/status"), TEXT_LIMIT).unwrap().contains("Uid:"));
    }
}
