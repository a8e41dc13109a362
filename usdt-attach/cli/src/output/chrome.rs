//! Events in the Trace Event Format, which Perfetto, Chrome and Speedscope read.
//!
//! Each goroutine is a track; without goroutines each thread is one. Probes that are the start and
//! the end of the same work become slices, and all others become instants.

use super::json::Args;
use indexmap::IndexSet;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::sync::Arc;
use usdt_attach::event::{Event, Track};
use usdt_attach::plan::{Plan, PlannedProbe};
use usdt_export::call_stack::{CallStack, Popped};
use usdt_export::pairs;

/// The maximum number of starts that wait for their ends; further ones become instants.
const MAX_OPEN_SLICES: usize = 1 << 18;

/// Writes one JSON object, event by event.
pub(crate) struct ChromeWriter<W: Write> {
    out: W,
    /// The time of the first event in nanoseconds; `None` before it.
    begin_ns: Option<u64>,
    /// The number of each track, counted from 1: goroutine IDs do not fit the format's 32 bits.
    tracks: HashMap<Track, u32>,
    /// Processes whose name has been written.
    processes: HashSet<u32>,
    /// The probes that are attached to, or were.
    probes: IndexSet<PlannedProbe>,
    roles: HashMap<PlannedProbe, Role>,
    open: HashMap<PairKey, CallStack<OpenSlice>>,
    /// The number of slices in `open`.
    open_slices: usize,
    /// The number of slices written that start and end on different tracks.
    async_slices: u64,
}

/// What a start and its end have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
struct PairKey {
    start: Arc<PlannedProbe>,
    pid: u32,
    id: PairId,
}

/// What pairs a start with its end.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum PairId {
    /// The argument `id`. It identifies one slice, so a start replaces an open one.
    Argument(u64),
    /// The ID of a goroutine or thread, whose slices are nested.
    Track(u64),
    /// The ID of a goroutine, and the frame of a call of a function. A start with the frame of an open
    /// one replaces it: a panic has ended that call.
    Frame(u64, u64),
}

/// What the hits of a probe become.
#[derive(Clone, Debug)]
enum Role {
    /// The starts of slices. Holds the probe itself.
    Start(Arc<PlannedProbe>),
    /// The ends of slices. Holds the probe of their starts.
    End(Arc<PlannedProbe>),
    Instant,
}

/// A start whose end has not come yet.
struct OpenSlice {
    time_ns: u64,
    track: Track,
    args: Value,
}

/// An element of `traceEvents`. The field names are those of the format.
#[derive(Default, Serialize)]
struct TraceEvent<'a> {
    name: &'a str,
    cat: &'a str,
    ph: &'a str,
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: u32,
    tid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'a str>,
    args: Value,
}

impl<W: Write> ChromeWriter<W> {
    /// Writes the beginning of the file.
    pub(crate) fn new(mut out: W) -> io::Result<ChromeWriter<W>> {
        out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n")?;
        Ok(ChromeWriter {
            out,
            begin_ns: None,
            tracks: HashMap::new(),
            processes: HashSet::new(),
            probes: IndexSet::new(),
            roles: HashMap::new(),
            open: HashMap::new(),
            open_slices: 0,
            async_slices: 0,
        })
    }

    /// Adds the probes of a plan. The names of all probes decide which of them are starts and ends.
    pub(crate) fn add_probes(&mut self, plan: &Plan) {
        let known = self.probes.len();
        self.probes.extend(plan.probes().iter().cloned());
        if self.probes.len() == known {
            return;
        }
        self.roles.clear();
        for probe in &self.probes {
            let siblings = self.probes.iter().filter(|p| p.provider == probe.provider);
            let names: Vec<&str> = siblings.map(|p| p.name.as_str()).collect();
            let Some(end) = pairs::end(&probe.name, &names) else { continue };
            let end = PlannedProbe { provider: probe.provider.clone(), name: end.to_owned() };
            let start = Arc::new(probe.clone());
            self.roles.insert(probe.clone(), Role::Start(Arc::clone(&start)));
            self.roles.insert(end, Role::End(start));
        }
    }

    /// Writes an event. A start is kept until its end comes.
    pub(crate) fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let track = event.track();
        let tid = self.track_number(track, event)?;
        let begin_ns = *self.begin_ns.get_or_insert(event.time_ns);
        let ts = microseconds_since(begin_ns, event.time_ns);
        let args = serde_json::to_value(Args(event))?;
        match self.roles.get(event.probe).cloned().unwrap_or(Role::Instant) {
            Role::Start(start) if self.open_slices < MAX_OPEN_SLICES => {
                let slice = OpenSlice { time_ns: event.time_ns, track, args };
                match self.push(pair_key(&start, event, track), slice) {
                    Some(replaced) => self.unfinished(event.probe, &replaced),
                    None => Ok(()),
                }
            }
            Role::End(start) => match self.pop(&pair_key(&start, event, track)) {
                Some(open) => self.slice(&start, open, event, track, args),
                None => self.instant(event.probe, ts, event.pid, tid, args),
            },
            Role::Start(_) | Role::Instant => self.instant(event.probe, ts, event.pid, tid, args),
        }
    }

    /// Adds an open slice. Returns the one that it replaces.
    fn push(&mut self, key: PairKey, slice: OpenSlice) -> Option<OpenSlice> {
        let id = key.id;
        let stack = self.open.entry(key).or_default();
        let replaced = match id {
            PairId::Argument(_) | PairId::Frame(..) => match stack.pop() {
                Popped::Call(replaced) => Some(replaced),
                Popped::TooDeep | Popped::Empty => None,
            },
            PairId::Track(_) => None,
        };
        let replaced = stack.push(slice).or(replaced);
        self.open_slices += usize::from(replaced.is_none());
        replaced
    }

    /// Removes the slice that an end belongs to.
    fn pop(&mut self, key: &PairKey) -> Option<OpenSlice> {
        let stack = self.open.get_mut(key)?;
        let popped = stack.pop();
        if stack.is_empty() {
            self.open.remove(key);
        }
        let Popped::Call(slice) = popped else { return None };
        self.open_slices -= 1;
        Some(slice)
    }

    /// Writes a slice. One that ends on another track becomes an asynchronous slice.
    fn slice(
        &mut self,
        start: &PlannedProbe,
        open: OpenSlice,
        event: &Event<'_>,
        end_track: Track,
        end_args: Value,
    ) -> io::Result<()> {
        let name = pairs::work_name(start);
        let begin_ns = self.begin_ns.unwrap_or(open.time_ns);
        let start_ts = microseconds_since(begin_ns, open.time_ns);
        let end_ts = microseconds_since(begin_ns, event.time_ns);
        let mut args = open.args;
        if let (Some(args), Value::Object(end_args)) = (args.as_object_mut(), end_args) {
            args.extend(end_args);
        }
        let start_tid = self.tracks.get(&open.track).copied().unwrap_or(0);
        let end_tid = self.tracks.get(&end_track).copied().unwrap_or(0);
        let (cat, pid) = (start.provider.as_str(), event.pid);
        let slice = TraceEvent {
            name: &name,
            cat,
            ts: start_ts,
            pid,
            tid: start_tid,
            args,
            ..TraceEvent::default()
        };
        if open.track == end_track {
            return self.write(&TraceEvent { ph: "X", dur: Some(end_ts - start_ts), ..slice });
        }
        self.async_slices += 1;
        let id = Some(format!("{:#x}", self.async_slices));
        self.write(&TraceEvent { ph: "b", id: id.clone(), ..slice })?;
        self.write(&TraceEvent {
            name: &name,
            cat,
            ph: "e",
            ts: end_ts,
            pid,
            tid: end_tid,
            id,
            args: json!({}),
            ..TraceEvent::default()
        })
    }

    fn instant(
        &mut self,
        probe: &PlannedProbe,
        ts: f64,
        pid: u32,
        tid: u32,
        args: Value,
    ) -> io::Result<()> {
        let cat = probe.provider.as_str();
        self.write(&TraceEvent {
            name: &probe.name,
            cat,
            ph: "i",
            ts,
            pid,
            tid,
            s: Some("t"),
            args,
            ..TraceEvent::default()
        })
    }

    /// Writes a start whose end did not come as an instant.
    fn unfinished(&mut self, probe: &PlannedProbe, open: &OpenSlice) -> io::Result<()> {
        let ts = microseconds_since(self.begin_ns.unwrap_or(open.time_ns), open.time_ns);
        let tid = self.tracks.get(&open.track).copied().unwrap_or(0);
        self.instant(probe, ts, open.track.pid, tid, open.args.clone())
    }

    /// The number of a track. Writes the name of a track that is new.
    fn track_number(&mut self, track: Track, event: &Event<'_>) -> io::Result<u32> {
        if let Some(number) = self.tracks.get(&track) {
            return Ok(*number);
        }
        let number = u32::try_from(self.tracks.len() + 1).unwrap_or(u32::MAX);
        self.tracks.insert(track, number);
        let Track { pid, is_goroutine, id } = track;
        let comm = String::from_utf8_lossy(event.comm()).into_owned();
        if self.processes.insert(pid) {
            self.metadata("process_name", pid, 0, &json!({"name": comm}))?;
        }
        let name = if is_goroutine { format!("goroutine {id}") } else { format!("{comm} {id}") };
        self.metadata("thread_name", pid, number, &json!({"name": name}))?;
        self.metadata("thread_sort_index", pid, number, &json!({"sort_index": id}))?;
        Ok(number)
    }

    fn metadata(&mut self, name: &str, pid: u32, tid: u32, args: &Value) -> io::Result<()> {
        cli_common::write_json(
            &mut self.out,
            &json!({"name": name, "ph": "M", "pid": pid, "tid": tid, "args": args}),
        )?;
        self.out.write_all(b",\n")
    }

    fn write(&mut self, event: &TraceEvent<'_>) -> io::Result<()> {
        cli_common::write_json(&mut self.out, event)?;
        self.out.write_all(b",\n")
    }

    /// Writes what is buffered.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Writes the starts whose ends did not come, and the end of the file.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let mut open: Vec<(Arc<PlannedProbe>, OpenSlice)> = self
            .open
            .drain()
            .flat_map(|(key, stack)| stack.into_calls().map(move |c| (Arc::clone(&key.start), c)))
            .collect();
        open.sort_by_key(|(_, open)| open.time_ns);
        for (start, open) in open {
            self.unfinished(&start, &open)?;
        }
        // JSON does not allow a comma after the last element, so the last one is always this.
        let begin_ns = self.begin_ns.unwrap_or(0).to_string();
        let last = json!({"name": "recording", "ph": "M", "pid": 0, "tid": 0, "args": {"start_time_ns": begin_ns}});
        cli_common::write_json(&mut self.out, &last)?;
        self.out.write_all(b"\n]}\n")?;
        self.out.flush()
    }
}

/// Pairs starts and ends by the frame of a function's call, or else by an argument `id`, or else by the
/// goroutine or thread.
fn pair_key(start: &Arc<PlannedProbe>, event: &Event<'_>, track: Track) -> PairKey {
    use usdt_attach::event::Value::{Pointer, Signed, Unsigned};
    // A function's argument `id` identifies no call.
    let argument = event.arg("id").filter(|_| start.function().is_none());
    let id = match (event.frame(), argument) {
        (Some(frame), _) => PairId::Frame(track.id, frame),
        (None, Some(Unsigned(n) | Pointer(n))) => PairId::Argument(n),
        (None, Some(Signed(n))) => PairId::Argument(n as u64),
        _ => PairId::Track(track.id),
    };
    PairKey { start: Arc::clone(start), pid: event.pid, id }
}

/// Microseconds from one time to another. Counted from the first event and not from 1970, so that a
/// double resolves nanoseconds.
fn microseconds_since(begin_ns: u64, time_ns: u64) -> f64 {
    (i128::from(time_ns) - i128::from(begin_ns)) as f64 / 1000.0
}
