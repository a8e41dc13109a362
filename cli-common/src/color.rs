//! When to use colors.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use std::io::IsTerminal;

/// The value of `--color`.
#[derive(Clone, Copy, Debug)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set to something.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// By hand: derived, the variants' documentation would make the help of every command six lines longer.
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
    /// Whether to color what is written to `stream`.
    pub fn enabled(self, stream: &impl IsTerminal) -> bool {
        match self {
            Color::Always => true,
            Color::Never => false,
            // https://no-color.org: an empty value counts as unset.
            Color::Auto => {
                std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && stream.is_terminal()
            }
        }
    }
}
