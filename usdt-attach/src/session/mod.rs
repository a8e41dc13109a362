//! Sessions: attached plans, and the event loop that drains them.

mod detaching;
mod event_loop;
mod following;
mod receiver;
mod shared_buffer;

use crate::backend::{Attachment, Backend, ProgramStats, Share};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::event::counts::{Row, merge_rows, process_in_key, rows, sort_rows};
use crate::kernel::{Closing, Counts, clock};
use crate::own_probes;
use crate::plan::{Plan, PlannedProbe, record_layout};
use crate::target::follow::ExecutableChanges;
use receiver::Receiver;
use serde::Serialize;
use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::kernel::Mechanism;
pub use crate::plan::MAX_NESTED_CALLS;
#[cfg(feature = "tokio")]
pub(crate) use event_loop::PollOutcome;
pub use event_loop::{Batch, EventLoop};
#[doc(hidden)]
pub use following::buffer_size;
pub use following::{Attacher, check_ids};
#[doc(hidden)]
pub use shared_buffer::SharedBuffer;

/// The maximum number of records in a batch, after which the caller can attend to signals and other
/// descriptors again.
const MAX_BATCH: u32 = 8192;

/// An attached plan. Dropping the session detaches it.
///
/// [`Tracer`](crate::Tracer) and [`Aggregation`](crate::Aggregation) are built on sessions and an
/// [`EventLoop`]. Use a session directly to attach a [`Plan`] of your own.
///
/// ```no_run
/// use std::time::Duration;
/// use usdt_attach::Target;
/// use usdt_attach::backend::BackendKind;
/// use usdt_attach::discover::select::select;
/// use usdt_attach::plan::{Options, Plan};
/// use usdt_attach::session::{Mechanism, Session};
///
/// # fn main() -> usdt_attach::Result<()> {
/// let scanned = Target::executable("/usr/bin/app").scan()?;
/// let selected = select(&scanned.objects, &["app:request-*".to_owned()])?;
/// let (plan, _warnings) = Plan::new(&selected, &Options::default())?;
/// let backend = BackendKind::Embedded.backend(Mechanism::Auto)?;
/// let mut session = Session::start(plan, &*backend)?;
/// for _ in 0..1000 {
///     session.drain(|event| println!("{}", event.probe.name))?;
///     std::thread::sleep(Duration::from_millis(5));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Session {
    plan: Arc<Plan>,
    receiver: Receiver,
    attachment: Box<dyn Attachment>,
    /// Rows of sessions that have ended.
    retained_rows: Vec<Row>,
    attached_at: Instant,
    /// How long the session was attached; `None` until it detaches.
    attached_for: Option<Duration>,
    /// Links that are being closed; `None` before that.
    closing: Option<Arc<Closing>>,
    /// True once no more hits are counted.
    is_detached: bool,
    /// Records that may still be read in this batch.
    batch_left: u32,
    /// The number of the session in the event buffer that it shares; `None` if it has its own.
    shared_number: Option<u32>,
    /// Id of the process that attached. A forked child must not read: it would consume its parent's
    /// records.
    owner: u32,
}

/// Hit counts of one or more sessions.
///
/// `hits == delivered + dropped + filtered` holds once the sessions have detached and every event
/// is read. While they run, events that are still in the buffer are missing from `delivered`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// How often the probe sites were hit, including hits that were filtered or dropped.
    pub hits: u64,
    /// Events that the caller has read or, for aggregations, hits that are part of a row.
    pub delivered: u64,
    /// Hits that were lost.
    ///
    /// Events are lost when the buffer is full, or when concurrent hits exceed the limit.
    /// Aggregated hits are lost when the table is full, or when a label or the value cannot be
    /// read.
    pub dropped: u64,
    /// Hits that the filter, the sampling or the rate limit rejected.
    pub filtered: u64,
    /// Hits by processes outside the PID namespace of this process. They are not part of `hits`, and
    /// are counted only if the target does not name its processes.
    #[serde(rename = "outside_pid_namespace", skip_serializing_if = "is_zero")]
    pub outside: u64,
    /// Events that came after an event with a later time, because a hypervisor or a long interrupt
    /// held back the program that recorded them for more than 10 ms.
    #[serde(skip_serializing_if = "is_zero")]
    pub out_of_order: u64,
    /// Child processes of the target that are not traced, including those that have exited.
    #[serde(skip_serializing_if = "is_zero")]
    pub children_left_out: u64,
    /// Latency starts and ends without a counterpart; `None` unless latencies are measured.
    #[serde(flatten)]
    pub unpaired: Option<Unpaired>,
}

/// Counts of latency starts and ends without a counterpart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unpaired {
    /// Starts whose end has not been hit yet.
    pub unmatched_starts: u64,
    /// Ends without a start, because the start was hit before attaching or was filtered.
    pub unmatched_ends: u64,
    /// Starts that were replaced by another start with the same argument before their end was hit.
    /// Starts of one goroutine or thread do not replace each other: they are nested.
    pub overwritten: u64,
    /// Calls that are not part of a row because more than [`MAX_NESTED_CALLS`] calls of one
    /// goroutine or thread were nested.
    pub too_deep: u64,
    /// Calls of functions that a panic or `runtime.Goexit` ended, as later calls with the same frame
    /// show. Others are among `unmatched_starts`. `None` unless the starts are entries of functions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwound: Option<u64>,
}

impl Session {
    /// Attaches every site of the plan, or none.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.8. See the [crate documentation](crate#kernel-and-privileges) for privileges and for
    /// what newer kernels improve.
    ///
    /// # Errors
    ///
    /// Fails when the kernel rejects a map, a program or a link, and when the kernel or this process
    /// lacks a feature or a privilege.
    pub fn start(plan: impl Into<Arc<Plan>>, backend: &dyn Backend) -> Result<Session> {
        Session::attach(plan.into(), backend, None)
    }

    /// As [`Session::start`], with records in the event buffer of `share` if that is possible.
    fn attach(
        mut plan: Arc<Plan>,
        backend: &dyn Backend,
        share: Option<Share<'_>>,
    ) -> Result<Session> {
        let started = Instant::now();
        own_probes::silence_if_traced(plan.probes());
        let number = share.map(|share| share.session);
        let attachment = backend.attach(&plan, share)?;
        own_probes::attach(&plan, started);
        // The links keep the files. A plan that the caller holds, too, can be attached again.
        if let Some(plan) = Arc::get_mut(&mut plan) {
            plan.close_objects();
        }
        debug_event!(sites = plan.sites().len(), mechanism = ?attachment.mechanism(), "attached");
        Ok(Session {
            receiver: Receiver::new(&plan),
            retained_rows: Vec::new(),
            attached_at: Instant::now(),
            attached_for: None,
            closing: None,
            is_detached: false,
            plan,
            batch_left: 0,
            owner: std::process::id(),
            shared_number: number.filter(|_| attachment.shares_buffer()),
            attachment,
        })
    }

    /// The attached plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The mechanism that the sites are attached with. It is [`Mechanism::Auto`] only for
    /// [`Simulated`](crate::backend::simulated::Simulated).
    pub fn mechanism(&self) -> Mechanism {
        self.attachment.mechanism()
    }

    /// A descriptor that becomes readable when the event buffer is half full; `None` if the plan
    /// records no events.
    ///
    /// There are no per-event wakeups. Call [`Session::drain`] every few milliseconds as well.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.attachment.fd()
    }

    /// The size of the session's own event buffer in bytes; 0 if it has none.
    #[doc(hidden)]
    pub fn buffer_size(&self) -> u32 {
        if self.fd().is_some() { self.plan.buffer } else { 0 }
    }

    /// Calls `on_event` with each event of the next batch, which has at most 8,192 events. Returns
    /// true if the batch reached that size, so that more events may be waiting.
    ///
    /// # Errors
    ///
    /// Fails when the event buffer cannot be read, and in a forked child of the process that
    /// attached.
    pub fn drain(&mut self, mut on_event: impl FnMut(&Event<'_>)) -> Result<bool> {
        self.begin_batch()?;
        while self.advance()? {
            if let Some(event) = self.event() {
                on_event(&event);
            }
        }
        Ok(self.may_have_more())
    }

    /// Fails in a forked child, which would consume its parent's records.
    pub(crate) fn check_owner(&self) -> Result<()> {
        if std::process::id() == self.owner {
            return Ok(());
        }
        Err(Error::usage(format!(
            "this session belongs to process {}, the parent of this forked child; attach again in the child",
            self.owner
        )))
    }

    pub(crate) fn begin_batch(&mut self) -> Result<()> {
        self.check_owner()?;
        self.receiver.decoder.clock_offset = clock::realtime_offset();
        self.attachment.release();
        self.batch_left = MAX_BATCH;
        Ok(())
    }

    /// Begins a batch with the event that the session has moved to, which the caller has not read.
    pub(crate) fn continue_batch(&mut self) {
        self.receiver.decoder.clock_offset = clock::realtime_offset();
        self.batch_left = MAX_BATCH;
    }

    /// The time of the event that [`Session::advance`] moved to, in nanoseconds of CLOCK_MONOTONIC.
    pub(crate) fn time(&self) -> u64 {
        let at = record_layout::TIME as usize;
        let time = self.attachment.record().get(at..).and_then(<[u8]>::first_chunk);
        time.map_or(0, |raw| u64::from_ne_bytes(*raw))
    }

    /// Moves to the next record that is an event within the limit. Returns false at the end of the
    /// batch.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        while self.batch_left > 0 && self.attachment.advance()? {
            self.batch_left -= 1;
            if self.receiver.take(self.attachment.record()) {
                return Ok(true);
            }
        }
        self.attachment.release();
        Ok(false)
    }

    /// The time up to which all records have been read once [`Session::advance`] has returned false.
    pub(crate) fn read_up_to(&self) -> u64 {
        self.attachment.read_up_to()
    }

    /// The event that [`Session::advance`] moved to.
    pub(crate) fn event(&self) -> Option<Event<'_>> {
        self.receiver.event(self.attachment.record())
    }

    /// True if the last batch reached its maximum size.
    pub(crate) fn may_have_more(&self) -> bool {
        self.batch_left == 0
    }

    /// The rows that the kernel has aggregated so far, most hits first. A session that records
    /// events returns one count per probe.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    pub fn rows(&self) -> Result<Vec<Row>> {
        Session::merged_rows([self])
    }

    /// The rows of several sessions whose plans have the same options, most hits first. Rows with
    /// the same probe and labels are merged.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    pub fn merged_rows<'a>(sessions: impl IntoIterator<Item = &'a Session>) -> Result<Vec<Row>> {
        let (mut parts, mut retained) = (Vec::new(), Vec::new());
        for session in sessions {
            retained.extend_from_slice(&session.retained_rows);
            parts.push((session, session.counts()?, session.attachment.table(&session.plan)?));
        }
        let mut rows =
            rows(parts.iter().map(|(session, counts, table)| {
                (&*session.plan, counts.as_slice(), table.as_slice())
            }));
        if !retained.is_empty() {
            merge_rows(&mut rows, retained);
            sort_rows(&mut rows);
        }
        Ok(rows)
    }

    /// Adds rows of a session that has ended to those of this one.
    fn retain_rows(&mut self, rows: Vec<Row>) {
        merge_rows(&mut self.retained_rows, rows);
    }

    /// Whether a filter rejects hits because a string is not in memory: the kernel does not let
    /// programs wait for it, or not with what else the plan uses.
    #[doc(hidden)]
    pub fn rejects_absent_strings(&self) -> bool {
        self.plan.filters_absent_strings() && !self.attachment.waits_for_strings()
    }

    /// Whether the plan keeps processes apart.
    #[doc(hidden)]
    pub fn keeps_processes_apart(&self) -> bool {
        self.plan.by_process().is_some()
    }

    /// The processes that have rows, if the plan keeps processes apart; empty otherwise.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    #[doc(hidden)]
    pub fn processes(&self) -> Result<HashSet<u32>> {
        let Some(table) = self.plan.by_process() else { return Ok(HashSet::new()) };
        let keys = self.attachment.table_keys()?;
        Ok(keys.iter().filter_map(|key| process_in_key(table, key)).collect())
    }

    /// Removes the rows of processes that have ended, and returns them. A process that still runs
    /// may lose hits that come meanwhile.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read or written.
    #[doc(hidden)]
    pub fn take_rows(&self, has_ended: impl Fn(u32) -> bool) -> Result<Vec<Row>> {
        let Some(table) = self.plan.by_process() else { return Ok(Vec::new()) };
        let mut entries = self.attachment.table(&self.plan)?;
        entries.retain(|entry| process_in_key(table, &entry.key).is_some_and(&has_ended));
        let keys: Vec<&[u8]> = entries.iter().map(|entry| entry.key.as_slice()).collect();
        self.attachment.remove_from_table(&keys)?;
        Ok(rows([(&*self.plan, [].as_slice(), entries.as_slice())]))
    }

    /// Also takes hits of processes that run this executable, given by the address of its inode in
    /// the kernel. Has no effect on a plan that is not limited to executables.
    ///
    /// # Errors
    ///
    /// Fails when the kernel rejects it.
    pub fn trace_executable(&self, address: u64) -> Result<()> {
        self.attachment.trace_executable(address)
    }

    /// Follows changes of the executables to which a plan is limited. Has no effect on a plan that
    /// is not limited to executables.
    ///
    /// # Errors
    ///
    /// Fails when the kernel rejects it.
    #[doc(hidden)]
    pub fn change_executables(&self, changes: &ExecutableChanges) -> Result<()> {
        changes.removed.iter().try_for_each(|one| self.attachment.forget_executable(*one))?;
        changes.added.iter().try_for_each(|one| self.trace_executable(*one))
    }

    /// The hit counts of each probe so far, in the order of the plan's probes.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    pub fn probe_counts(&self) -> Result<Vec<(&PlannedProbe, Counts)>> {
        let mut out: Vec<(&PlannedProbe, Counts)> =
            self.plan.probes.iter().map(|probe| (probe, Counts::default())).collect();
        for (site, counts) in self.plan.sites().into_iter().zip(self.counts()?) {
            if let Some((_, total)) = out.get_mut(site.probe as usize) {
                *total = *total + counts;
            }
        }
        Ok(out)
    }

    fn counts(&self) -> Result<Vec<Counts>> {
        self.attachment.counts()
    }

    /// The mean time that the session's BPF programs take for a hit, in nanoseconds; `None` if no run
    /// was measured.
    ///
    /// The kernel measures only while a [`BpfStatsGuard`](crate::kernel::BpfStatsGuard) is alive.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.8.
    ///
    /// # Errors
    ///
    /// Fails when the kernel does not report on the programs.
    pub fn mean_run_time_ns(&self) -> Result<Option<f64>> {
        let ProgramStats { runs, run_time_ns } = self.attachment.program_stats()?;
        Ok((runs > 0).then(|| run_time_ns as f64 / runs as f64))
    }

    /// Closes the descriptors of the programs, which are needed only for
    /// [`Session::mean_run_time_ns`]: it returns `None` afterwards. The links keep the programs.
    pub fn close_programs(&mut self) {
        self.attachment.close_programs();
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.receiver.delivered
    }

    /// The hit counts so far.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    pub fn summary(&self) -> Result<Summary> {
        let counts = self.counts()?.into_iter().fold(Counts::default(), std::ops::Add::add);
        let mut summary = Summary {
            hits: counts.hits,
            delivered: self.receiver.delivered,
            dropped: self.receiver.surplus + counts.dropped,
            filtered: counts.filtered,
            outside: counts.outside,
            out_of_order: self.attachment.out_of_order(),
            ..Summary::default()
        };
        let mut unpaired = Unpaired {
            unmatched_ends: counts.unmatched,
            overwritten: counts.overwritten,
            too_deep: counts.too_deep,
            ..Unpaired::default()
        };
        if !self.plan.records() {
            summary.delivered = summary.hits.saturating_sub(summary.dropped + summary.filtered);
        }
        if let Some(starts) = self.plan.table.as_ref().and_then(|table| table.starts) {
            if starts.are_frames {
                unpaired.unwound = Some(std::mem::take(&mut unpaired.overwritten));
            }
            unpaired.unmatched_starts = self.attachment.pending_starts()?;
            summary.unpaired = Some(unpaired);
        }
        Ok(summary)
    }
}

#[cfg(feature = "tracing")]
impl Drop for Session {
    fn drop(&mut self) {
        debug_event!(delivered = self.receiver.delivered, "detached");
    }
}

/// Adds the counts of two sessions. `unpaired` is `None` only if it is `None` in both.
impl std::ops::Add for Summary {
    type Output = Summary;

    fn add(self, other: Summary) -> Summary {
        let unpaired = match (self.unpaired, other.unpaired) {
            (Some(a), Some(b)) => Some(Unpaired {
                unmatched_starts: a.unmatched_starts + b.unmatched_starts,
                unmatched_ends: a.unmatched_ends + b.unmatched_ends,
                overwritten: a.overwritten + b.overwritten,
                too_deep: a.too_deep + b.too_deep,
                unwound: a.unwound.into_iter().chain(b.unwound).reduce(|a, b| a + b),
            }),
            (a, b) => a.or(b),
        };
        Summary {
            hits: self.hits + other.hits,
            delivered: self.delivered + other.delivered,
            dropped: self.dropped + other.dropped,
            filtered: self.filtered + other.filtered,
            outside: self.outside + other.outside,
            out_of_order: self.out_of_order + other.out_of_order,
            children_left_out: self.children_left_out + other.children_left_out,
            unpaired,
        }
    }
}

/// Returns true for a count that is left out of JSON.
#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde wants
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::simulated::Simulated;
    use crate::error::ErrorKind;

    #[test]
    fn keeps_the_rows_of_sessions_that_have_ended() {
        let row = |name: &str, hits| Row {
            probe: crate::plan::PlannedProbe { provider: "app".into(), name: name.into() },
            labels: Vec::new(),
            total: crate::event::counts::Total::Count(hits),
        };
        let mut session = Session::start(Plan::default(), &Simulated::default()).unwrap();
        session.retain_rows(vec![row("a", 1)]);
        session.retain_rows(vec![row("b", 5), row("a", 2)]);
        assert_eq!(session.rows().unwrap(), [row("b", 5), row("a", 3)]);
    }

    #[test]
    fn rejects_reading_in_a_forked_child() {
        let mut session = Session::start(Plan::default(), &Simulated::default()).unwrap();
        assert!(session.drain(|_| {}).is_ok());
        // A forked child has a copy of the session but another process id.
        session.owner += 1;
        let error = session.drain(|_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("forked child"), "{error}");
    }
}
