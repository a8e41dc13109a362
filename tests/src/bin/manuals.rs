//! Writes manual pages and shell completions for packages: `manuals FOLDER`.

use clap_complete::Shell;
use std::io;
use std::path::Path;

fn main() -> io::Result<()> {
    let folder =
        std::env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: manuals FOLDER"))?;
    let folder = Path::new(&folder);
    let man = folder.join("man1");
    std::fs::create_dir_all(&man)?;
    for command in [usdt_gen::cli::command(), usdt_attach_cli::commands::command()] {
        clap_mangen::generate_to(command.clone(), &man)?;
        for (shell, place) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
            let (name, mut command) = (command.get_name().to_owned(), command.clone());
            let place = folder.join(place);
            std::fs::create_dir_all(&place)?;
            let file = clap_complete::generate_to(shell, &mut command, &name, &place)?;
            if shell == Shell::Bash {
                // bash-completion looks for a file that is named exactly like the command.
                std::fs::rename(file, place.join(name))?;
            }
        }
    }
    Ok(())
}
