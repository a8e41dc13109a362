//! Reading of configuration files. A path may name anything: reading never waits, and never takes
//! more memory than the limit.

use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use usdt_attach::error::{Error, Result};

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
///
/// Fails if the file cannot be opened or read, is not a regular file, or is larger.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    // Without NONBLOCK, opening a FIFO waits for its writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|errno| Error::open(path, errno.into()))?;
    let file = File::from(file);
    let metadata = file.metadata().map_err(|source| Error::open(path, source))?;
    if !metadata.is_file() {
        return Err(Error::object(path, "not a regular file; name a file with the configuration"));
    }
    let mut bytes = Vec::new();
    let mut bounded = file.take(limit + 1);
    bounded.read_to_end(&mut bytes).map_err(|source| Error::open(path, source))?;
    if bytes.len() as u64 > limit {
        return Err(Error::object(path, format!("larger than {} KiB", limit >> 10)));
    }
    Ok(bytes)
}

/// Reads a regular file of at most `limit` bytes of UTF-8.
///
/// # Errors
///
/// Fails as [`read`] does, or if the file is not UTF-8.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String> {
    String::from_utf8(read(path, limit)?)
        .map_err(|error| Error::object(path, format!("not UTF-8: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_large_files_and_fifos_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "12345").unwrap();
        assert_eq!(read_text(&file, 5).unwrap(), "12345");
        assert!(read(&file, 4).unwrap_err().to_string().contains("larger than"));
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        assert!(read(&fifo, 5).unwrap_err().to_string().contains("not a regular file"));
        assert!(read(Path::new("/dev/zero"), 5).unwrap_err().to_string().contains("not a regular"));
    }
}
