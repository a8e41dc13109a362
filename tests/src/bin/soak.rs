//! Runs the soak test: `soak MINUTES`; next to hostile neighbors: `soak hostile MINUTES`; of function
//! probes: `soak functions MINUTES`.

use std::time::Duration;

fn main() {
    let mut args = std::env::args().skip(1).peekable();
    let mode = args.next_if(|arg| arg == "hostile" || arg == "functions");
    let minutes = args.next().and_then(|minutes| minutes.parse::<f64>().ok());
    let duration = minutes.and_then(|minutes| Duration::try_from_secs_f64(60.0 * minutes).ok());
    let result = match (duration, mode.as_deref()) {
        (Some(duration), Some("hostile")) => usdt_e2e::soak::hostile::run(duration),
        (Some(duration), Some(_)) => usdt_e2e::soak::functions::run(duration),
        (Some(duration), None) => usdt_e2e::soak::run(duration),
        (None, _) => Err("usage: soak [hostile|functions] MINUTES".to_owned()),
    };
    if let Err(problem) = result {
        eprintln!("{problem}");
        std::process::exit(1);
    }
}
