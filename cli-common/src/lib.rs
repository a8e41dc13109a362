//! Code that `usdt-gen` and `usdt-attach` share: exit codes, colors, messages, output and shell
//! completions.

mod color;
mod completions;
mod exit;
mod messages;

pub use clap_complete::Shell;
pub use color::Color;
pub use completions::completions;
pub use exit::{BAD_INPUT, FINDINGS, OK, REFUSED};
pub use messages::{escape, escape_into, print, report_error, say, warn};
