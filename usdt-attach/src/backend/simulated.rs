//! A back end without a kernel: it executes plans on hits that the caller constructs.
//!
//! It serves tests of programs that use this library, and is the reference for what the other back
//! ends generate. Unlike them, it samples every n-th hit instead of choosing at random.
//!
//! ```no_run
//! use std::collections::BTreeMap;
//! use usdt_attach::backend::simulated::{Hit, Simulated};
//! use usdt_attach::plan::Plan;
//! use usdt_attach::session::Session;
//!
//! # fn run(plan: Plan) -> usdt_attach::Result<()> {
//! let backend = Simulated::default();
//! let mut session = Session::start(plan, &backend)?;
//! backend.hit(&Hit { site: 0, pid: 7, ..Hit::default() });
//! session.drain(|event| assert_eq!(event.pid, 7))?;
//! # Ok(())
//! # }
//! ```

mod condition;
mod frame;
mod starts;

use self::condition::holds;
use self::frame::{execute, faults, pid_tgid, put, region, word};
use self::starts::{Missing, Starts};
use super::traits::{AttachPlan, Attachment, ProgramStats, Share};
use crate::error::Result;
use crate::kernel::{Counts, Link, Mechanism};
use crate::plan::record_layout::{self, Layout};
use crate::plan::{Action, FIRST_BUCKET, Handler, Plan, ReadOp, TableEntry, pt_regs::CheckedFlags};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A hit: the state that a BPF program would see.
#[derive(Clone, Debug, Default)]
pub struct Hit {
    /// The cookie of the site: its index in the plan.
    pub site: u32,
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// The name of the thread. Only its first 15 bytes are recorded.
    pub comm: String,
    /// Time of the hit: nanoseconds of `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// Register values by their offset in `pt_regs`, in bytes. Registers that are left out are 0.
    pub registers: BTreeMap<i16, u64>,
    /// Memory contents by start address. Reads of other memory fail.
    pub memory: BTreeMap<u64, Vec<u8>>,
    /// Addresses of the user stack, innermost first.
    pub stack: Vec<u64>,
}

/// The simulated back end. Clones share their sessions.
#[derive(Clone, Debug, Default)]
pub struct Simulated {
    states: Arc<Mutex<Vec<Arc<Mutex<State>>>>>,
}

/// The state of one attached plan.
#[derive(Debug)]
struct State {
    plan: Arc<Plan>,
    is_attached: bool,
    /// Cookies of the sites of detached objects.
    detached: HashSet<u32>,
    counts: Vec<Counts>,
    records: VecDeque<Vec<u8>>,
    table: BTreeMap<Vec<u8>, Vec<u64>>,
    /// Latency starts that wait for their ends.
    starts: Starts,
    /// The current second of each rate limit.
    rates: BTreeMap<u32, RateWindow>,
    /// Hits that have reached the sampling.
    sampled: u64,
    /// Hits left until the limit.
    remaining: u64,
}

/// The hits of a probe in one second.
#[derive(Debug, Default)]
struct RateWindow {
    second: u64,
    hits: u32,
}

/// The outcome of a hit.
enum Outcome {
    Delivered,
    Filtered,
    Dropped,
    Unmatched,
    TooDeep,
    /// The hit does not count: the limit is used up, or the prologue will run again after the stack
    /// has grown.
    Ignored,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Simulated {
    /// Hits a site in every session that is attached to one with this cookie.
    pub fn hit(&self, hit: &Hit) {
        for state in lock(&self.states).iter() {
            lock(state).hit(hit);
        }
    }
}

impl AttachPlan for Simulated {
    fn attach(&self, plan: &Arc<Plan>, _: Option<Share<'_>>) -> Result<Box<dyn Attachment>> {
        let state = Arc::new(Mutex::new(State {
            plan: Arc::clone(plan),
            is_attached: true,
            detached: HashSet::new(),
            counts: vec![Counts::default(); plan.sites().len()],
            records: VecDeque::new(),
            table: BTreeMap::new(),
            starts: Starts::new(plan),
            rates: BTreeMap::new(),
            sampled: 0,
            remaining: plan.limit.unwrap_or(u64::MAX),
        }));
        lock(&self.states).push(Arc::clone(&state));
        Ok(Box::new(Simulation { state, record: Vec::new() }))
    }
}

#[derive(Debug)]
struct Simulation {
    state: Arc<Mutex<State>>,
    record: Vec<u8>,
}

impl Attachment for Simulation {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Auto
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn advance(&mut self) -> Result<bool> {
        let next = lock(&self.state).records.pop_front();
        let moved = next.is_some();
        self.record = next.unwrap_or_default();
        Ok(moved)
    }

    fn record(&self) -> &[u8] {
        &self.record
    }

    fn release(&mut self) {}

    fn counts(&self) -> Result<Vec<Counts>> {
        Ok(lock(&self.state).counts.clone())
    }

    fn table(&self, _: &Plan) -> Result<Vec<TableEntry>> {
        let state = lock(&self.state);
        let entry = |(key, value): (&Vec<u8>, &Vec<u64>)| TableEntry {
            key: key.clone(),
            values: vec![value.clone()],
        };
        Ok(state.table.iter().map(entry).collect())
    }

    fn table_keys(&self) -> Result<Vec<Vec<u8>>> {
        Ok(lock(&self.state).table.keys().cloned().collect())
    }

    fn remove_from_table(&self, keys: &[&[u8]]) -> Result<()> {
        let mut state = lock(&self.state);
        keys.iter().for_each(|key| drop(state.table.remove(*key)));
        Ok(())
    }

    fn pending_starts(&self) -> Result<u64> {
        Ok(lock(&self.state).starts.waiting())
    }

    fn program_stats(&self) -> Result<ProgramStats> {
        Ok(ProgramStats::default())
    }

    fn detach(&mut self) {
        lock(&self.state).is_attached = false;
    }

    fn take_links(&mut self, is_taken: &dyn Fn(usize) -> bool) -> Vec<Link> {
        let mut state = lock(&self.state);
        let plan = Arc::clone(&state.plan);
        let objects = plan.objects.iter().enumerate().filter(|(index, _)| is_taken(*index));
        let sites = objects.flat_map(|(_, object)| &object.sites);
        state.detached.extend(sites.map(|site| site.cookie));
        Vec::new()
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.detach();
    }
}

impl State {
    fn hit(&mut self, hit: &Hit) {
        let is_traced = self.plan.pids.as_ref().is_none_or(|pids| pids.contains(&hit.pid));
        if !self.is_attached
            || self.detached.contains(&hit.site)
            || !is_traced
            || self.remaining == 0
            || self.counts.len() <= hit.site as usize
        {
            return;
        }
        let outcome = self.handle(hit);
        let Some(counts) = self.counts.get_mut(hit.site as usize) else { return };
        match outcome {
            Outcome::Ignored => return,
            Outcome::Delivered => {}
            Outcome::Filtered => counts.filtered += 1,
            Outcome::Dropped => counts.dropped += 1,
            Outcome::Unmatched => counts.unmatched += 1,
            Outcome::TooDeep => counts.too_deep += 1,
        }
        counts.hits += 1;
    }

    fn handle(&mut self, hit: &Hit) -> Outcome {
        let plan = Arc::clone(&self.plan);
        let site = plan.sites().into_iter().find(|site| site.cookie == hit.site);
        let Some(handler) = site.and_then(|site| plan.handlers.get(site.handler as usize)) else {
            return Outcome::Ignored;
        };
        let flags = CheckedFlags::NATIVE;
        let state = hit.registers.get(&flags.offset).copied().unwrap_or(0);
        if handler.stack_check && !flags.passes(state) {
            return Outcome::Ignored;
        }
        let mut frame = vec![0; handler.frame.size as usize];
        execute(hit, &mut frame, &handler.frame.filter_reads);
        let frame_key = handler.action.frame_key().map(|key| region(&mut frame.clone(), key));
        let outcome = self.filter(hit, handler, &plan, frame);
        if let (Some(key), Outcome::Filtered | Outcome::Dropped) = (frame_key, &outcome) {
            self.starts.remove(&key);
        }
        outcome
    }

    /// Evaluates the filter and the limits, then carries out the action.
    fn filter(&mut self, hit: &Hit, handler: &Handler, plan: &Plan, frame: Vec<u8>) -> Outcome {
        if handler.filter.as_ref().is_some_and(|condition| !holds(hit, &frame, condition)) {
            return Outcome::Filtered;
        }
        if let Some(n) = plan.sample.filter(|_| handler.action.is_sampled()) {
            self.sampled += 1;
            if !(self.sampled - 1).is_multiple_of(n.into()) {
                return Outcome::Filtered;
            }
        }
        if let (Some(limit), Some(slot)) = (plan.rate, handler.rate) {
            let second = hit.time_ns / 1_000_000_000;
            let window = self.rates.entry(slot).or_default();
            if window.second != second {
                *window = RateWindow { second, hits: 0 };
            }
            if window.hits >= limit {
                return Outcome::Filtered;
            }
            window.hits += 1;
        }
        self.remaining -= 1;
        self.act(hit, handler, frame)
    }

    fn act(&mut self, hit: &Hit, handler: &Handler, mut frame: Vec<u8>) -> Outcome {
        if let Action::Record(layout) = &handler.action {
            self.records.push_back(record(hit, layout));
            return Outcome::Delivered;
        }
        execute(hit, &mut frame, &handler.frame.action_reads);
        if faults(&frame) & handler.frame.required != 0 {
            return Outcome::Dropped;
        }
        match &handler.action {
            Action::Record(_) | Action::Count => Outcome::Delivered,
            Action::Aggregate { key, value } => {
                let value = value.and_then(|slot| slot.read(&frame));
                let key = region(&mut frame, key);
                self.aggregate(key, value.unwrap_or(0))
            }
            Action::Start { key, saved, nesting, .. } => {
                let failed = nesting.is_some_and(|n| faults(&frame) & n.label_faults != 0);
                put(&mut frame, saved.at, if failed { 0 } else { hit.time_ns });
                let (key, saved) = (region(&mut frame, key), region(&mut frame, saved));
                let saved = match nesting {
                    Some(_) => self.starts.push(key, saved).map(|()| false),
                    None => self.starts.replace(key, saved),
                };
                match saved {
                    Some(is_replaced) => {
                        if let Some(counts) = self.counts.get_mut(hit.site as usize) {
                            counts.overwritten += u64::from(is_replaced);
                        }
                        if failed { Outcome::Dropped } else { Outcome::Delivered }
                    }
                    None => Outcome::Dropped,
                }
            }
            Action::End { start, key, kept, nesting, .. } => {
                let start = region(&mut frame, start);
                let popped = match nesting {
                    None => self.starts.remove(&start).ok_or(Missing::Unmatched),
                    Some(_) => self.starts.pop(start),
                };
                let mut saved = match popped {
                    Ok(saved) => saved,
                    Err(Missing::Unmatched) => return Outcome::Unmatched,
                    Err(Missing::TooDeep) => return Outcome::TooDeep,
                };
                let started = word(&saved, 0);
                if let Some(nesting) = nesting {
                    saved.truncate(saved.len() - 8);
                    if *kept > 0 && started == 0 {
                        return Outcome::Unmatched;
                    }
                    if faults(&frame) & nesting.label_faults != 0 {
                        return Outcome::Dropped;
                    }
                }
                // The last `kept` bytes of the key are labels that the start has saved.
                let mut key = region(&mut frame, key);
                key.truncate(key.len() - *kept as usize);
                key.extend(saved.get(8..).unwrap_or_default());
                self.aggregate(key, hit.time_ns.wrapping_sub(started))
            }
        }
    }

    fn aggregate(&mut self, key: Vec<u8>, value: u64) -> Outcome {
        let Some(table) = &self.plan.table else { return Outcome::Delivered };
        if self.table.len() >= table.entries as usize && !self.table.contains_key(&key) {
            return Outcome::Dropped;
        }
        let entry =
            self.table.entry(key).or_insert_with(|| vec![0; table.value_size() as usize / 8]);
        let Some(buckets) = table.buckets else {
            entry.iter_mut().for_each(|n| *n += 1);
            return Outcome::Delivered;
        };
        // Inverting the sign bit makes signed numbers compare as unsigned ones.
        let ordered = if buckets.signed() { value ^ 1 << 63 } else { value };
        if let Some(([sum, max, inverted_min], counts)) =
            entry.split_first_chunk_mut::<FIRST_BUCKET>()
        {
            *sum = sum.wrapping_add(value);
            *max = (*max).max(ordered);
            *inverted_min = (*inverted_min).max(!ordered);
            counts.iter_mut().skip(buckets.index(value)).take(1).for_each(|n| *n += 1);
        }
        Outcome::Delivered
    }
}

/// The record of a hit.
fn record(hit: &Hit, layout: &Layout) -> Vec<u8> {
    let mut record = vec![0; layout.size as usize];
    put(&mut record, record_layout::COOKIE, u64::from(hit.site));
    put(&mut record, record_layout::TIME, hit.time_ns);
    put(&mut record, record_layout::PID_TGID, pid_tgid(hit));
    execute(hit, &mut record, &[ReadOp::Comm { to: record_layout::COMM }]);
    execute(hit, &mut record, &layout.reads);
    record
}
