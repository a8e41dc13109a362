//! `usdt-gen`: see [`usdt_gen::cli`].

fn main() {
    std::process::exit(usdt_gen::cli::main());
}
