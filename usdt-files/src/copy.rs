//! Copying of files with their holes.

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// The buffer of the plain copy in bytes.
const BUFFER: usize = 128 << 10;

/// Copies the content of a regular file into an empty one.
///
/// Shares blocks if the file system can do so. Otherwise holes stay holes: a sparse file takes no
/// more space than before.
///
/// # Errors
///
/// Returns the error of the system call.
pub fn copy_with_holes(from: &File, to: &File) -> io::Result<()> {
    if rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let len = from.metadata()?.len();
    to.set_len(len)?;
    for_each_extent(from, len, &mut |extent| copy_range(from, to, extent.start, extent.end))
}

/// Reads the content of a regular file into zeroed memory. Holes are skipped, so that they take no
/// memory if the pages have never been written to.
///
/// # Errors
///
/// Returns the error of the system call, or [`io::ErrorKind::FileTooLarge`] if the file has more
/// than `max_data` bytes that are no holes. The number of blocks in its status may be false.
pub fn read_with_holes(from: &File, memory: &mut [u8], max_data: u64) -> io::Result<()> {
    let mut left = max_data;
    for_each_extent(from, memory.len() as u64, &mut |extent| {
        left = left.checked_sub(extent.end - extent.start).ok_or_else(|| {
            let reason = format!("more than {} MiB of data", max_data >> 20);
            io::Error::new(io::ErrorKind::FileTooLarge, reason)
        })?;
        let start = usize::try_from(extent.start).unwrap_or(usize::MAX);
        let end = usize::try_from(extent.end).unwrap_or(usize::MAX);
        let mut rest = memory.get_mut(start..end).unwrap_or_default();
        let mut at = extent.start;
        while !rest.is_empty() {
            match from.read_at(rest, at) {
                // The file has become shorter.
                Ok(0) => break,
                Ok(count) => {
                    rest = rest.get_mut(count..).unwrap_or_default();
                    at += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })
}

/// Calls `action` with the ranges of the first `len` bytes of a file that are no holes.
fn for_each_extent(
    from: &File,
    len: u64,
    action: &mut dyn FnMut(Range<u64>) -> io::Result<()>,
) -> io::Result<()> {
    let mut at = 0;
    while at < len {
        let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            // There is no data after `at`.
            Err(Errno::NXIO) => break,
            // The file system does not know its holes.
            Err(_) => at,
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(start)).unwrap_or(len).min(len);
        if end <= start {
            break;
        }
        action(start..end)?;
        at = end;
    }
    Ok(())
}

/// Copies the bytes from `start` to `end`. Stops early if the file has become shorter.
fn copy_range(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    let mut at = start;
    while at < end {
        let (mut read_at, mut write_at) = (at, at);
        let size = usize::try_from(end - at).unwrap_or(usize::MAX);
        let copied = rustix::fs::copy_file_range(
            from,
            Some(&mut read_at),
            to,
            Some(&mut write_at),
            size.min(1 << 30),
        );
        match copied {
            Ok(count) if count > 0 => at += count as u64,
            Err(Errno::INTR) => {}
            Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => return Err(error.into()),
            // Two file systems, or one that cannot copy: a plain copy works or names the error.
            _ => return copy_plainly(from, to, at, end),
        }
    }
    Ok(())
}

fn copy_plainly(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut at = start;
    while at < end {
        let size = usize::try_from(end - at).unwrap_or(BUFFER).min(BUFFER);
        let chunk = buffer.get_mut(..size).unwrap_or_default();
        match from.read_at(chunk, at) {
            Ok(0) => break,
            Ok(count) => {
                to.write_all_at(chunk.get(..count).unwrap_or_default(), at)?;
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn keeps_holes_and_data() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.write_all_at(b"start", 0).unwrap();
        from.write_all_at(b"middle", 3 << 30).unwrap();
        from.set_len(5 << 30).unwrap();
        copy_with_holes(&from, &to).unwrap();
        let new = to.metadata().unwrap();
        assert_eq!(new.len(), 5 << 30);
        assert!(new.blocks() * 512 < 1 << 20, "{} blocks", new.blocks());
        let mut bytes = [0; 6];
        to.read_exact_at(&mut bytes, 3 << 30).unwrap();
        assert_eq!(&bytes, b"middle");
        let mut memory = vec![0; (3 << 30) + 6];
        read_with_holes(&to, &mut memory, 1 << 20).unwrap();
        assert!(memory.starts_with(b"start\0") && memory.ends_with(b"\0middle"));
        let error = read_with_holes(&to, &mut memory, 100).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn copies_without_help_of_the_kernel() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let content: Vec<u8> = (0..BUFFER + 5000).map(|n| n as u8).collect();
        from.write_all_at(&content, 0).unwrap();
        copy_plainly(&from, &to, 0, content.len() as u64).unwrap();
        let mut copied = vec![0; content.len()];
        to.read_exact_at(&mut copied, 0).unwrap();
        assert!(copied == content);
    }
}
