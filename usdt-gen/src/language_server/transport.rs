//! Messages on a stream: a header with the length, an empty line, and JSON.

use lsp_server::{ErrorCode, Message};
use std::io::{self, BufRead, Read, Write};

/// The largest message in bytes. An editor sends a whole document in one.
const MAX_MESSAGE: u64 = 64 << 20;
/// The longest line of a header in bytes.
const MAX_HEADER_LINE: u64 = 4 << 10;
/// The largest number of lines of a header.
const MAX_HEADER_LINES: usize = 32;

/// Why the connection to the editor ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// Where the next message begins is unknown.
    #[error(
        "standard input is not a message from an editor: {0}; editors start this command, see docs/editors.md"
    )]
    Header(&'static str),
    /// Reading or writing failed.
    #[error("cannot talk to the editor: {0}")]
    Stream(#[from] io::Error),
}

/// What has been read.
#[derive(Debug)]
pub(super) enum Received {
    /// A message.
    Message(Message),
    /// A message that cannot be understood, and the problem. The next one can be read.
    Malformed(String),
}

/// Reads the next message. Returns `None` at the end of the input.
pub(super) fn read(input: &mut impl BufRead) -> Result<Option<Received>, TransportError> {
    let Some(length) = read_header(input)? else { return Ok(None) };
    if length > MAX_MESSAGE {
        io::copy(&mut input.take(length), &mut io::sink())?;
        let limit = MAX_MESSAGE >> 20;
        return Ok(Some(Received::Malformed(format!("the message has more than {limit} MiB"))));
    }
    let mut body = Vec::new();
    input.take(length).read_to_end(&mut body)?;
    if (body.len() as u64) < length {
        return Ok(None);
    }
    Ok(Some(match serde_json::from_slice(&body) {
        Ok(message) => Received::Message(message),
        Err(error) => Received::Malformed(format!("the message cannot be read: {error}")),
    }))
}

/// Reads a header and returns the length of the message. Returns `None` at the end of the input.
fn read_header(input: &mut impl BufRead) -> Result<Option<u64>, TransportError> {
    let mut length = None;
    for line_number in 0..MAX_HEADER_LINES {
        let mut line = Vec::new();
        input.take(MAX_HEADER_LINE).read_until(b'\n', &mut line)?;
        if line.is_empty() && line_number == 0 {
            return Ok(None);
        }
        let Some(line) = line.strip_suffix(b"\n") else {
            return Err(TransportError::Header("a line of the header does not end"));
        };
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if line.is_empty() {
            let missing = TransportError::Header("the header has no `Content-Length`");
            return length.map(Some).ok_or(missing);
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(TransportError::Header("a line of the header has no colon"));
        };
        if name.eq_ignore_ascii_case("Content-Length") {
            let value = value.trim().parse();
            let invalid = TransportError::Header("`Content-Length` is not a number");
            length = Some(value.map_err(|_| invalid)?);
        }
    }
    Err(TransportError::Header("the header does not end"))
}

/// Writes a message.
pub(super) fn write(output: &mut impl Write, message: &Message) -> Result<(), TransportError> {
    Ok(message.write(output)?)
}

/// Writes the answer to a message that cannot be understood, and therefore has no known id.
pub(super) fn write_parse_error(
    output: &mut impl Write,
    problem: &str,
) -> Result<(), TransportError> {
    let error = serde_json::json!({ "code": ErrorCode::ParseError as i32, "message": problem });
    let answer = serde_json::json!({ "jsonrpc": "2.0", "id": null, "error": error }).to_string();
    write!(output, "Content-Length: {}\r\n\r\n{answer}", answer.len())?;
    Ok(output.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(mut input: &[u8]) -> Result<Option<Received>, TransportError> {
        read(&mut input)
    }

    #[test]
    fn reads_messages_one_by_one() {
        let body = r#"{"jsonrpc":"2.0","method":"exit"}"#;
        let message = format!("content-length: {}\r\nContent-Type: x\r\n\r\n{body}", body.len());
        let twice = message.repeat(2);
        let mut input = twice.as_bytes();
        for _ in 0..2 {
            let Ok(Some(Received::Message(Message::Notification(exit)))) = read(&mut input) else {
                panic!("no message");
            };
            assert_eq!(exit.method, "exit");
        }
        assert!(read(&mut input).unwrap().is_none());
    }

    #[test]
    fn a_message_that_is_not_json_does_not_end_the_connection() {
        let mut input: &[u8] = b"Content-Length: 3\r\n\r\n{x}Content-Length: 2\r\n\r\n{}";
        for _ in 0..2 {
            assert!(matches!(read(&mut input), Ok(Some(Received::Malformed(_)))));
        }
    }

    #[test]
    fn skips_a_message_that_is_too_large() {
        let length = MAX_MESSAGE + 1;
        let header = format!("Content-Length: {length}\r\n\r\n");
        let mut input = header.as_bytes().chain(io::repeat(b' ').take(length));
        let mut input = io::BufReader::new(&mut input);
        let Ok(Some(Received::Malformed(problem))) = read(&mut input) else { panic!("read") };
        assert_eq!(problem, "the message has more than 64 MiB");
        assert!(read(&mut input).unwrap().is_none());
    }

    #[test]
    fn rejects_what_is_no_header() {
        for (input, problem) in [
            (&b"hello\n"[..], "no colon"),
            (b"Content-Length: 5", "does not end"),
            (b"Content-Length: -1\r\n\r\n", "not a number"),
            (b"\r\n", "no `Content-Length`"),
        ] {
            let error = received(input).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        let endless = b"a: b\r\n".repeat(MAX_HEADER_LINES + 1);
        assert!(received(&endless).unwrap_err().to_string().contains("header does not end"));
        let long = vec![b'a'; 1 << 20];
        assert!(received(&long).unwrap_err().to_string().contains("does not end"));
    }

    #[test]
    fn an_input_that_ends_within_a_message_is_the_end() {
        assert!(received(b"").unwrap().is_none());
        assert!(received(b"Content-Length: 18446744073709551615\r\n\r\n{").is_ok());
        assert!(received(b"Content-Length: 5\r\n\r\n{").unwrap().is_none());
    }
}
