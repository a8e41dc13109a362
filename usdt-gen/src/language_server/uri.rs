//! Names of documents: URIs in the protocol, paths for the file system.

use lsp_types::Uri;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// Returns the path of a `file:` URI, without `.` and `..`. `None` for other URIs, such as that of a
/// document that is not saved yet.
pub(super) fn to_path(uri: &Uri) -> Option<PathBuf> {
    let rest = uri.as_str().strip_prefix("file://")?;
    // A host, which editors leave out, ends at the first slash.
    let encoded = rest.get(rest.find('/')?..)?;
    let bytes = decode(encoded);
    (!bytes.contains(&0)).then(|| normalized(Path::new(OsStr::from_bytes(&bytes))))
}

/// Returns the URI of a path.
pub(super) fn from_path(path: &Path) -> Option<Uri> {
    let mut uri = String::from("file://");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    Uri::from_str(&uri).ok()
}

/// Replaces `%XX`. Anything else stays as it is.
fn decode(encoded: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        // `from_str_radix` would also accept a sign.
        let is_hex = |digits: &&[u8]| digits.iter().all(u8::is_ascii_hexdigit);
        let digits = tail.get(..2).filter(|_| *first == b'%').filter(is_hex);
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

/// Removes `.` and `..` without looking at the file system.
pub(super) fn normalized(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            component => out.push(component),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_file_uris_only() {
        for (uri, path) in [
            ("file:///a/b.d", Some("/a/b.d")),
            ("file:///a%20b/%C3%BC.d", Some("/a b/ü.d")),
            ("file://localhost/a/./x/../b", Some("/a/b")),
            ("untitled:Untitled-1", None),
            ("file:///a%00", None),
            ("file://host", None),
        ] {
            let uri = Uri::from_str(uri).unwrap();
            assert_eq!(to_path(&uri), path.map(PathBuf::from), "{}", uri.as_str());
        }
    }

    #[test]
    fn decodes_hexadecimal_digits_only() {
        assert_eq!(decode("%41%+5%4"), b"A%+5%4");
    }

    proptest! {
        #[test]
        fn a_path_survives_the_way_to_a_uri_and_back(name in "[^/\0]{1,20}") {
            prop_assume!(name != "." && name != "..");
            let path = Path::new("/dir").join(name);
            prop_assert_eq!(to_path(&from_path(&path).unwrap()), Some(path));
        }
    }
}
