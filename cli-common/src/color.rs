//! The option `--color`.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use std::io::IsTerminal;

/// The value of `--color`: when to color the output.
#[derive(Clone, Copy, Debug)]
pub enum Color {
    /// Color output on a terminal, unless `NO_COLOR` is set and not empty.
    Auto,
    /// Always color the output.
    Always,
    /// Never color the output.
    Never,
}

/// Not derived: with the variants' documentation, the help of every command would be six lines
/// longer.
impl ValueEnum for Color {
    fn value_variants<'a>() -> &'a [Color] {
        &[Color::Auto, Color::Always, Color::Never]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Color::Auto => "auto",
            Color::Always => "always",
            Color::Never => "never",
        }))
    }
}

impl Color {
    /// Returns true if the output to `stream` is to be colored.
    pub fn enabled(self, stream: &impl IsTerminal) -> bool {
        match self {
            Color::Always => true,
            Color::Never => false,
            // An empty value counts as unset (https://no-color.org).
            Color::Auto => {
                std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && stream.is_terminal()
            }
        }
    }
}
