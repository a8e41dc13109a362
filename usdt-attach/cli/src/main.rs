//! The `usdt-attach` program. Everything it does is in the library of this crate.

fn main() {
    let code = usdt_attach_cli::commands::main();
    // A thread may still be detaching from this program, where it has measured the cost of a hit.
    usdt_attach::kernel::site_changes::stop();
    std::process::exit(code);
}
