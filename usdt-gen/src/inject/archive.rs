//! Archives of compiled packages: adding members, and finding them again.
//!
//! An archive begins with a line and has members with a header of 60 bytes each (ar(5)). Go's
//! linker loads the objects among them, and skips members whose name has another suffix.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;
/// Number of members that are looked at. A package has one for each assembly and C file.
const MAX_MEMBERS: usize = 100_000;

/// Appends a member. `name` has at most 15 characters.
pub(crate) fn append(archive: &Path, name: &str, data: &[u8]) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().read(true).append(true).open(archive)?;
    file.write_all(&member(name, data))
}

/// Returns a member with its header. Time and owner are zero, so that the same input gives the same
/// archive.
fn member(name: &str, data: &[u8]) -> Vec<u8> {
    let mut out = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "644", data.len())
        .into_bytes();
    out.extend_from_slice(data);
    if data.len() % 2 == 1 {
        out.push(0);
    }
    out
}

/// Reads the first member with a name, up to `limit` bytes of it. Returns `None` if there is none,
/// or if the file is not an archive.
pub(crate) fn find(archive: &Path, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    find_in(&mut File::open(archive)?, name, limit)
}

fn find_in(file: &mut (impl Read + Seek), name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut magic = [0; MAGIC.len()];
    if !read_whole(file, &mut magic)? || magic != *MAGIC {
        return Ok(None);
    }
    for _ in 0..MAX_MEMBERS {
        let mut header = [0; HEADER];
        if !read_whole(file, &mut header)? {
            return Ok(None);
        }
        let field = |range: std::ops::Range<usize>| {
            header.get(range).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("").trim()
        };
        let Ok(size) = field(48..58).parse::<u32>() else { return Ok(None) };
        if field(0..16) == name {
            let mut data = Vec::new();
            file.take(u64::from(size).min(limit)).read_to_end(&mut data)?;
            return Ok(Some(data));
        }
        file.seek(SeekFrom::Current(i64::from(size) + i64::from(size % 2)))?;
    }
    Ok(None)
}

/// Fills a buffer; returns false at the end of the file.
fn read_whole(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    proptest! {
        #[test]
        fn finds_what_was_appended(
            members in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..6)
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("pkg.a");
            std::fs::write(&path, MAGIC).unwrap();
            for (i, data) in members.iter().enumerate() {
                append(&path, &format!("m{i}.o"), data).unwrap();
            }
            for (i, data) in members.iter().enumerate() {
                let found = find(&path, &format!("m{i}.o"), 1000).unwrap();
                prop_assert_eq!(found.as_ref(), Some(data));
            }
            prop_assert_eq!(find(&path, "other", 1000).unwrap(), None);
        }

        #[test]
        fn reads_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut archive = MAGIC.to_vec();
            archive.extend_from_slice(&bytes);
            prop_assert!(find_in(&mut Cursor::new(&archive), "x", 10).is_ok());
            prop_assert!(find_in(&mut Cursor::new(&bytes), "x", 10).is_ok());
        }
    }
}
