//! The cost of a hit with an empty BPF program on this machine.

use gobinary::symbol_pattern::FunctionPattern;
use std::thread::JoinHandle;
use usdt_attach::error::Result;
use usdt_attach::kernel::measure_hit_costs;
use usdt_attach::plan::Method;

/// Nanoseconds per hit, measured once for each attach method.
#[derive(Default)]
pub(crate) struct HitCosts {
    known: Vec<(Method, f64)>,
    measuring: Option<JoinHandle<Result<[f64; 2]>>>,
}

/// What function probes are attached by: entries, and returns.
const FUNCTION_METHODS: [Method; 2] = [Method::Push, Method::SingleStep];

impl HitCosts {
    /// Begins to measure what the globs will need, while their probes are searched.
    pub(crate) fn start_for(globs: &[String]) -> HitCosts {
        let has_functions = globs.iter().any(|glob| FunctionPattern::parse(glob).is_some());
        let measure = || measure_hit_costs(FUNCTION_METHODS);
        let thread = || std::thread::Builder::new().name("usdt-hit-cost".into()).spawn(measure);
        HitCosts {
            known: Vec::new(),
            measuring: has_functions.then(thread).and_then(std::result::Result::ok),
        }
    }

    /// Returns the nanoseconds of a method.
    pub(crate) fn of(&mut self, method: Method) -> Result<f64> {
        // A thread that failed is followed by another try here, which reports why.
        if let Some(Ok(Ok(measured))) = self.measuring.take().map(JoinHandle::join) {
            self.known.extend(FUNCTION_METHODS.into_iter().zip(measured));
        }
        if let Some((_, ns)) = self.known.iter().find(|(known, _)| *known == method) {
            return Ok(*ns);
        }
        let [ns] = measure_hit_costs([method])?;
        self.known.push((method, ns));
        Ok(ns)
    }
}
