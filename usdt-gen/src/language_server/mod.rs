//! A language server for definitions: `usdt-gen lsp`, which editors start.
//!
//! It speaks the Language Server Protocol 3.17 on standard input and output. One thread reads a
//! message, answers it, and reads the next, because parsing a definition takes milliseconds.
//!
//! * `transport` reads and writes messages.
//! * `server` keeps the open documents and answers messages. It does no input and output but for
//!   reading the files around a document.
//! * `document` is an open document with its last analysis, `project` what the files next to it
//!   tell: the options of the `go:generate` line.
//! * `text` converts positions, `uri` names of files.
//! * The other modules have a feature each.

mod completion;
mod definition;
mod diagnostics;
mod document;
mod formatting;
mod hover;
mod project;
mod server;
mod symbols;
mod text;
mod transport;
mod uri;

pub(crate) use project::{GENERATOR_SCRIPT, ReadDirective, Settings};

use server::Server;
use std::io::{BufRead, Write};
use transport::{Received, TransportError};

/// Serves an editor until it says `exit` or closes the input. Returns true if it said `shutdown`
/// before, as the protocol demands.
///
/// # Errors
///
/// Returns an error if the input cannot be split into messages, or if reading or writing fails.
pub(crate) fn serve(
    input: &mut impl BufRead,
    output: &mut impl Write,
    read_directive: ReadDirective,
) -> Result<bool, TransportError> {
    let mut server = Server::new(read_directive);
    while let Some(received) = transport::read(input)? {
        match received {
            Received::Message(message) => {
                for answer in server.handle(message) {
                    transport::write(output, &answer)?;
                }
            }
            Received::Malformed(problem) => transport::write_parse_error(output, &problem)?,
        }
        if server.has_exited() {
            break;
        }
    }
    Ok(server.has_shut_down())
}

#[cfg(test)]
mod tests;
