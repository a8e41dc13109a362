//! The `usdt-attach` program. Everything it does is in the library of this crate.

fn main() {
    std::process::exit(usdt_attach_cli::commands::main());
}
