//! Globs that match no probe yet: whether to wait for files that have one.

use cli_common::say;
use usdt_attach::discover::ScannedObject;
use usdt_attach::discover::select::{Glob, available_for, select, unmatched};
use usdt_attach::error::{Error, Result};
use usdt_attach::session::EventLoop;
use usdt_attach::target::Target;

/// Decides about globs that match none of the probes found, and about a target without probes if
/// there are no globs. Says what is waited for.
///
/// # Errors
///
/// Fails if probes are `required` at once, and if the target cannot get other files than it has.
pub(crate) fn wait_or_fail(
    target: &Target,
    found: &[ScannedObject],
    globs: &[String],
    required: bool,
) -> Result<()> {
    let has_probes = |all: &[ScannedObject]| all.iter().any(|one| !one.probes.is_empty());
    let is_complete = |all: &[ScannedObject]| unmatched(all, globs).is_empty() && has_probes(all);
    if is_complete(found) {
        return Ok(());
    }
    let mut all = target.libraries(found)?.objects;
    all.extend_from_slice(found);
    if is_complete(&all) {
        return Ok(());
    }
    if required || !target.can_grow(found) {
        select(&all, globs)?;
        return Err(Error::no_probes(target.to_string()));
    }
    if globs.is_empty() {
        say(&format!("{target} has no probes yet; waiting for files that have"));
    }
    for glob in unmatched(&all, globs) {
        let available = available_for(&Glob::new(&glob), &all);
        say(&format!(
            "no probe matches `{glob}` yet; waiting for files that have one ({available})"
        ));
    }
    Ok(())
}

/// Reports globs that have not matched until the end.
///
/// # Errors
///
/// Fails if nothing was ever attached.
pub(crate) fn check_matched(event_loop: &EventLoop) -> Result<()> {
    let globs: Vec<String> =
        event_loop.unmatched().iter().map(|glob| format!("`{glob}`")).collect();
    let globs = globs.join(", ");
    if !event_loop.has_attached() {
        return Err(Error::never_matched(&globs));
    }
    if !globs.is_empty() {
        say(&format!("warning: no probe matched {globs} until the end"));
    }
    Ok(())
}
