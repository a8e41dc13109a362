//! Probes of the tracer itself, so that it can be traced: `usdt_attach:drain` and others.
//!
//! Each has a semaphore. While no tracer is attached to it, a probe is a load and a branch, and its
//! arguments are not computed. `discover/known/usdt_attach.d` has the names of the arguments, which
//! the notes of the `probe` crate do not have.
//!
//! A process that traces these probes does not fire its own: the event of a batch would be in the
//! next batch, and so on.

use crate::kernel::clock::monotonic_nanoseconds;
use crate::plan::{Plan, PlannedProbe};
use probe::probe_lazy;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The name of the provider.
const PROVIDER: &str = "usdt_attach";

/// True once this process has traced probes of the provider.
static IS_SILENT: AtomicBool = AtomicBool::new(false);

/// Stops the probes of this process if these planned probes are of the same provider.
pub(crate) fn silence_if_traced(planned: &[PlannedProbe]) {
    if planned.iter().any(|probe| probe.provider == PROVIDER) {
        IS_SILENT.store(true, Relaxed);
    }
}

fn is_silent() -> bool {
    IS_SILENT.load(Relaxed)
}

/// A session has attached a plan, which it began at `began`.
pub(crate) fn attach(plan: &Plan, began: Instant) {
    if !is_silent() {
        let (sites, files) = (|| plan.sites().len(), || plan.objects().len());
        probe_lazy!(usdt_attach, attach, sites(), files(), began.elapsed().as_nanos());
    }
}

/// A session that was attached for `attached` has detached. That began `duration` ago, and
/// `delivered` events were read before its end.
pub(crate) fn detach(delivered: u64, attached: Duration, duration: Duration) {
    if !is_silent() {
        probe_lazy!(usdt_attach, detach, delivered, attached.as_nanos(), duration.as_nanos());
    }
}

/// The caller has read a batch of `events` to its end. The event loop began it at `began`, in
/// nanoseconds of `CLOCK_MONOTONIC`, so the time includes what the caller does with each event.
pub(crate) fn drain(events: u64, began: u64) {
    if !is_silent() {
        let duration = || monotonic_nanoseconds().saturating_sub(began);
        probe_lazy!(usdt_attach, drain, events, duration());
    }
}

/// `dropped` of the `hits` of a probe, the one that drops most, were dropped since the counts were
/// last read.
pub fn drop(dropped: u64, hits: u64) {
    if !is_silent() {
        probe_lazy!(usdt_attach, drop, dropped, hits);
    }
}

/// The metrics have been collected: `series` of them, since `began`.
pub fn export(series: &dyn Fn() -> usize, began: Instant) {
    if !is_silent() {
        probe_lazy!(usdt_attach, export, series(), began.elapsed().as_nanos());
    }
}
