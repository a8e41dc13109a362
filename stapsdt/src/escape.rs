//! Escaping of strings that a terminal would obey.
//!
//! Names and strings of files and processes are foreign: they may contain escape sequences that
//! move the cursor, change the window's title or reorder a line. A message holds such a string only
//! as [`Escaped`].
//!
//! ```
//! use stapsdt::escape::Escaped;
//! use std::path::Path;
//!
//! let path = Path::new("/tmp/\x1b[2J");
//! assert_eq!(format!("cannot open {}", Escaped::new(path)), "cannot open /tmp/\\u{1b}[2J");
//! ```

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// A string or a path whose `Display` is safe to print on a terminal.
///
/// Control and format characters, quotes, backslashes and bytes that are not UTF-8 are escaped; all
/// other characters are unchanged. The result is one line and unambiguous.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(&'a [u8]);

impl<'a> Escaped<'a> {
    /// Wraps a string or a path.
    pub fn new(string: &'a (impl AsRef<OsStr> + ?Sized)) -> Escaped<'a> {
        Escaped(string.as_ref().as_bytes())
    }

    /// Wraps bytes that may not be UTF-8.
    pub fn bytes(bytes: &'a [u8]) -> Escaped<'a> {
        Escaped(bytes)
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match plain(self.0) {
            Some(plain) => f.write_str(plain),
            None => write_escaped(f, self.0),
        }
    }
}

/// Appends the escaped form of `bytes` to `out`, as [`Escaped`] prints it.
pub fn escape_into(out: &mut String, bytes: &[u8]) {
    match plain(bytes) {
        Some(plain) => out.push_str(plain),
        // Writing to a string cannot fail.
        None => drop(write_escaped(out, bytes)),
    }
}

/// Returns the bytes as a string if nothing in them needs an escape, as in nearly all input.
fn plain(bytes: &[u8]) -> Option<&str> {
    // Without an early exit, the compiler vectorizes this loop.
    let and_is_plain =
        |all, b: &u8| all & ((b' '..0x7f).contains(b) & (*b != b'"') & (*b != b'\\'));
    bytes.iter().fold(true, and_is_plain).then(|| std::str::from_utf8(bytes).ok()).flatten()
}

fn write_escaped(out: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => write!(out, "\\{c}")?,
                c if is_obeyed(c) => write!(out, "{}", c.escape_default())?,
                c => out.write_char(c)?,
            }
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}")?;
        }
    }
    Ok(())
}

/// Returns true for characters that a terminal obeys instead of showing them: C0 and C1 controls,
/// DEL, and format characters, which reorder, hide or break a line.
pub fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Escapes what a terminal would obey in a message of one line. Quotes and backslashes stay as they
/// are, so that a name which is [`Escaped`] already does not change.
pub fn escape_line(message: &str) -> Cow<'_, str> {
    escape_message(message, is_obeyed)
}

/// Escapes what a terminal would obey in a message, except for its newlines and tabs. Otherwise the
/// same as [`escape_line`].
pub fn escape_lines(message: &str) -> Cow<'_, str> {
    escape_message(message, |c| is_obeyed(c) && !matches!(c, '\n' | '\t'))
}

fn escape_message(message: &str, needs_escape: fn(char) -> bool) -> Cow<'_, str> {
    if !message.contains(needs_escape) {
        return message.into();
    }
    let mut out = String::with_capacity(message.len() + 8);
    for c in message.chars() {
        if needs_escape(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Path;

    #[test]
    fn escapes_control_and_format_characters() {
        for (bytes, expected) in [
            (&b"plain \xc3\xa9"[..], "plain \u{e9}"),
            (b"\x1b[31m\"x\"\n\xff", "\\u{1b}[31m\\\"x\\\"\\n\\xff"),
            ("\u{202e}\u{9b}".as_bytes(), "\\u{202e}\\u{9b}"),
        ] {
            assert_eq!(Escaped::bytes(bytes).to_string(), expected);
        }
        assert_eq!(Escaped::new(Path::new("/a\r")).to_string(), "/a\\r");
    }

    #[test]
    fn keeps_escapes_in_messages() {
        let name = Escaped::new("\x1b\\").to_string();
        let message = format!("cannot open {name}:\n\t\x07");
        assert_eq!(escape_line(&message), "cannot open \\u{1b}\\\\:\\n\\t\\u{7}");
        assert_eq!(escape_lines(&message), "cannot open \\u{1b}\\\\:\n\t\\u{7}");
        assert!(matches!(escape_line("plain"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn leaves_nothing_that_a_terminal_obeys(bytes: Vec<u8>, message: String) {
            let mut into = String::new();
            escape_into(&mut into, &bytes);
            prop_assert_eq!(&into, &Escaped::bytes(&bytes).to_string());
            prop_assert!(!into.contains(is_obeyed));
            prop_assert!(!escape_line(&message).contains(is_obeyed));
        }
    }
}
