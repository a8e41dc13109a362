//! Shell completions.

use clap_complete::Shell;

/// Returns the completion script of a command for a shell.
pub fn completions(command: &mut clap::Command, shell: Shell) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    script
}
