//! Messages on standard error, data on standard output, and what makes foreign text safe to print.

use std::fmt::Write as _;
use std::io::{self, Write as _};

/// One line on standard error.
pub fn say(message: &str) {
    // A closed standard error leaves nowhere to report that it is closed.
    let _ = writeln!(io::stderr(), "{message}");
}

/// Prints warnings, escaped: they may name files and probes of others.
pub fn warn(warnings: impl IntoIterator<Item = impl std::fmt::Display>) {
    for warning in warnings {
        say(&format!("warning: {}", escape(warning.to_string().as_bytes())));
    }
}

/// Prints the message that a program ends with.
pub fn report_error(message: &str, color: bool) {
    say(&format!("{} {message}", if color { "\x1b[1m\x1b[91merror:\x1b[0m" } else { "error:" }));
}

/// Data on standard output. A closed pipe ends it quietly.
///
/// # Errors
///
/// Fails when standard output cannot be written to, a closed pipe excepted.
pub fn print(data: &[u8]) -> io::Result<()> {
    match io::stdout().lock().write_all(data) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Printable text unchanged; control and format characters, quotes, backslashes and bytes that are not UTF-8 escaped.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    escape_into(&mut out, bytes);
    out
}

/// Appends what [`escape`] makes of `bytes`.
pub fn escape_into(out: &mut String, bytes: &[u8]) {
    // Without an early end, so that the compiler takes many bytes at once: nearly everything is plain.
    let plain = |all, b: &u8| all & ((b' '..0x7f).contains(b) & (*b != b'"') & (*b != b'\\'));
    if bytes.iter().fold(true, plain)
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return out.push_str(text);
    }
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| escape_char(out, c));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

fn escape_char(out: &mut String, c: char) {
    // Format characters (U+200E, U+202E …) reorder a terminal's line.
    let format = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        c if c.is_control() || format => out.extend(c.escape_default()),
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
