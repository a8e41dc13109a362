//! Describes the machine and checks that it is quiet enough to measure.

use std::fs::read_to_string;
use std::process::Command;
use std::time::{Duration, Instant};

/// Highest share of CPU time that other processes or guests of the host may use.
const MAX_BUSY_SHARE: f64 = 0.1;
/// Highest ratio of the 90th percentile to the median of equal pieces of work.
const MAX_UNEVENNESS: f64 = 1.35;

/// Describes what the figures depend on: CPU, memory, kernel and Go release.
pub(crate) fn description() -> String {
    let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or(" unknown processor");
    let output_of = |program: &str, arg: &str| {
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
        output_of("uname", "-r").trim(),
        output_of("go", "version").trim().trim_start_matches("go version ")
    )
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Fails if the machine is too noisy to measure, and says why.
pub(crate) fn require_quiet() -> Result<(), String> {
    const TRIES: usize = 5;
    let mut why = String::new();
    for _ in 0..TRIES {
        match check_quiet() {
            Ok(()) => return Ok(()),
            Err(problem) => why = problem,
        }
        std::thread::sleep(Duration::from_secs(3));
    }
    Err(format!(
        "the machine is too noisy to measure: {why}; stop other processes or use another machine"
    ))
}

/// Fails if the machine is noisy at present, and says why.
pub(crate) fn check_quiet() -> Result<(), String> {
    let before = cpu_ticks().ok_or("/proc/stat cannot be read")?;
    std::thread::sleep(Duration::from_secs(1));
    let after = cpu_ticks().ok_or("/proc/stat cannot be read")?;
    let share = (after.busy - before.busy) / (after.total - before.total).max(1.0);
    if share > MAX_BUSY_SHARE {
        return Err(format!("other processes use {:.0} % of the CPU time", 100.0 * share));
    }
    let mut pieces = [(); 60].map(|()| time_of_work());
    pieces.sort_by(f64::total_cmp);
    let unevenness = pieces[pieces.len() * 9 / 10] / pieces[pieces.len() / 2];
    if unevenness > MAX_UNEVENNESS {
        return Err(format!(
            "the 90th percentile of equal pieces of work is {unevenness:.1} times their median"
        ));
    }
    Ok(())
}

/// CPU time of all CPUs in ticks, see proc_stat(5).
struct CpuTicks {
    busy: f64,
    total: f64,
}

fn cpu_ticks() -> Option<CpuTicks> {
    let stat = read_to_string("/proc/stat").ok()?;
    let fields: Vec<f64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    let total: f64 = fields.iter().take(8).sum();
    let idle = fields.get(3)? + fields.get(4)?;
    Some(CpuTicks { busy: total - idle, total })
}

/// Does a few milliseconds of arithmetic and returns the seconds that it took.
fn time_of_work() -> f64 {
    let begin = Instant::now();
    let mut state = 1u64;
    for _ in 0..2_000_000 {
        state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    begin.elapsed().as_secs_f64()
}
