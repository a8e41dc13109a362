//! Messages on standard error, data on standard output, and escaping of untrusted strings.

use std::fmt::Write as _;
use std::io::{self, Write as _};

/// Prints one line to standard error.
pub fn say(message: &str) {
    // If standard error is closed, there is no place to report that.
    let _ = writeln!(io::stderr(), "{message}");
}

/// Prints warnings to standard error, one line each.
///
/// They are escaped, because they may contain names of untrusted files and probes.
pub fn warn(warnings: impl IntoIterator<Item = impl std::fmt::Display>) {
    for warning in warnings {
        say(&format!("warning: {}", escape(warning.to_string().as_bytes())));
    }
}

/// Prints the error message with which a program exits, with a red prefix if `color` is true.
pub fn report_error(message: &str, color: bool) {
    say(&format!("{} {message}", if color { "\x1b[1m\x1b[91merror:\x1b[0m" } else { "error:" }));
}

/// Writes data to standard output. A closed pipe is not an error.
///
/// # Errors
///
/// Returns the system's error if standard output cannot be written to.
pub fn print(data: &[u8]) -> io::Result<()> {
    match io::stdout().lock().write_all(data) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Returns a string that is safe to print on a terminal. Control and format characters, quotes,
/// backslashes and bytes that are not UTF-8 are escaped; all other characters are unchanged.
///
/// ```
/// assert_eq!(cli_common::escape(b"\x1b[31m"), "\\u{1b}[31m");
/// ```
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    escape_into(&mut out, bytes);
    out
}

/// Appends the escaped form of `bytes` to `out`, see [`escape`].
pub fn escape_into(out: &mut String, bytes: &[u8]) {
    // Nearly all input is plain. Without an early exit, the compiler vectorizes this loop.
    let and_is_plain =
        |all, b: &u8| all & ((b' '..0x7f).contains(b) & (*b != b'"') & (*b != b'\\'));
    if bytes.iter().fold(true, and_is_plain)
        && let Ok(plain) = std::str::from_utf8(bytes)
    {
        return out.push_str(plain);
    }
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| escape_char(out, c));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

/// Appends a character, escaped if necessary.
fn escape_char(out: &mut String, c: char) {
    // Format characters, such as U+202E, can reorder a line on a terminal.
    let is_format = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        c if c.is_control() || is_format => out.extend(c.escape_default()),
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_control_and_format_characters() {
        assert_eq!(escape(b"plain \xc3\xa9"), "plain \u{e9}");
        assert_eq!(escape(b"\x1b[31m\"x\"\n\xff"), "\\u{1b}[31m\\\"x\\\"\\n\\xff");
        assert_eq!(escape("\u{202e}".as_bytes()), "\\u{202e}");
    }
}
