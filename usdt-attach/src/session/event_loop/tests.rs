//! Tests of the event loop with back ends that never wait.

use super::*;
use crate::backend::simulated::{Hit, Simulated};
use crate::backend::{AttachPlan, Attachment, ProgramStats, Share};
use crate::discover::sample;
use crate::kernel::{Counts, Link, Mechanism};
use crate::plan::{Options, Plan, TableEntry};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// A back end that always has another record until it is detached. Its descriptor never becomes
/// readable.
#[derive(Clone, Debug, Default)]
struct EndlessBackend(Arc<EndlessState>);

#[derive(Debug, Default)]
struct EndlessState {
    records_read: AtomicU64,
    is_detached: AtomicBool,
    /// 0 for no bound.
    read_up_to: AtomicU64,
}

impl AttachPlan for EndlessBackend {
    fn attach(&self, _: &Arc<Plan>, _: Option<Share<'_>>) -> Result<Box<dyn Attachment>> {
        Ok(Box::new(self.clone()))
    }
}

impl Attachment for EndlessBackend {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Auto
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn advance(&mut self) -> Result<bool> {
        self.0.records_read.fetch_add(1, Relaxed);
        Ok(!self.0.is_detached.load(Relaxed))
    }

    fn record(&self) -> &[u8] {
        &[]
    }

    fn release(&mut self) {}

    fn read_up_to(&self) -> u64 {
        match self.0.read_up_to.load(Relaxed) {
            0 => u64::MAX,
            bound => bound,
        }
    }

    fn counts(&self) -> Result<Vec<Counts>> {
        Ok(Vec::new())
    }

    fn table(&self, _: &Plan) -> Result<Vec<TableEntry>> {
        Ok(Vec::new())
    }

    fn table_keys(&self) -> Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }

    fn remove_from_table(&self, _: &[&[u8]]) -> Result<()> {
        Ok(())
    }

    fn pending_starts(&self) -> Result<u64> {
        Ok(0)
    }

    fn program_stats(&self) -> Result<ProgramStats> {
        Ok(ProgramStats::default())
    }

    fn detach(&mut self) {
        self.0.is_detached.store(true, Relaxed);
    }

    fn take_links(&mut self, _: &dyn Fn(usize) -> bool) -> Vec<Link> {
        Vec::new()
    }
}

/// Polls and reads one batch. Returns false after the loop has ended.
fn read_batch(event_loop: &mut EventLoop, timeout: Duration) -> bool {
    let Some(mut batch) = event_loop.poll(timeout).unwrap() else { return false };
    while batch.next().unwrap().is_some() {}
    true
}

#[test]
fn does_not_wait_after_a_full_batch() {
    let backend = EndlessBackend::default();
    let session = Session::start(Plan::default(), &backend).unwrap();
    let mut event_loop = EventLoop::new(vec![session]).unwrap();
    assert!(event_loop.timeout() > Duration::ZERO);
    assert!(read_batch(&mut event_loop, Duration::ZERO));
    let started = Instant::now();
    for _ in 0..50 {
        assert!(read_batch(&mut event_loop, Duration::from_secs(3600)));
        assert_eq!(event_loop.timeout(), Duration::ZERO);
    }
    assert!(started.elapsed() < Duration::from_secs(60), "poll waited after a full batch");
    assert!(backend.0.records_read.load(Relaxed) > 50 * 1000);
}

#[test]
fn ends_when_its_processes_have_exited() {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let process = ProcessHandle::open(child.id()).unwrap();
    let mut event_loop = EventLoop::new(Vec::new()).unwrap().until_exit(&[process]).unwrap();
    assert!(read_batch(&mut event_loop, Duration::ZERO), "ended before the process");
    child.kill().unwrap();
    while read_batch(&mut event_loop, Duration::from_secs(60)) {}
    child.wait().unwrap();
    assert!(!read_batch(&mut event_loop, Duration::ZERO), "poll succeeded after the end");
}

/// A process that ends while it is attached to has its events in the buffer.
#[test]
fn reads_the_events_of_a_process_that_has_already_ended() {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let processes = [ProcessHandle::open(child.id()).unwrap()];
    let backend = EndlessBackend::default();
    let session = Session::start(Plan::default(), &backend).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let attacher = Attacher::of_every_probe(Arc::new(backend.clone()));
    let target = Target::Processes(processes.to_vec());
    let mut event_loop =
        EventLoop::for_target(Some(session), &target, &[], Some(&processes), attacher).unwrap();
    while read_batch(&mut event_loop, Duration::from_secs(60)) {}
    assert!(backend.0.records_read.load(Relaxed) > 0);
}

#[test]
fn returns_buffered_events_after_detaching() {
    let session = Session::start(Plan::default(), &EndlessBackend::default()).unwrap();
    let mut event_loop = EventLoop::new(vec![session]).unwrap();
    event_loop.detach();
    assert!(read_batch(&mut event_loop, Duration::from_secs(3600)));
    assert!(!read_batch(&mut event_loop, Duration::from_secs(3600)));
}

/// A session holds records back while an earlier one is being written. Later events of other sessions
/// wait for them.
#[test]
fn waits_for_records_that_another_session_holds_back() {
    let (simulated, holding) = (Simulated::default(), EndlessBackend::default());
    let selected = [sample::selected(sample::probe(""))];
    let (plan, _) = Plan::new(&selected, &Options::default()).unwrap();
    let session = Session::start(plan, &simulated).unwrap();
    for time_ns in [40, 60, 80] {
        simulated.hit(&Hit { time_ns, ..Hit::default() });
    }
    holding.0.is_detached.store(true, Relaxed);
    let other = Session::start(Plan::default(), &holding).unwrap();
    let mut event_loop = EventLoop::new(vec![session, other]).unwrap();
    let mut count = |read_up_to: u64| {
        holding.0.read_up_to.store(read_up_to, Relaxed);
        let mut batch = event_loop.poll(Duration::ZERO).unwrap().unwrap();
        std::iter::from_fn(|| batch.next().unwrap().map(|_| ())).count()
    };
    assert_eq!([50, 59, 60, 0].map(&mut count), [1, 0, 1, 1]);
}

#[test]
fn returns_events_until_it_has_detached() {
    let backend = EndlessBackend::default();
    let session = Session::start(Plan::default(), &backend).unwrap();
    let mut event_loop = EventLoop::new(vec![session]).unwrap();
    event_loop.start_detaching();
    event_loop.start_detaching();
    let mut batches = 0;
    while read_batch(&mut event_loop, Duration::from_secs(3600)) {
        batches += 1;
    }
    assert!(backend.0.is_detached.load(Relaxed));
    assert!(batches > 0);
    assert!(event_loop.sessions().iter().all(Session::has_detached));
}
