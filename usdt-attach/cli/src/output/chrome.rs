//! Events in the Trace Event Format, which Perfetto, Chrome and Speedscope read: a track for each goroutine, or thread
//! where there are none; probes that are start and end of the same work are slices, others are instants.

use super::json::Args;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::sync::Arc;
use usdt_attach::event::{Event, Track};
use usdt_attach::plan::{Plan, PlannedProbe};
use usdt_export::pairs;

/// Starts that wait for their ends at most; further ones are instants.
const MOST_OPEN: usize = 1 << 18;

/// Writes one JSON object, piece by piece.
pub(crate) struct Chrome<W: Write> {
    out: W,
    began: Option<u64>,
    /// Number of each track in its process; the format has 32 bits for it, and a goroutine's id more.
    tracks: HashMap<Track, u32>,
    processes: HashSet<u32>,
    roles: HashMap<PlannedProbe, Role>,
    open: HashMap<Key, Open>,
    slices: u64,
}

/// The starting probe, process, and what start and end have in common.
type Key = (Arc<PlannedProbe>, u32, u64);

#[derive(Clone, Debug)]
enum Role {
    /// Of itself.
    Start(Arc<PlannedProbe>),
    /// Of what began there.
    End(Arc<PlannedProbe>),
    Instant,
}

struct Open {
    at: u64,
    track: Track,
    args: Value,
}

#[derive(Default, Serialize)]
struct Entry<'a> {
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

impl<W: Write> Chrome<W> {
    /// Begins a file; starts and ends are told apart by the names of a plan's probes.
    pub(crate) fn new(mut out: W, plan: &Plan) -> io::Result<Chrome<W>> {
        let mut roles: HashMap<PlannedProbe, Role> = HashMap::new();
        for probe in plan.probes() {
            let own = plan.probes().iter().filter(|p| p.provider == probe.provider);
            let names: Vec<&str> = own.map(|p| p.name.as_str()).collect();
            let Some(end) = pairs::end(&probe.name, &names) else { continue };
            let end = PlannedProbe { provider: probe.provider.clone(), name: end.to_owned() };
            let start = Arc::new(probe.clone());
            roles.insert(probe.clone(), Role::Start(Arc::clone(&start)));
            roles.insert(end, Role::End(start));
        }
        out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n")?;
        Ok(Chrome {
            out,
            began: None,
            tracks: HashMap::new(),
            processes: HashSet::new(),
            roles,
            open: HashMap::new(),
            slices: 0,
        })
    }

    /// Takes an event.
    pub(crate) fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let track = event.track();
        let number = self.track(track, event)?;
        let began = *self.began.get_or_insert(event.time_ns);
        let ts = micros(event.time_ns, began);
        let args = serde_json::to_value(Args(event))?;
        let key =
            |start: &Arc<PlannedProbe>| (Arc::clone(start), event.pid, identity(event, track.id));
        match self.roles.get(event.probe).cloned().unwrap_or(Role::Instant) {
            Role::Start(start) if self.open.len() < MOST_OPEN => {
                let before = self.open.insert(key(&start), Open { at: event.time_ns, track, args });
                match before {
                    Some(lost) => self.unfinished(event.probe, &lost),
                    None => Ok(()),
                }
            }
            Role::End(start) => match self.open.remove(&key(&start)) {
                Some(open) => self.slice(&start, open, event, track, args),
                None => self.instant(event.probe, ts, event.pid, number, args),
            },
            Role::Start(_) | Role::Instant => {
                self.instant(event.probe, ts, event.pid, number, args)
            }
        }
    }

    /// A slice of its goroutine; one that ends in another goroutine has a track of its own.
    fn slice(
        &mut self,
        start: &PlannedProbe,
        open: Open,
        event: &Event<'_>,
        track: Track,
        args: Value,
    ) -> io::Result<()> {
        let name = pairs::stem(&start.name).replace("__", "_");
        let began = self.began.unwrap_or(open.at);
        let (ts, end) = (micros(open.at, began), micros(event.time_ns, began));
        let mut both = open.args;
        if let (Some(both), Value::Object(more)) = (both.as_object_mut(), args) {
            both.extend(more);
        }
        let (cat, pid) = (start.provider.as_str(), event.pid);
        let tid = |of: &Track| self.tracks.get(of).copied().unwrap_or(0);
        let (from, to) = (tid(&open.track), tid(&track));
        let begin = Entry { name: &name, cat, ts, pid, tid: from, args: both, ..Entry::default() };
        if open.track == track {
            return self.write(&Entry { ph: "X", dur: Some(end - ts), ..begin });
        }
        self.slices += 1;
        let id = Some(format!("{:#x}", self.slices));
        self.write(&Entry { ph: "b", id: id.clone(), ..begin })?;
        self.write(&Entry {
            name: &name,
            cat,
            ph: "e",
            ts: end,
            pid,
            tid: to,
            id,
            args: json!({}),
            ..Entry::default()
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
        self.write(&Entry {
            name: &probe.name,
            cat,
            ph: "i",
            ts,
            pid,
            tid,
            s: Some("t"),
            args,
            ..Entry::default()
        })
    }

    /// A start whose end did not come.
    fn unfinished(&mut self, probe: &PlannedProbe, open: &Open) -> io::Result<()> {
        let ts = micros(open.at, self.began.unwrap_or(open.at));
        let tid = self.tracks.get(&open.track).copied().unwrap_or(0);
        self.instant(probe, ts, open.track.pid, tid, open.args.clone())
    }

    /// The number of a track. Its name is written where it is new.
    fn track(&mut self, track: Track, event: &Event<'_>) -> io::Result<u32> {
        if let Some(number) = self.tracks.get(&track) {
            return Ok(*number);
        }
        let number = u32::try_from(self.tracks.len() + 1).unwrap_or(u32::MAX);
        self.tracks.insert(track, number);
        let Track { pid, is_goroutine: goroutine, id } = track;
        let comm = String::from_utf8_lossy(event.comm()).into_owned();
        if self.processes.insert(pid) {
            self.meta("process_name", pid, 0, &json!({"name": comm}))?;
        }
        let name = if goroutine { format!("goroutine {id}") } else { format!("{comm} {id}") };
        self.meta("thread_name", pid, number, &json!({"name": name}))?;
        self.meta("thread_sort_index", pid, number, &json!({"sort_index": id}))?;
        Ok(number)
    }

    fn meta(&mut self, name: &str, pid: u32, tid: u32, args: &Value) -> io::Result<()> {
        serde_json::to_writer(
            &mut self.out,
            &json!({"name": name, "ph": "M", "pid": pid, "tid": tid, "args": args}),
        )?;
        self.out.write_all(b",\n")
    }

    fn write(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, entry)?;
        self.out.write_all(b",\n")
    }

    /// Hands on what is buffered.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Ends the file, with the starts whose ends did not come.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let mut open: Vec<(Key, Open)> = self.open.drain().collect();
        open.sort_by_key(|(_, open)| open.at);
        for ((probe, ..), open) in open {
            self.unfinished(&probe, &open)?;
        }
        let began = self.began.unwrap_or(0).to_string();
        let last = json!({"name": "recording", "ph": "M", "pid": 0, "tid": 0, "args": {"start_time_ns": began}});
        serde_json::to_writer(&mut self.out, &last)?;
        self.out.write_all(b"\n]}\n")?;
        self.out.flush()
    }
}

/// What a start and its end have in common: an argument `id`, else the goroutine or thread.
fn identity(event: &Event<'_>, track: u64) -> u64 {
    use usdt_attach::event::Value::{Pointer, Signed, Unsigned};
    match event.arg("id") {
        Some(Unsigned(n) | Pointer(n)) => n,
        Some(Signed(n)) => n as u64,
        _ => track,
    }
}

/// Microseconds since the first event, where doubles tell nanoseconds apart.
fn micros(at: u64, began: u64) -> f64 {
    (i128::from(at) - i128::from(began)) as f64 / 1000.0
}
