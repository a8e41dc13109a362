//! Runs the cells of the compatibility matrix whose names hold the words given, all of them without any.

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Err(problem) = usdt_e2e::matrix::run(&words) {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}
