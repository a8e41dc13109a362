//! Writers that let nothing through that a terminal would obey.

use serde::Serialize;
use stapsdt::escape::is_obeyed;
use std::io::{self, Write};

/// A writer of text for people: it escapes control and format characters, except for newlines and
/// tabs.
///
/// With colors, it also lets SGR sequences (`ESC [ … m`) through. Strings of a target are escaped
/// before they get here; this is the last line of defense. Each write must be a whole string: a
/// character or a color sequence that is split between two writes is escaped.
#[derive(Debug)]
pub struct Text<W> {
    out: W,
    color: bool,
}

impl<W: Write> Text<W> {
    /// Wraps a writer. `color` says whether color sequences are let through.
    pub fn new(out: W, color: bool) -> Text<W> {
        Text { out, color }
    }

    /// Moves the cursor of a terminal up by this number of lines and erases what is below.
    ///
    /// # Errors
    ///
    /// Fails if the writer does.
    pub fn erase_lines(&mut self, lines: usize) -> io::Result<()> {
        write!(self.out, "\x1b[{lines}A\x1b[J")
    }
}

impl<W: Write> Write for Text<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_all(data)?;
        Ok(data.len())
    }

    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        // Without an early exit, the compiler vectorizes this loop.
        let and_is_plain =
            |all, b: &u8| all & ((b' '..0x7f).contains(b) | (*b == b'\n') | (*b == b'\t'));
        if data.iter().fold(true, and_is_plain) {
            return self.out.write_all(data);
        }
        let mut escaped = String::with_capacity(data.len() + 16);
        for chunk in data.utf8_chunks() {
            let mut rest = chunk.valid();
            while let Some(c) = rest.chars().next() {
                let length = match color_sequence(rest) {
                    Some(length) if self.color => length,
                    _ => c.len_utf8(),
                };
                let (head, tail) = rest.split_at(length);
                if length == c.len_utf8() && is_obeyed(c) && !matches!(c, '\n' | '\t') {
                    escaped.extend(c.escape_default());
                } else {
                    escaped.push_str(head);
                }
                rest = tail;
            }
            chunk.invalid().iter().for_each(|byte| escaped.push_str(&format!("\\x{byte:02x}")));
        }
        self.out.write_all(escaped.as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Returns the length of the SGR sequence at the beginning of a string; `None` if there is none.
fn color_sequence(string: &str) -> Option<usize> {
    let parameters = string.strip_prefix("\x1b[")?;
    let rest = parameters.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
    let length = string.len() - rest.strip_prefix('m')?.len();
    (length <= 20).then_some(length)
}

/// A writer of JSON that expresses what a terminal would obey as `\u` escapes. Strings keep their
/// exact value.
struct Json<W>(W);

impl<W: Write> Write for Json<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_all(data)?;
        Ok(data.len())
    }

    fn write_all(&mut self, data: &[u8]) -> io::Result<()> {
        // JSON has control characters only as white space between tokens.
        if data.iter().fold(true, |all, b| all & (*b < 0x7f)) {
            return self.0.write_all(data);
        }
        let text = std::str::from_utf8(data)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let mut escaped = String::with_capacity(data.len() + 16);
        for c in text.chars() {
            if is_obeyed(c) && !c.is_ascii_whitespace() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    escaped.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                escaped.push(c);
            }
        }
        self.0.write_all(escaped.as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes a value as JSON without spaces. Control and format characters in strings become `\u`
/// escapes.
///
/// # Errors
///
/// Fails if the writer does, or the value cannot be expressed in JSON.
pub fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    // One check of the whole line is faster than one of each of the serializer's many small writes.
    let line = serde_json::to_vec(value).map_err(io::Error::from)?;
    Json(out).write_all(&line)
}

/// Writes a value as indented JSON. Otherwise the same as [`write_json`].
///
/// # Errors
///
/// Fails if the writer does, or the value cannot be expressed in JSON.
pub fn write_json_pretty(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(Json(out), value).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(data: &[u8], color: bool) -> String {
        let mut out = Vec::new();
        Text::new(&mut out, color).write_all(data).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_has_only_newlines_and_tabs() {
        assert_eq!(text(b"a\tb\nc", false), "a\tb\nc");
        assert_eq!(
            text("é\x1b[1m\r\u{9b}\u{202e}".as_bytes(), false),
            "é\\u{1b}[1m\\r\\u{9b}\\u{202e}"
        );
        assert_eq!(text(b"\xff\x7f\n", false), "\\xff\\u{7f}\n");
    }

    #[test]
    fn colors_pass_and_other_sequences_do_not() {
        assert_eq!(text(b"\x1b[1m\x1b[38;5;9mx\x1b[0m", true), "\x1b[1m\x1b[38;5;9mx\x1b[0m");
        assert_eq!(
            text(b"\x1b[2J\x1b]0;x\x07\x1b[1", true),
            "\\u{1b}[2J\\u{1b}]0;x\\u{7}\\u{1b}[1"
        );
    }

    #[test]
    fn json_keeps_strings_exact() {
        let value = "\x1b\"\u{7f}\u{9b}\u{202e}\u{e0041}\n\u{e9}";
        for pretty in [false, true] {
            let mut out = Vec::new();
            match pretty {
                false => write_json(&mut out, &[value]),
                true => write_json_pretty(&mut out, &[value]),
            }
            .unwrap();
            let out = String::from_utf8(out).unwrap();
            assert!(!out.replace('\n', "").contains(is_obeyed), "{out:?}");
            assert_eq!(serde_json::from_str::<Vec<String>>(&out).unwrap(), [value]);
        }
    }
}
