//! The `usdt-attach` program: see the crate.

fn main() {
    std::process::exit(usdt_attach_cli::commands::main());
}
