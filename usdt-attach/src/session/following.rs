//! Attaching to objects that a target executes or maps later.

use super::Session;
use crate::backend::Backend;
use crate::discover::select::{select_if_any, unmatched};
use crate::discover::{ObjectId, ScannedObject, SchemaFile, add_functions, no_process};
use crate::error::{Error, ErrorKind, Result, Warning, WarningKind};
use crate::plan::{Mode, Options, Plan, PlannedObject};
use crate::target::follow::Follower;
use crate::target::{ProcessHandle, Target};
use stapsdt::escape::Escaped;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often sessions on files that no process maps any more are ended.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(10);
/// The number of objects of a poll that are named if attaching to them fails.
const MAX_NAMED: usize = 8;
/// The number of tries if processes of the target end while it is attached to.
const MAX_TRIES: usize = 3;
/// The number of objects that wait for the other probe of a latency.
const MAX_HALVES: usize = 64;

/// How an [`EventLoop`](super::EventLoop) attaches to objects that its target executes or maps
/// later.
#[derive(Clone, Debug)]
pub struct Attacher {
    /// Globs of the probes to attach to. Empty: every probe.
    pub globs: Vec<String>,
    /// Names and types of arguments for probes without a schema of their own.
    pub schema: Option<SchemaFile>,
    /// Options of the plans.
    pub options: Options,
    /// The back end that attaches the plans.
    pub backend: Arc<dyn Backend>,
    /// Whether a command is stopped whenever its dynamic linker maps libraries, until they are attached to, so that
    /// no hit is lost. The loop must then be polled all the time.
    pub stops_command: bool,
}

impl Attacher {
    #[cfg(test)]
    pub(super) fn of_every_probe(backend: Arc<dyn Backend>) -> Attacher {
        let options = Options::default();
        Attacher { globs: Vec::new(), schema: None, options, backend, stops_command: false }
    }

    /// Attaches to all of the objects, which have selected probes, or to none.
    fn attach(
        &self,
        objects: &[ScannedObject],
        processes: Option<&[ProcessHandle]>,
        executables: Option<&[u64]>,
        limits: Limits,
        warnings: &mut Vec<Warning>,
    ) -> std::result::Result<Session, AttachError> {
        let selected = select_if_any(objects, &self.globs);
        // With children, programs look processes up in the kernel's tree, not by their ids.
        let processes = processes.filter(|_| self.options.children.is_none());
        let mut tries = MAX_TRIES;
        loop {
            tries -= 1;
            let alive =
                processes.map(|all| all.iter().filter(|p| p.is_alive()).collect::<Vec<_>>());
            if alive.as_ref().is_some_and(Vec::is_empty) {
                return Err(AttachError::Gone);
            }
            let pids = alive.as_ref().map(|alive| alive.iter().map(|p| p.pid()).collect());
            let executables = executables.map(<[u64]>::to_vec);
            let Limits { remaining: limit, buffer } = limits;
            let options = Options { limit, buffer, pids, executables, ..self.options.clone() };
            let (plan, plan_warnings) =
                Plan::new(&selected, &options).map_err(AttachError::Unplanned)?;
            let result = Session::start(plan, &*self.backend)
                .and_then(|session| check_ids(alive.into_iter().flatten()).map(|()| session));
            match result {
                Ok(session) => {
                    warnings.extend(plan_warnings);
                    return Ok(session);
                }
                // One of the processes has ended, before it was attached to or so that another one has
                // its id.
                Err(error) if error.kind() == ErrorKind::NotFound && tries > 0 => {}
                Err(error) => return Err(AttachError::Rejected(error)),
            }
        }
    }
}

/// Fails if another process has got the id of one of these: what was attached by id may be attached
/// to the other one.
///
/// A process that has ended meanwhile is no reason to fail. Its last hits, which would be lost, may be
/// the only ones.
///
/// # Errors
///
/// `NotFound`, which names the process.
pub fn check_ids<'p>(processes: impl IntoIterator<Item = &'p ProcessHandle>) -> Result<()> {
    match processes.into_iter().find(|process| process.has_lost_id()) {
        Some(process) => Err(no_process(process.pid())),
        None => Ok(()),
    }
}

/// The limits of a session that is attached later.
#[derive(Clone, Copy)]
struct Limits {
    /// The number of hits after which it stops; `None` for no limit.
    remaining: Option<u64>,
    /// The size of its event buffer in bytes.
    buffer: u32,
}

/// The event buffers of all sessions have at most this many times the size of the first one, as long
/// as each has [`MIN_BUFFER`].
const MAX_BUFFERS: u64 = 8;
/// The size in bytes of an event buffer for which there is not enough memory left.
const MIN_BUFFER: u32 = 1 << 18;

/// Returns the size in bytes of another event buffer, next to those that have `used` bytes: a power of
/// two, if `wanted` is one.
pub fn buffer_size(wanted: u32, used: u64) -> u32 {
    let most = MAX_BUFFERS * u64::from(wanted);
    let mut size = wanted;
    while size > MIN_BUFFER && used + u64::from(size) > most {
        size /= 2;
    }
    size
}

/// Why objects are not attached to.
enum AttachError {
    /// They cannot be planned, and will not until they change.
    Unplanned(Error),
    /// The kernel rejects the plan, which it may accept later.
    Rejected(Error),
    /// The processes to trace have ended.
    Gone,
}

/// A target that is followed, and how to attach to its new objects.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) follower: Follower,
    attacher: Attacher,
    /// The processes of a target that names them one by one.
    processes: Option<Vec<ProcessHandle>>,
    /// True if the files of the target come and go.
    has_changing_files: bool,
    /// Globs that have matched no probe yet.
    pub(super) unmatched: Vec<String>,
    /// True once something is attached.
    pub(super) has_attached: bool,
    /// Objects with only one of the two probes of a latency.
    halves: Vec<ScannedObject>,
    /// True once the target was polled. What is found later was loaded during the session.
    has_polled: bool,
    cleaned_up: Instant,
}

impl Following {
    pub(super) fn new(
        target: &Target,
        objects: &[ScannedObject],
        processes: Option<&[ProcessHandle]>,
        attacher: Attacher,
    ) -> Following {
        let attacher_globs = attacher.globs.clone();
        let children = attacher.options.children.as_ref();
        let mut follower = Follower::with_children(target, objects, children);
        follower.add_command(processes.unwrap_or_default(), attacher.stops_command);
        Following {
            follower,
            attacher,
            processes: processes.map(<[ProcessHandle]>::to_vec),
            has_changing_files: target.has_changing_files(),
            unmatched: unmatched(objects, &attacher_globs),
            has_attached: false,
            halves: Vec::new(),
            has_polled: false,
            cleaned_up: Instant::now(),
        }
    }

    /// Attaches to new objects, and returns the sessions. `remaining` replaces the limit in the
    /// options; `used_buffer` is the size of all event buffers so far in bytes. What cannot be
    /// attached to is reported in `warnings`. Then continues the processes that were stopped.
    pub(super) fn attach_new(
        &mut self,
        remaining: Option<u64>,
        used_buffer: u64,
        warnings: &mut Vec<Warning>,
    ) -> Result<Vec<Session>> {
        /// Another thread of the process may map a file meanwhile.
        const MAX_ROUNDS: usize = 8;
        let mut sessions = self.attach_found(remaining, used_buffer, warnings)?;
        for _ in 0..MAX_ROUNDS {
            if !self.follower.has_stopped()? {
                break;
            }
            let used = used_buffer + buffer_sizes(&sessions);
            sessions.extend(self.attach_found(remaining, used, warnings)?);
        }
        self.follower.resume();
        Ok(sessions)
    }

    fn attach_found(
        &mut self,
        remaining: Option<u64>,
        used_buffer: u64,
        warnings: &mut Vec<Warning>,
    ) -> Result<Vec<Session>> {
        let is_first = !std::mem::replace(&mut self.has_polled, true);
        let mut objects = self.follower.poll_new_objects()?;
        warnings.extend(self.follower.take_warnings());
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        self.attacher.schema.iter().for_each(|schema| schema.apply(&mut objects));
        let names = self.attacher.options.function_options();
        add_functions(&mut objects, &self.attacher.globs, &names);
        self.follower.retain_selected(&mut objects, &self.attacher.globs);
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        objects.append(&mut self.halves);
        if let Mode::Latency { .. } = self.attacher.options.mode
            && !unmatched(&objects, &self.attacher.globs).is_empty()
        {
            // The other probe may be in a file that is loaded later.
            objects.truncate(MAX_HALVES);
            self.halves = objects;
            return Ok(Vec::new());
        }
        debug_event!(objects = objects.len(), "the target runs new objects");
        let mut batch = Batch {
            following: self,
            is_first,
            remaining,
            used_buffer,
            warnings,
            sessions: Vec::new(),
            failures: Vec::new(),
        };
        let is_limited =
            |one: &ScannedObject| batch.following.follower.executables(one.object.id).is_some();
        // A latency needs both of its probes in one session.
        let groups = if batch.following.is_pair() {
            vec![objects]
        } else {
            let (libraries, others): (Vec<_>, Vec<_>) = objects.into_iter().partition(is_limited);
            vec![others, libraries]
        };
        for group in groups.iter().filter(|group| !group.is_empty()) {
            batch.attach(group);
        }
        let Batch { sessions, failures, .. } = batch;
        let unnamed = failures.len().saturating_sub(MAX_NAMED);
        warnings.extend(failures.into_iter().take(MAX_NAMED));
        if unnamed > 0 {
            let message = format!("trying again to attach to {unnamed} more files");
            warnings.push(Warning::new(WarningKind::SkippedObject, message));
        }
        self.has_attached |= !sessions.is_empty();
        Ok(sessions)
    }

    /// Returns true if a session needs two probes, which can be in two files.
    fn is_pair(&self) -> bool {
        matches!(self.attacher.options.mode, Mode::Latency { .. })
    }

    /// Returns the files that may be hit, of those of the sessions; `None` if it is not time to
    /// clean up, or if there are no descriptors left to find them out.
    pub(super) fn live_objects(
        &mut self,
        sessions: &[Session],
    ) -> Result<Option<HashSet<ObjectId>>> {
        if !self.has_changing_files
            || sessions.len() < 2
            || self.cleaned_up.elapsed() < CLEANUP_INTERVAL
        {
            return Ok(None);
        }
        let ids = sessions.iter().flat_map(|s| s.plan().objects()).map(PlannedObject::id);
        let known: HashSet<ObjectId> = ids.collect();
        self.cleaned_up = Instant::now();
        self.follower.live_objects(&known)
    }
}

/// Returns an error with the same message, for another file.
fn copy_of(error: &Error) -> Error {
    let number = error.raw_os_error().unwrap_or(libc::EMFILE);
    Error::kernel(error.to_string(), std::io::Error::from_raw_os_error(number))
}

/// Keeps the globs that match no probe of these objects either.
fn retain_unmatched(objects: &[ScannedObject], globs: &mut Vec<String>) {
    *globs = unmatched(objects, globs);
}

/// The size of the event buffers of sessions in bytes.
pub(super) fn buffer_sizes(sessions: &[Session]) -> u64 {
    sessions.iter().map(|session| u64::from(session.buffer_size())).sum()
}

/// Attaches to the new objects of one poll.
struct Batch<'a> {
    following: &'a mut Following,
    /// True if the objects were there when the session started.
    is_first: bool,
    remaining: Option<u64>,
    /// The size of all event buffers in bytes.
    used_buffer: u64,
    warnings: &'a mut Vec<Warning>,
    sessions: Vec<Session>,
    failures: Vec<Warning>,
}

impl Batch<'_> {
    /// Attaches to objects with one session or, if that fails, with one for each half, so that one
    /// object does not keep the others from being attached to. Returns the error if there are no
    /// descriptors left.
    fn attach(&mut self, objects: &[ScannedObject]) -> Option<Error> {
        let is_pair = self.following.is_pair();
        let Following { follower, attacher, processes, unmatched, .. } = &mut *self.following;
        let executables = objects.iter().find_map(|one| follower.executables(one.object.id));
        let limits = Limits {
            remaining: self.remaining,
            buffer: buffer_size(attacher.options.buffer, self.used_buffer),
        };
        let processes = processes.as_deref();
        let executables = executables.as_deref();
        match attacher.attach(objects, processes, executables, limits, self.warnings) {
            Ok(mut session) => {
                if session.fd().is_some() {
                    self.used_buffer += u64::from(limits.buffer);
                }
                session.close_programs();
                self.sessions.push(session);
                retain_unmatched(objects, unmatched);
                for scanned in objects.iter().take(MAX_NAMED) {
                    let message = follower.missed_hits(scanned);
                    if let Some(message) = message.filter(|_| !self.is_first) {
                        self.warnings.push(Warning::new(WarningKind::AttachedLate, message));
                    }
                }
                for scanned in objects {
                    if follower.attached(scanned.object.id) {
                        let path = Escaped::new(&scanned.object.path);
                        let message = format!("attached to {path} after all");
                        self.warnings.push(Warning::new(WarningKind::AttachedLate, message));
                    }
                }
                None
            }
            Err(AttachError::Gone) => None,
            Err(error) => match objects {
                [object] => self.fail(object, error),
                [first, rest @ ..] if is_pair => {
                    for object in rest {
                        let error = match &error {
                            AttachError::Rejected(error) => AttachError::Rejected(copy_of(error)),
                            _ => AttachError::Gone,
                        };
                        self.fail(object, error);
                    }
                    self.fail(first, error)
                }
                _ => {
                    let (first, second) = objects.split_at(objects.len() / 2);
                    let Some(shortage) = self.attach(first) else { return self.attach(second) };
                    // The others would only fail as well.
                    for object in second {
                        self.fail(object, AttachError::Rejected(copy_of(&shortage)));
                    }
                    Some(shortage)
                }
            },
        }
    }

    /// Notes that an object is not attached to. Returns the error if there are no descriptors left.
    fn fail(&mut self, scanned: &ScannedObject, error: AttachError) -> Option<Error> {
        let path = Escaped::new(&scanned.object.path);
        let (message, error) = match error {
            AttachError::Unplanned(error) => {
                self.following.follower.ignored(scanned);
                (Some(format!("{error:#}")), error)
            }
            AttachError::Rejected(error) => {
                let is_first = self.following.follower.failed(scanned.object.id);
                let message = format!("trying again to attach to {path}: {error:#}");
                (is_first.then_some(message), error)
            }
            AttachError::Gone => return None,
        };
        self.failures
            .extend(message.map(|message| Warning::new(WarningKind::SkippedObject, message)));
        Some(error).filter(Error::is_resource_limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::simulated::Simulated;
    use crate::backend::{AttachPlan, Attachment, Share};
    use crate::discover::sample;
    use crate::discover::select::Selected;
    use std::process::{Child, Command};
    use std::sync::Mutex;

    /// A back end that ends a process after it has attached.
    #[derive(Debug)]
    struct Ending(Simulated, Mutex<Child>);

    impl AttachPlan for Ending {
        fn attach(
            &self,
            plan: &Arc<Plan>,
            share: Option<Share<'_>>,
        ) -> Result<Box<dyn Attachment>> {
            let attachment = self.0.attach(plan, share);
            let mut child = self.1.lock().unwrap();
            child.kill().unwrap();
            child.wait().unwrap();
            attachment
        }
    }

    #[test]
    fn keeps_the_session_of_a_process_that_has_ended_meanwhile() {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessHandle::open(child.id()).unwrap();
        let mut attacher =
            Attacher::of_every_probe(Arc::new(Ending(Simulated::default(), Mutex::new(child))));
        let Selected { object, probe, pids } = sample::selected(sample::probe(""));
        let objects = [ScannedObject { object, probes: vec![probe], warnings: Vec::new(), pids }];
        let limits = Limits { remaining: None, buffer: 1 << 20 };
        let attach = |attacher: &Attacher| {
            let processes = Some(std::slice::from_ref(&process));
            attacher.attach(&objects, processes, None, limits, &mut Vec::new())
        };
        assert!(attach(&attacher).is_ok(), "its hits before it ended are lost");
        attacher.backend = Arc::new(Simulated::default());
        assert!(matches!(attach(&attacher), Err(AttachError::Gone)));
    }

    #[test]
    fn event_buffers_of_later_files_become_smaller() {
        const WANTED: u32 = 8 << 20;
        let (mut used, mut sizes) = (u64::from(WANTED), Vec::new());
        for _ in 0..20 {
            let size = buffer_size(WANTED, used);
            used += u64::from(size);
            sizes.push(size);
        }
        assert_eq!(sizes[..7], [WANTED; 7]);
        assert_eq!(sizes[7..], [MIN_BUFFER; 13]);
        assert_eq!(buffer_size(1 << 16, 1 << 40), 1 << 16, "never above the one that is wanted");
    }
}
