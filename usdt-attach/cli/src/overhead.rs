//! What tracing costs the traced program: hits a second, nanoseconds a hit, share of a CPU.
//!
//! A hit costs what the kernel does to get to the program, which is measured on a site of this program's own, and
//! what the program takes, which the kernel measures.

use serde::Serialize;
use std::time::{Duration, Instant};
use usdt_attach::backend::Backend;
use usdt_attach::discover::select::Selected;
use usdt_attach::error::Result;
use usdt_attach::kernel::{BpfStatsGuard, measure_hit_cost};
use usdt_attach::plan::NopOptimization;
use usdt_attach::plan::{Method, Options, Plan};
use usdt_attach::session::Session;

/// Every probe of a target, each attached by itself.
pub(crate) struct CostMeter {
    probes: Vec<MeasuredProbe>,
    started: Instant,
    /// Most of a CPU that a probe may take.
    budget: Option<f64>,
    _times: BpfStatsGuard,
}

struct MeasuredProbe {
    /// Attached to this probe only.
    session: Session,
    /// Nanoseconds per hit with an empty BPF program, at the most expensive of its sites.
    empty_program_ns: f64,
    /// When it was stopped.
    ended: Option<Instant>,
    over_budget: bool,
    /// Hits and time when the rate was last computed.
    last: (u64, Instant),
}

/// The overhead of one probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ProbeCost {
    /// Provider name.
    pub provider: String,
    /// Probe name.
    pub probe: String,
    /// Places in the code.
    pub sites: usize,
    /// The attach method of its most expensive site.
    pub method: Method,
    /// Hits so far.
    pub hits: u64,
    /// Hits a second.
    pub hits_per_second: f64,
    /// Nanoseconds that a hit takes longer than without a tracer.
    pub ns_per_hit: f64,
    /// Part of one CPU's time that goes there, 1 for all of it.
    pub cpu_share: f64,
    /// It was over the budget, and the probe has been detached.
    pub over_budget: bool,
    /// Why it costs more than necessary; `None` if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<&'static str>,
}

impl CostMeter {
    /// Attaches to every probe by itself, as tracing does it. `budget` is the most of a CPU that one may take.
    pub(crate) fn start(
        selected: &[Selected],
        options: &Options,
        backend: &dyn Backend,
        budget: Option<f64>,
    ) -> Result<(CostMeter, Vec<String>)> {
        /// Many sessions have buffers; their records are thrown away.
        const BUFFER: u32 = 1 << 20;
        let times = BpfStatsGuard::start()?;
        let options = Options { buffer: BUFFER, ..options.clone() };
        let mut names: Vec<(&str, &str)> = Vec::new();
        for one in selected {
            let name = (one.probe.provider.as_str(), one.probe.name.as_str());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let (mut probes, mut all_warnings) = (Vec::new(), Vec::new());
        let mut by_method: Vec<(Method, f64)> = Vec::new();
        let mut reason = None;
        for (provider, name) in names {
            let own: Vec<Selected> = selected
                .iter()
                .filter(|s| s.probe.provider == provider && s.probe.name == name)
                .cloned()
                .collect();
            let (plan, warnings) = match Plan::new(&own, &options) {
                Ok(made) => made,
                Err(error) => {
                    all_warnings.push(format!("{error:#}"));
                    reason = reason.or(Some(error));
                    continue;
                }
            };
            all_warnings.extend(warnings.iter().map(ToString::to_string));
            let method = most_expensive_method(&plan);
            let empty_program_ns = match by_method.iter().find(|(m, _)| *m == method) {
                Some((_, ns)) => *ns,
                None => {
                    let ns = measure_hit_cost(method)?;
                    by_method.push((method, ns));
                    ns
                }
            };
            let session = Session::start(plan, backend)?;
            let last = (0, Instant::now());
            probes.push(MeasuredProbe {
                session,
                empty_program_ns,
                ended: None,
                over_budget: false,
                last,
            });
        }
        if let (true, Some(error)) = (probes.is_empty(), reason) {
            return Err(error);
        }
        Ok((CostMeter { probes, started: Instant::now(), budget, _times: times }, all_warnings))
    }

    /// Discards the records, and detaches probes over the budget. To be called every few milliseconds.
    pub(crate) fn poll(&mut self) -> Result<()> {
        /// Shorter than this, a burst is no cost.
        const AT_LEAST: Duration = Duration::from_millis(200);
        for probe in &mut self.probes {
            while probe.session.drain(|_| {})? {}
            let Some(budget) = self.budget.filter(|_| probe.ended.is_none()) else { continue };
            let (before, at) = probe.last;
            if at.elapsed() < AT_LEAST {
                continue;
            }
            let hits = probe.session.summary()?.hits;
            let rate = (hits - before) as f64 / at.elapsed().as_secs_f64();
            if rate * probe.ns_per_hit()? / 1e9 > budget {
                probe.over_budget = true;
                probe.ended = Some(Instant::now());
                // The programs' times go with the session's links, not with it.
                probe.session.detach();
            }
            probe.last = (hits, Instant::now());
        }
        Ok(())
    }

    /// The cost of each probe so far, the most expensive first.
    pub(crate) fn costs(&self) -> Result<Vec<ProbeCost>> {
        let mut out = Vec::new();
        for probe in &self.probes {
            let hits = probe.session.summary()?.hits;
            let until = probe.ended.unwrap_or_else(Instant::now);
            let seconds = until.duration_since(self.started).as_secs_f64().max(1e-9);
            let (hits_per_second, ns_per_hit) = (hits as f64 / seconds, probe.ns_per_hit()?);
            let plan = probe.session.plan();
            let Some(name) = plan.probes().first() else { continue };
            let (method, sites) = (most_expensive_method(plan), plan.sites());
            let best = NopOptimization::detect() == NopOptimization::None;
            let remark = match method {
                Method::SingleStep => Some("not on a no-op: every hit is single-stepped"),
                Method::Nop if !best && sites.iter().any(|s| s.stub && s.method == Method::Nop) => {
                    Some("crosses a page: every hit traps")
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
                over_budget: probe.over_budget,
                remark,
            });
        }
        out.sort_by(|a, b| b.cpu_share.total_cmp(&a.cpu_share));
        Ok(out)
    }
}

impl MeasuredProbe {
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
