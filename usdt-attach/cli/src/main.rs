//! `usdt-attach`: see [`usdt_attach::cli`].

fn main() {
    std::process::exit(usdt_attach::cli::main());
}
