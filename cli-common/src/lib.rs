//! Code that `usdt-gen` and `usdt-attach` share: exit codes, colors, messages, output and shell
//! completions.

mod color;
mod completions;
mod exit;
mod messages;
mod writers;

pub use clap_complete::Shell;
pub use color::Color;
pub use completions::completions;
pub use exit::{BAD_INPUT, FINDINGS, OK, REFUSED};
pub use messages::{
    StatusLine, color_messages, print, print_text, report_error, report_usage, say, say_colored,
    warn,
};
pub use stapsdt::escape::escape_into;
pub use writers::{Text, write_json, write_json_pretty};

/// Returns a string that is safe to print on a terminal, see [`Escaped`](stapsdt::escape::Escaped).
///
/// ```
/// assert_eq!(cli_common::escape(b"\x1b[31m"), "\\u{1b}[31m");
/// ```
pub fn escape(bytes: &[u8]) -> String {
    stapsdt::escape::Escaped::bytes(bytes).to_string()
}
