//! Runs the soak test: `soak MINUTES`; next to hostile neighbors: `soak hostile MINUTES`.

use std::time::Duration;

fn main() {
    let mut args = std::env::args().skip(1).peekable();
    let is_hostile = args.next_if(|arg| arg == "hostile").is_some();
    let minutes = args.next().and_then(|minutes| minutes.parse::<f64>().ok());
    let result = match minutes.map(|minutes| Duration::try_from_secs_f64(60.0 * minutes)) {
        Some(Ok(duration)) if is_hostile => usdt_e2e::soak::hostile::run(duration),
        Some(Ok(duration)) => usdt_e2e::soak::run(duration),
        _ => Err("usage: soak [hostile] MINUTES".to_owned()),
    };
    if let Err(problem) = result {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}
