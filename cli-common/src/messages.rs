//! Messages on standard error and results on standard output.
//!
//! Every message passes [`say`] or one of the functions that call it. They are the last line of
//! defense against escape sequences in names of files and probes: clippy forbids other ways to
//! standard error (`clippy.toml`). Strings of a target are escaped before that, by the type
//! [`Escaped`](stapsdt::escape::Escaped).
#![allow(clippy::disallowed_methods)] // the only module that writes to standard error

use crate::Color;
use crate::writers::Text;
use clap::error::{ContextKind, ContextValue};
use stapsdt::escape::{escape_line, escape_lines};
use std::fmt::Display;
use std::io::{self, Write};

/// Prints a message to standard error. It may have several lines. Control and format characters are
/// escaped.
pub fn say(message: &str) {
    say_colored(message, false);
}

/// Prints a message that may contain color sequences, which are kept if `color` is true.
pub fn say_colored(message: &str, color: bool) {
    // If standard error is closed, there is no place to report that. One write keeps the lines of
    // several processes apart.
    let mut line = Vec::with_capacity(message.len() + 1);
    let _ = writeln!(Text::new(&mut line, color), "{message}");
    let _ = io::stderr().write_all(&line);
}

/// Prints warnings to standard error, one line each.
pub fn warn(warnings: impl IntoIterator<Item = impl Display>) {
    for warning in warnings {
        say(&format!("warning: {}", escape_line(&warning.to_string())));
    }
}

/// Prints the error message with which a program exits, with a red prefix if `color` is true.
pub fn report_error(message: &str, color: bool) {
    let prefix = if color { "\x1b[1m\x1b[91merror:\x1b[0m" } else { "error:" };
    // The message itself has no colors.
    say_colored(&format!("{prefix} {}", escape_lines(message)), color);
}

/// Prints the result of parsing the command line, which is an error, a help page or the version,
/// and returns the exit code.
pub fn report_usage(mut error: clap::Error) -> i32 {
    if !error.use_stderr() {
        // If the output is closed, there is no place to report that.
        let _ = error.print();
        return error.exit_code();
    }
    escape_arguments(&mut error);
    let color = Color::Auto.enabled(&io::stderr());
    let rendered = error.render();
    let message = if color { rendered.ansi().to_string() } else { rendered.to_string() };
    say_colored(message.trim_end_matches('\n'), color);
    error.exit_code()
}

/// Escapes the arguments that an error quotes. A script may have passed names of others.
fn escape_arguments(error: &mut clap::Error) {
    let escaped = |argument: &String| escape_line(argument).into_owned();
    let context: Vec<(ContextKind, ContextValue)> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(one) => Some((kind, ContextValue::String(escaped(one)))),
            ContextValue::Strings(all) => {
                Some((kind, ContextValue::Strings(all.iter().map(escaped).collect())))
            }
            _ => None,
        })
        .collect();
    for (kind, value) in context {
        error.insert(kind, value);
    }
}

/// Returns whether to color messages.
pub fn color_messages(color: Color) -> bool {
    color.enabled(&io::stderr())
}

/// A line on standard error that is overwritten, such as the progress of a step. Does nothing unless
/// standard error is a terminal.
#[derive(Debug)]
pub struct StatusLine {
    is_shown: bool,
}

impl StatusLine {
    /// Returns a line that is not shown yet; `None` if standard error is not a terminal.
    pub fn new() -> Option<StatusLine> {
        use io::IsTerminal as _;
        io::stderr().is_terminal().then_some(StatusLine { is_shown: false })
    }

    /// Shows a string in place of the last one.
    pub fn show(&mut self, line: &str) {
        // If standard error is closed, there is no place to report that.
        let _ = write!(io::stderr(), "\r{}", escape_line(line));
        self.is_shown = true;
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Writes data to standard output as it is. A closed pipe is not an error.
///
/// Text for people goes through [`print_text`] instead.
///
/// # Errors
///
/// Returns the system's error if standard output cannot be written to.
pub fn print(data: &[u8]) -> io::Result<()> {
    unless_closed(io::stdout().lock().write_all(data))
}

/// Writes text to standard output. Control and format characters are escaped, except for newlines,
/// tabs and, if `color` is true, color sequences. A closed pipe is not an error.
///
/// # Errors
///
/// Returns the system's error if standard output cannot be written to.
pub fn print_text(text: &str, color: bool) -> io::Result<()> {
    unless_closed(Text::new(io::stdout().lock(), color).write_all(text.as_bytes()))
}

fn unless_closed(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
