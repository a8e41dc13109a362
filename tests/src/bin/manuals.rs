//! Writes manual pages and shell completions below `FOLDER` as packages install them: `manuals
//! FOLDER`.

use clap_complete::Shell;
use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let folder =
        std::env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: manuals FOLDER"))?;
    let share = Path::new(&folder).join("usr/share");
    let man = share.join("man/man1");
    std::fs::create_dir_all(&man)?;
    for command in [usdt_gen::cli::command(), usdt_attach_cli::commands::command()] {
        clap_mangen::generate_to(command.clone(), &man)?;
        for (shell, place) in [
            (Shell::Bash, "bash-completion/completions"),
            (Shell::Zsh, "zsh/vendor-completions"),
            (Shell::Fish, "fish/vendor_completions.d"),
        ] {
            let (name, mut command) = (command.get_name().to_owned(), command.clone());
            std::fs::create_dir_all(share.join(place))?;
            let file = clap_complete::generate_to(shell, &mut command, &name, share.join(place))?;
            if shell == Shell::Bash {
                // Debian expects the file to be named exactly like the command.
                std::fs::rename(file, share.join(place).join(name))?;
            }
        }
    }
    Ok(())
}
