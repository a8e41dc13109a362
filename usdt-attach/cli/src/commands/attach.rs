//! What the commands that attach share: from the arguments through the plan to the end of the session.

use super::args::{HitArgs, ResolvedArgs, TargetArgs};
use crate::output::{json, text, written};
use crate::run_loop::{Output, StopConditions, run};
use crate::signals::Signals;
use cli_common::{say, warn};
use std::io::{self, BufWriter, Write};
use std::time::Duration;
use usdt_attach::error::Result;
use usdt_attach::event::symbolize::Symbolizer;
use usdt_attach::plan::{Options, Plan};
use usdt_attach::session::{Attacher, EventLoop, Mechanism, Session};
use usdt_attach::target::PendingChild;

/// What to attach to and how.
pub(crate) struct AttachRequest<'a> {
    pub(crate) target: &'a TargetArgs,
    pub(crate) hits: &'a HitArgs,
    pub(crate) globs: Vec<String>,
    /// What the command itself asks for; the rest is taken from `hits` and `target`.
    pub(crate) options: Options,
    pub(crate) interval: Option<Duration>,
}

/// Attaches, and runs until the end. `open` returns where events and counts go; it is called when the plan is known.
pub(crate) fn attach<O: Output>(
    request: AttachRequest<'_>,
    open: impl FnOnce(&Plan, Symbolizer) -> Result<O>,
) -> Result<()> {
    let (hits, globs) = (request.hits, &request.globs);
    let ResolvedArgs { target, found, processes, child, chosen, schema, options } =
        hits.resolve(request.target, globs, request.options)?;
    let (plan, warnings) = Plan::new(&chosen, &options)?;
    warn(warnings);
    if hits.dry_run {
        return dry_run(&plan, hits.json);
    }
    let signals = Signals::catch()?;
    let backend = hits.backend().backend(Mechanism::Auto)?;
    let mut symbols = Symbolizer::default();
    if options.stack.is_some() {
        found.iter().for_each(|f| symbols.add_object(&f.object));
    }
    let mut output = open(&plan, symbols)?;
    let session = Session::start(plan, &*backend)?;
    let attacher = Attacher { globs: globs.clone(), schema, options, backend };
    let event_loop =
        EventLoop::for_target(session, &target, &found, processes.as_deref(), attacher)?;
    let mut running = child.map(PendingChild::run).transpose()?;
    let conditions = StopConditions { duration: hits.duration, interval: request.interval };
    let summary = run(event_loop, &signals, conditions, &mut output)?;
    if let Some(child) = &mut running {
        finish(child);
    }
    if hits.json {
        let out = &mut io::stdout().lock();
        return written(json::summary(out, summary).and_then(|()| out.flush()));
    }
    say(&text::summary(summary));
    Ok(())
}

pub(crate) fn dry_run(plan: &Plan, as_json: bool) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = if as_json {
        serde_json::to_writer(&mut out, plan)
            .map_err(io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
    } else {
        text::plan(&mut out, plan)
    };
    written(result.and_then(|()| out.flush()))
}

/// A command that this program started does not outlive it: asked to end, and ended if it does not.
pub(crate) fn finish(child: &mut std::process::Child) {
    const PATIENCE: Duration = Duration::from_secs(5);
    const POLL_INTERVAL: Duration = Duration::from_millis(10);
    let ended = |child: &mut std::process::Child| !matches!(child.try_wait(), Ok(None));
    if !ended(child)
        && let Some(pid) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw)
    {
        // It may have ended in between.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let asked = std::time::Instant::now();
        while !ended(child) && asked.elapsed() < PATIENCE {
            std::thread::sleep(POLL_INTERVAL);
        }
        let _ = child.kill();
    }
    let _ = child.wait();
}
