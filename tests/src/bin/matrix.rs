//! Runs the cells of the compatibility matrix whose names contain all given words, or every cell
//! without arguments. With `targets` as the first word, runs the combinations of environments,
//! selections and files instead; with `functions`, compares values of functions with Delve; with
//! `injected`, builds a large service and other tools' builds with injected probes.

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.split_first() {
        Some((first, rest)) if first == "targets" => usdt_e2e::targets::run(rest),
        Some((first, rest)) if first == "functions" => usdt_e2e::oracle::run(rest),
        Some((first, rest)) if first == "injected" => usdt_e2e::injected::run(rest),
        _ => usdt_e2e::matrix::run(&words),
    };
    if let Err(problem) = result {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}
