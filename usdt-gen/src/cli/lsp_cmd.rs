//! `usdt-gen lsp`: the language server, which editors start.

use super::command_error::CommandError;
use super::{Cli, generate_cmd};
use crate::language_server::{self, Settings};
use clap::{Args, Parser};
use cli_common::{FINDINGS, OK};
use std::io::{self, BufReader};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct LspArgs {
    /// Talk on standard input and output, as always; some editors pass this
    #[arg(long, hide = true)]
    stdio: bool,
}

pub(super) fn run(_: &LspArgs) -> Result<i32, CommandError> {
    let (input, mut output) = (io::stdin(), io::stdout());
    let shut_down = language_server::serve(&mut BufReader::new(input), &mut output, read_directive)
        .map_err(CommandError::bad_input)?;
    // The protocol demands this exit status if the editor did not send `shutdown`.
    Ok(if shut_down { OK } else { FINDINGS })
}

/// Reads the arguments of a `go:generate` line.
fn read_directive(words: &[String]) -> Option<(PathBuf, Settings)> {
    let cli = Cli::try_parse_from(words).ok()?;
    if cli.command.is_some() { None } else { generate_cmd::settings(cli.generate) }
}

#[cfg(test)]
mod tests {
    use super::read_directive;
    use std::path::{Path, PathBuf};

    #[test]
    fn reads_the_options_of_a_directive() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let line = "usdt-gen -DA -D B=2 -I include --package p -o gen probes.d";
        let (definition, settings) = read_directive(&words(line)).unwrap();
        assert_eq!(definition, Path::new("probes.d"));
        assert_eq!(settings.defines, ["A", "B=2"]);
        assert_eq!(settings.include_dirs, [Path::new("include")]);
        assert_eq!(settings.output, Some(PathBuf::from("gen")));
        for other in ["usdt-gen fmt probes.d", "usdt-gen", "usdt-gen --unknown probes.d"] {
            assert!(read_directive(&words(other)).is_none(), "{other}");
        }
    }
}
