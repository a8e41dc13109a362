//! The `usdt-gen` command. The implementation is in [`usdt_gen::cli`].

fn main() {
    std::process::exit(usdt_gen::cli::main());
}
