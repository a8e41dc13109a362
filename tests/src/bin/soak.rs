//! Runs the soak test: `soak MINUTES`.

use std::time::Duration;

fn main() {
    let minutes = std::env::args().nth(1).and_then(|minutes| minutes.parse::<f64>().ok());
    let result = match minutes.map(|minutes| Duration::try_from_secs_f64(60.0 * minutes)) {
        Some(Ok(duration)) => usdt_e2e::soak::run(duration),
        _ => Err("usage: soak MINUTES".to_owned()),
    };
    if let Err(problem) = result {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}
