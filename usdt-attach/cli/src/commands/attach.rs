//! Attaching as most commands do it: from the arguments through the plan to the end of the session.

use super::args::{HitArgs, ResolvedArgs, TargetArgs};
use crate::output::progress::is_watched;
use crate::output::{check_write, json, text};
use crate::privileges::{Needs, restrict};
use crate::run_loop::{Output, StopConditions, run};
use crate::signals::Signals;
use cli_common::{Text, say, warn};
use std::io::{self, BufWriter, Write};
use std::time::Duration;
use usdt_attach::discover::select::unmatched;
use usdt_attach::error::Result;
use usdt_attach::event::symbolize::Symbolizer;
use usdt_attach::plan::{Mode, Options, Plan};
use usdt_attach::session::{Attacher, EventLoop, Mechanism, Session};
use usdt_attach::target::{LeftOutChildren, PendingChild};

/// What to attach to and how.
pub(crate) struct AttachRequest<'a> {
    pub(crate) target: &'a TargetArgs,
    pub(crate) hits: &'a HitArgs,
    pub(crate) globs: Vec<String>,
    /// Settings of the command itself; the others are taken from `hits` and `target`.
    pub(crate) options: Options,
    /// How often to report totals; `None` reports them once, at the end.
    pub(crate) interval: Option<Duration>,
}

/// Attaches, writes events and totals to an output until the session ends, and prints the hit
/// counts. `open` creates the output; it is called once the plan is known.
pub(crate) fn attach<O: Output>(
    request: AttachRequest<'_>,
    open: impl FnOnce(&Plan, Symbolizer) -> Result<O>,
) -> Result<()> {
    let (hits, globs) = (request.hits, &request.globs);
    let ResolvedArgs { target, found, processes, child, selected, schema, options } =
        hits.resolve(request.target, globs, request.options, true)?;
    let is_pair = matches!(options.mode, Mode::Latency { .. });
    let waits = selected.is_empty() || is_pair && !unmatched(&found, globs).is_empty();
    let plan = match waits {
        true => None,
        false => {
            let (plan, warnings) = Plan::new(&selected, &options)?;
            warn(warnings);
            Some(plan)
        }
    };
    if hits.dry_run {
        return print_plan(&plan.unwrap_or_default(), hits.json);
    }
    let signals = Signals::catch()?;
    let backend = hits.backend().backend(Mechanism::Auto)?;
    let mut symbols = Symbolizer::default();
    if options.stack.is_some() {
        found.iter().for_each(|f| symbols.add_object(&f.object));
    }
    let mut output = match &plan {
        Some(plan) => open(plan, symbols)?,
        None => open(&Plan::default(), symbols)?,
    };
    // Before attaching, because a process may fork as soon as its probes are enabled.
    let left_out = match (&options.children, &processes) {
        (None, Some(processes)) => LeftOutChildren::count_from(processes),
        _ => None,
    };
    let attached = plan.as_ref().and_then(attached_message);
    let session = plan.map(|plan| Session::start(plan, &*backend)).transpose()?;
    if session.as_ref().is_some_and(Session::rejects_absent_strings) {
        say(
            "note: a string that is not in memory when its probe fires does not match the filter: on this kernel, or with --cgroup, programs cannot wait for it",
        );
    }
    // The start and the end of a latency can be in different files, which are attached to together.
    let known = if waits && is_pair { &[][..] } else { &found };
    let attacher = Attacher { globs: globs.clone(), schema, options, backend, stops_command: true };
    let mut event_loop =
        EventLoop::for_target(session, &target, known, processes.as_deref(), attacher)?;
    left_out.into_iter().for_each(|children| event_loop.report_left_out(children));
    // They hold the files of the target open.
    drop((found, selected));
    let mut running = child.map(PendingChild::run).transpose()?;
    if running.is_some() {
        // The command may load libraries and execute other programs, which are attached to.
        restrict(Needs {
            attaching: true,
            processes: true,
            ending_a_command: true,
            ..Needs::default()
        });
    }
    if let Some(message) = attached.filter(|_| is_watched()) {
        say(&message);
    }
    let conditions = StopConditions { duration: hits.duration, interval: request.interval };
    let result = run(event_loop, &signals, conditions, &mut output);
    if let Some(child) = &mut running {
        terminate(child);
    }
    let summary = result?;
    if hits.json {
        let out = &mut Text::new(io::stdout().lock(), false);
        return check_write(json::summary(out, summary).and_then(|()| out.flush()));
    }
    say(&text::summary(summary));
    Ok(())
}

/// What a user waits for: the number of attached probes. `None` if there is none yet.
fn attached_message(plan: &Plan) -> Option<String> {
    let (probes, files) = (plan.probes().len() as u64, plan.objects().len() as u64);
    (probes > 0).then(|| {
        format!(
            "attached to {} of {}; Ctrl-C ends",
            text::with_unit(probes, "probe"),
            text::with_unit(files, "file")
        )
    })
}

/// Prints a plan instead of attaching, for `--dry-run`.
pub(crate) fn print_plan(plan: &Plan, as_json: bool) -> Result<()> {
    let mut out = Text::new(BufWriter::new(io::stdout().lock()), false);
    let result =
        if as_json { json::write_line(&mut out, plan) } else { text::plan(&mut out, plan) };
    check_write(result.and_then(|()| out.flush()))
}

/// Ends a command that this program started: sends SIGTERM, and SIGKILL if that is not enough.
pub(crate) fn terminate(child: &mut std::process::Child) {
    const SIGTERM_TIMEOUT: Duration = Duration::from_secs(5);
    const POLL_INTERVAL: Duration = Duration::from_millis(10);
    fn has_ended(child: &mut std::process::Child) -> bool {
        !matches!(child.try_wait(), Ok(None))
    }
    if !has_ended(child)
        && let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw)
    {
        // Fails if the process has ended in between.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let terminated = std::time::Instant::now();
        while !has_ended(child) && terminated.elapsed() < SIGTERM_TIMEOUT {
            std::thread::sleep(POLL_INTERVAL);
        }
        let _ = child.kill();
    }
    let _ = child.wait();
}
