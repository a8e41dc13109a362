//! Interleaved benchmarks: a disturbance of the machine affects all of them.

use crate::results::Row;
use std::sync::atomic::{AtomicBool, Ordering};

/// True if the figures are not wanted, only that every benchmark runs.
static IS_QUICK: AtomicBool = AtomicBool::new(false);

/// Makes all further benchmarks run once after they have warmed up.
pub(crate) fn be_quick() {
    IS_QUICK.store(true, Ordering::Relaxed);
}

/// Returns the number of rounds to run instead of `count`.
pub(crate) fn rounds(count: usize) -> usize {
    if IS_QUICK.load(Ordering::Relaxed) { 1 } else { count }
}

/// Measures once and returns a value for each column.
pub(crate) type Measure<'a> = Box<dyn FnMut() -> Result<Vec<f64>, String> + 'a>;

/// A benchmark: one row of a table.
pub(crate) struct Benchmark<'a> {
    name: String,
    size: Option<f64>,
    measure: Measure<'a>,
}

impl<'a> Benchmark<'a> {
    pub(crate) fn new(
        name: impl Into<String>,
        measure: impl FnMut() -> Result<Vec<f64>, String> + 'a,
    ) -> Benchmark<'a> {
        Benchmark { name: name.into(), size: None, measure: Box::new(measure) }
    }

    pub(crate) fn with_size(mut self, size: usize) -> Benchmark<'a> {
        self.size = Some(size as f64);
        self
    }
}

/// Runs every benchmark once in each of `count` rounds, in rotating order. An additional first
/// round warms up and is not recorded.
pub(crate) fn run_rounds(
    count: usize,
    mut benchmarks: Vec<Benchmark<'_>>,
) -> Result<Vec<Row>, String> {
    let mut rows: Vec<Row> = benchmarks
        .iter()
        .map(|b| Row { name: b.name.clone(), size: b.size, samples: Vec::new() })
        .collect();
    let (all, count) = (benchmarks.len(), rounds(count));
    for round in 0..=count {
        for turn in 0..all {
            let index = (round + turn) % all;
            let (Some(benchmark), Some(row)) = (benchmarks.get_mut(index), rows.get_mut(index))
            else {
                continue;
            };
            let values = (benchmark.measure)()
                .map_err(|problem| format!("{}: {problem}", benchmark.name))?;
            if round == 0 {
                row.samples = vec![Vec::with_capacity(count); values.len()];
                continue;
            }
            row.samples.iter_mut().zip(values).for_each(|(samples, value)| samples.push(value));
        }
        eprint!("\r{round}/{count} rounds");
    }
    eprintln!();
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn runs_every_benchmark_in_every_round_with_rotating_order() {
        let order = RefCell::new(String::new());
        let benchmark = |name: &'static str| {
            let order = &order;
            Benchmark::new(name, move || {
                order.borrow_mut().push_str(name);
                Ok(vec![order.borrow().len() as f64, 0.0])
            })
        };
        let rows = run_rounds(2, vec![benchmark("a"), benchmark("b")]).unwrap();
        assert_eq!(*order.borrow(), "abbaab");
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].samples, [[4.0, 5.0], [0.0, 0.0]]);
        assert_eq!(rows[1].samples[0], [3.0, 6.0]);
    }

    #[test]
    fn names_the_benchmark_that_fails() {
        let fails = Benchmark::new("bad", || Err("broken".to_owned()));
        assert_eq!(run_rounds(1, vec![fails]).unwrap_err(), "bad: broken");
    }
}
