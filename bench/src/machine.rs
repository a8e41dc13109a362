//! What the machine is, and whether it is quiet enough.

use std::fs::read_to_string;
use std::process::Command;
use std::time::{Duration, Instant};

/// Share of the processors that others, or other guests of the host, may use.
const MOST_BUSY: f64 = 0.1;
/// How much longer than the median one in ten pieces of the same work may take.
const MOST_UNEVEN: f64 = 1.35;

/// What figures depend on.
pub(crate) fn traits() -> String {
    let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or(" unknown processor");
    let said = |program: &str, arg: &str| {
        Command::new(program)
            .arg(arg)
            .output()
            .map(|out| usdt_e2e::text(&out.stdout))
            .unwrap_or_default()
    };
    let memory = read_to_string("/proc/meminfo").unwrap_or_default();
    let memory: u64 =
        memory.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0);
    format!(
        "{}, {} cores, {} GiB, Linux {}, {}",
        model.trim_start_matches([':', '\t', ' ']),
        cores(),
        memory.div_ceil(1 << 20),
        said("uname", "-r").trim(),
        said("go", "version").trim().trim_start_matches("go version ")
    )
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Fails on a machine on which measuring makes no sense, and says why.
pub(crate) fn must_be_quiet() -> Result<(), String> {
    const TRIES: usize = 5;
    let mut why = String::new();
    for _ in 0..TRIES {
        match quiet() {
            Ok(()) => return Ok(()),
            Err(problem) => why = problem,
        }
        std::thread::sleep(Duration::from_secs(3));
    }
    Err(format!(
        "the machine is too noisy to measure: {why}; end what runs beside, or take another machine"
    ))
}

fn quiet() -> Result<(), String> {
    let before = busy().ok_or("/proc/stat cannot be read")?;
    std::thread::sleep(Duration::from_secs(1));
    let after = busy().ok_or("/proc/stat cannot be read")?;
    let share = (after.0 - before.0) / (after.1 - before.1).max(1.0);
    if share > MOST_BUSY {
        return Err(format!("{:.0} % of the processors' time is used already", 100.0 * share));
    }
    let mut pieces = [(); 60].map(|()| work());
    pieces.sort_by(f64::total_cmp);
    let uneven = pieces[pieces.len() * 9 / 10] / pieces[pieces.len() / 2];
    if uneven > MOST_UNEVEN {
        return Err(format!(
            "one in ten pieces of the same work takes {uneven:.1} times its median"
        ));
    }
    Ok(())
}

/// Time that the processors were not idle, and all time, in ticks: `proc_stat(5)`.
fn busy() -> Option<(f64, f64)> {
    let stat = read_to_string("/proc/stat").ok()?;
    let fields: Vec<f64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    let all: f64 = fields.iter().take(8).sum();
    Some((all - fields.get(3)? - fields.get(4)?, all))
}

/// A few milliseconds of arithmetic, in seconds.
fn work() -> f64 {
    let begin = Instant::now();
    let mut state = 1u64;
    for _ in 0..2_000_000 {
        state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    begin.elapsed().as_secs_f64()
}
