//! Runs the cells of the compatibility matrix whose names contain all given words, or every cell
//! without arguments.

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Err(problem) = usdt_e2e::matrix::run(&words) {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}
