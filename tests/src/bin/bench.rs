//! Measures the parts that are named, all of them without any: `bench [PART...]`.

fn main() {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    if let Err(problem) = usdt_e2e::bench::run(&parts) {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}
