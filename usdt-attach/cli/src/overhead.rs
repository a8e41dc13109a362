//! Measures the overhead of tracing: hits per second, nanoseconds per hit, and the share of a CPU.
//!
//! The cost of a hit has two parts. The kernel's path to the BPF program is measured on a probe
//! site in this process. The run time of the BPF program is measured by the kernel.

use crate::hit_costs::HitCosts;
use serde::Serialize;
use std::time::{Duration, Instant};
use usdt_attach::backend::Backend;
use usdt_attach::discover::select::Selected;
use usdt_attach::error::Result;
use usdt_attach::kernel::BpfStatsGuard;
use usdt_attach::plan::NopOptimization;
use usdt_attach::plan::{Method, Options, Plan};
use usdt_attach::session::Session;

/// Measures each probe of a target with a session of its own.
pub(crate) struct CostMeter {
    probes: Vec<MeasuredProbe>,
    started: Instant,
    /// The maximum share of a CPU that a probe may take, 1 for all of it; `None` sets no limit.
    budget: Option<f64>,
    /// Keeps the kernel measuring run times of BPF programs.
    _stats: BpfStatsGuard,
}

struct MeasuredProbe {
    /// Attached to this probe only.
    session: Session,
    /// Nanoseconds per hit with an empty BPF program, at the most expensive of its sites.
    empty_program_ns: f64,
    /// When the probe was detached because it was over budget; `None` while it is attached.
    detached_at: Option<Instant>,
    /// The start of the period for which the rate is computed next.
    period_start: RatePeriod,
}

/// The beginning of a period, and the hits up to then.
#[derive(Clone, Copy)]
struct RatePeriod {
    hits: u64,
    begin: Instant,
}

/// The overhead of one probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ProbeCost {
    /// Provider name.
    pub(crate) provider: String,
    /// Probe name.
    pub(crate) probe: String,
    /// The number of its sites.
    pub(crate) sites: usize,
    /// The attach method of its most expensive site.
    pub(crate) method: Method,
    /// Hits since the probe was attached.
    pub(crate) hits: u64,
    /// Hits per second, on average.
    pub(crate) hits_per_second: f64,
    /// Nanoseconds that tracing adds to each hit.
    pub(crate) ns_per_hit: f64,
    /// The share of one CPU's time that tracing takes, 1 for all of it.
    pub(crate) cpu_share: f64,
    /// Whether the probe has been detached because it was over budget.
    pub(crate) over_budget: bool,
    /// Why it costs more than necessary; `None` if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remark: Option<&'static str>,
}

impl CostMeter {
    /// Attaches to each probe with a session of its own, with the options of `trace`.
    ///
    /// `budget` is the maximum share of a CPU that a probe may take. Returns the meter and the
    /// warnings about probes that could not be attached to.
    pub(crate) fn start(
        selected: &[Selected],
        options: &Options,
        backend: &dyn Backend,
        budget: Option<f64>,
    ) -> Result<(CostMeter, Vec<String>)> {
        /// A small buffer, because each probe has one and the records are discarded.
        const BUFFER_BYTES: u32 = 1 << 20;
        let stats = BpfStatsGuard::start()?;
        let options = Options { buffer: BUFFER_BYTES, ..options.clone() };
        let mut names: Vec<(&str, &str)> = Vec::new();
        for one in selected {
            let name = (one.probe.provider.as_str(), one.probe.name.as_str());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let (mut probes, mut all_warnings) = (Vec::new(), Vec::new());
        let mut first_error = None;
        let mut hit_costs = HitCosts::default();
        for (provider, name) in names {
            let sites: Vec<Selected> = selected
                .iter()
                .filter(|s| s.probe.provider == provider && s.probe.name == name)
                .cloned()
                .collect();
            let (plan, warnings) = match Plan::new(&sites, &options) {
                Ok(planned) => planned,
                Err(error) => {
                    all_warnings.push(format!("{error:#}"));
                    first_error = first_error.or(Some(error));
                    continue;
                }
            };
            all_warnings.extend(warnings.iter().map(ToString::to_string));
            let empty_program_ns = hit_costs.of(most_expensive_method(&plan))?;
            let session = Session::start(plan, backend)?;
            let period_start = RatePeriod { hits: 0, begin: Instant::now() };
            probes.push(MeasuredProbe {
                session,
                empty_program_ns,
                detached_at: None,
                period_start,
            });
        }
        if let (true, Some(error)) = (probes.is_empty(), first_error) {
            return Err(error);
        }
        Ok((CostMeter { probes, started: Instant::now(), budget, _stats: stats }, all_warnings))
    }

    /// Discards the records, and detaches probes that are over budget. Call it every few
    /// milliseconds, before the buffers are full.
    pub(crate) fn poll(&mut self) -> Result<()> {
        /// The minimum time for which a rate is computed, so that a short burst is not over budget.
        const MIN_PERIOD: Duration = Duration::from_millis(200);
        for probe in &mut self.probes {
            while probe.session.drain(|_| {})? {}
            let Some(budget) = self.budget.filter(|_| probe.detached_at.is_none()) else {
                continue;
            };
            let RatePeriod { hits: hits_before, begin } = probe.period_start;
            if begin.elapsed() < MIN_PERIOD {
                continue;
            }
            let hits = probe.session.summary()?.hits;
            let rate = (hits - hits_before) as f64 / begin.elapsed().as_secs_f64();
            if rate * probe.ns_per_hit()? / 1e9 > budget {
                probe.detached_at = Some(Instant::now());
                // Detaches, but keeps the BPF programs, whose run times `costs` reads.
                Session::start_detaching([&mut probe.session]);
            }
            probe.period_start = RatePeriod { hits, begin: Instant::now() };
        }
        Ok(())
    }

    /// The cost of each probe so far, the most expensive first.
    pub(crate) fn costs(&self) -> Result<Vec<ProbeCost>> {
        let mut out = Vec::new();
        for probe in &self.probes {
            let hits = probe.session.summary()?.hits;
            let until = probe.detached_at.unwrap_or_else(Instant::now);
            let seconds = until.duration_since(self.started).as_secs_f64().max(1e-9);
            let (hits_per_second, ns_per_hit) = (hits as f64 / seconds, probe.ns_per_hit()?);
            let plan = probe.session.plan();
            let Some(name) = plan.probes().first() else { continue };
            let (method, sites) = (most_expensive_method(plan), plan.sites());
            let can_optimize = NopOptimization::detect() != NopOptimization::None;
            let remark = match method {
                Method::SingleStep => Some("not on a NOP: each hit is single-stepped"),
                Method::Nop
                    if can_optimize && sites.iter().any(|s| s.stub && s.method == Method::Nop) =>
                {
                    Some("the site crosses a page: each hit traps")
                }
                _ => None,
            };
            out.push(ProbeCost {
                provider: name.provider.clone(),
                probe: name.name.clone(),
                sites: sites.len(),
                method,
                hits,
                hits_per_second,
                ns_per_hit,
                cpu_share: hits_per_second * ns_per_hit / 1e9,
                over_budget: probe.detached_at.is_some(),
                remark,
            });
        }
        out.sort_by(|a, b| b.cpu_share.total_cmp(&a.cpu_share));
        Ok(out)
    }
}

impl MeasuredProbe {
    /// The cost of a hit in nanoseconds, with the average run time of the BPF program so far.
    fn ns_per_hit(&self) -> Result<f64> {
        Ok(self.empty_program_ns + self.session.mean_run_time_ns()?.unwrap_or(0.0))
    }
}

/// The attach method of the plan's most expensive site.
fn most_expensive_method(plan: &Plan) -> Method {
    let rank = |method: &Method| match method {
        Method::OptimizedNop10 => 0,
        Method::OptimizedNop5 => 1,
        Method::Nop => 2,
        Method::Push => 3,
        Method::Branch => 4,
        Method::SingleStep => 5,
    };
    plan.sites().into_iter().map(|s| s.method).max_by_key(rank).unwrap_or(Method::Nop)
}
