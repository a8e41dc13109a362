//! Limits on open files, next to processes that map many files.

use crate::export::{get, metric};
use std::collections::HashSet;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use usdt_e2e::neighbors::{build, map_files, start_hog};
use usdt_e2e::{
    Need, Process, command, events_and_summary, free_port, have, mapping_start, semaphore_of,
    stdout, text, tools, wait_for, write,
};

/// Returns `usdt-attach` with limits on open files.
fn limited(soft: u32, hard: u32, args: &[&str]) -> Command {
    let limits = format!("ulimit -Sn {soft} && ulimit -Hn {hard}");
    let mut attach = usdt_e2e::limited(&limits, tools().join("usdt-attach"));
    attach.args(args);
    attach
}

/// Waits for the other tests of this file, whose files would take the descriptors of this one. `None`
/// if the machine lacks what they need.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let can_run = have(&[Need::Bpf, Need::Program("gcc")]);
    can_run.then(|| ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner))
}

fn counts(port: u16, provider: &str) -> f64 {
    let page = get(port, "/metrics");
    metric(&page, &format!("usdt_{provider}_hit_total")).values().sum()
}

/// The hard limit is too low for all copies. The program that starts meanwhile is attached to when
/// they have gone.
#[test]
fn attaches_to_a_program_when_descriptors_are_free_again() {
    let Some(_guard) = alone() else { return };
    let folder = tempfile::tempdir().unwrap();
    let app = build(folder.path(), "crowded");
    let hog = start_hog(&app, folder.path(), 300);
    let victim = folder.path().join("victim");
    stdout(Command::new("cp").arg(&app).arg(&victim));
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let args = ["export", "--all", "--prometheus", &address, "crowded:*"];
    let exporter = Process::start(&mut limited(256, 256, &args));
    wait_for("the endpoint", || get(port, "/metrics").contains("usdt_"));
    let target = Process::start(&mut command(&victim));
    // Most copies are attached to, and some descriptors stay free.
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", exporter.pid())).unwrap().count();
    assert!((150..256).contains(&descriptors), "{descriptors}");
    assert!(get(port, "/metrics").contains("usdt_"));
    drop(hog);
    let (status, _, errors) = target.finish();
    assert!(status.success(), "{errors}");
    // The tracer of another test can enable the probe before this exporter has attached to it. The
    // program then fires in vain, and another process of it must be counted.
    for _ in 0..5 {
        std::thread::sleep(Duration::from_secs(1));
        if counts(port, "crowded") >= 5.0 {
            break;
        }
        Process::start(&mut command(&victim)).finish();
    }
    wait_for("the hits", || counts(port, "crowded") >= 5.0);
    let (_, _, messages) = exporter.interrupt();
    let about = |what: &str| messages.lines().filter(|line| line.contains(what)).count();
    let victim = victim.to_str().unwrap();
    // The program may be attached to before a copy takes the last descriptor. Otherwise each failure
    // and each success is reported once.
    let failures = about(&format!("trying again to attach to {victim}: "));
    assert!(failures <= 1, "{messages}");
    assert_eq!(about(&format!("attached to {victim} after all")), failures, "{messages}");
    assert!(about("trying again to attach to ") > 0, "{messages}");
    assert!(messages.contains("its limit of 256 open files; raise the hard limit"), "{messages}");
}

/// The soft limit of 256 is raised, but not that of a command.
#[test]
fn raises_the_soft_limit_for_itself_only() {
    let Some(_guard) = alone() else { return };
    let folder = tempfile::tempdir().unwrap();
    let app = build(folder.path(), "raised");
    let hog = start_hog(&app, folder.path(), 300);
    let args = ["trace", "--all", "--json", "raised:*"];
    let tracer = Process::start(&mut limited(256, 4096, &args));
    wait_for("the tracer", || tracer.link_count() >= 302);
    let victim = folder.path().join("victim");
    stdout(Command::new("cp").arg(&app).arg(&victim));
    let (status, _, errors) = Process::start(&mut command(&victim)).finish();
    assert!(status.success(), "{errors}");
    let interrupted = Instant::now();
    let (_, out, errors) = tracer.interrupt();
    // Closing one link after the other takes 15 seconds.
    assert!(interrupted.elapsed() < Duration::from_secs(4), "{:?}", interrupted.elapsed());
    let (events, summary) = events_and_summary(&out);
    assert_eq!((events.len(), &summary["hits"]), (5, &5.into()), "{errors}");
    drop(hog);
    let app = app.to_str().unwrap();
    let (_, out, errors) =
        Process::start(&mut limited(256, 4096, &["trace", "--json", "--", app])).finish();
    assert!(errors.contains("limit 256\n"), "{out} {errors}");
}

/// 110 programs, two entries and a limit of 1,024.
#[test]
fn exports_from_110_programs_with_few_descriptors() {
    let Some(_guard) = alone() else { return };
    let folder = tempfile::tempdir().unwrap();
    let app = build(folder.path(), "distinct");
    let _hog = start_hog(&app, folder.path(), 110);
    let port = free_port();
    let config = write(
        folder.path(),
        "export.toml",
        format!(
            "[prometheus]\nlisten = \"127.0.0.1:{port}\"\n\
             [[count]]\nprobes = [\"distinct:*\"]\n\
             [[hist]]\nprobes = [\"distinct:*\"]\nvalue = \"arg0\"\n"
        ),
    );
    let args = ["export", "--all", "--config", &config];
    let exporter = Process::start(&mut limited(1024, 1024, &args));
    wait_for("the endpoint", || get(port, "/metrics").contains("usdt_"));
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", exporter.pid())).unwrap().count();
    assert!(descriptors < 110 * 7 + 60, "{descriptors}");
    let (status, _, errors) = Process::start(&mut command(&app)).finish();
    assert!(status.success(), "{errors}");
    wait_for("the hits", || counts(port, "distinct") >= 5.0);
    let (_, _, messages) = exporter.interrupt();
    assert!(messages.contains("attached to 222 sites"), "{messages}");
    assert!(!messages.contains("trying again"), "{messages}");
}

/// With each limit, descriptors run out at another point: of opening files, creating maps and the
/// ring, loading programs and attaching them.
#[test]
fn running_out_of_descriptors_at_any_point_is_an_error_that_leaves_nothing_attached() {
    let Some(_guard) = alone() else { return };
    let folder = tempfile::tempdir().unwrap();
    let app = build(folder.path(), "limits");
    // It maps its own file, and fires nothing.
    let target = map_files(&app, std::slice::from_ref(&app));
    // The program is position-independent.
    let start = mapping_start(target.pid(), "/limits").unwrap();
    let semaphore = start + semaphore_of(&app, "limits:hit");
    let (pid, path) = (target.pid().to_string(), app.to_str().unwrap());
    let mut phases = HashSet::new();
    for args in [
        &["count", "-p", &pid, "--duration", "1ms"][..],
        &["trace", "--exe", path, "--duration", "1ms"],
        &["trace", "--all", "--duration", "1ms", "limits:hit"],
    ] {
        let mut failures = 0;
        let limit = (5..).find(|limit| {
            let out = limited(*limit, *limit, args).output().unwrap();
            let errors = text(&out.stderr);
            assert!(!errors.contains("panicked"), "{args:?} with {limit}: {errors}");
            assert_eq!(usdt_e2e::semaphore(target.pid(), semaphore), 0, "{args:?} with {limit}");
            let shortage = format!("has reached its limit of {limit} open files");
            if out.status.success() {
                return !errors.contains(&shortage);
            }
            failures += 1;
            // A scan that is incomplete is a warning, and a glob then matches nothing.
            assert!([Some(2), Some(3)].contains(&out.status.code()), "{:?}: {errors}", out.status);
            assert!(errors.contains(&shortage), "{args:?} with {limit}: {errors}");
            let last = errors.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default();
            let phase = last.split(':').nth(1).unwrap_or_default();
            phases.insert(phase.split_whitespace().take(4).collect::<Vec<_>>().join(" "));
            assert!(*limit < 200, "{args:?}: {errors}");
            false
        });
        assert!(limit.is_some() && failures > 5, "{args:?}: {failures} failures");
    }
    // Threads open files as well, so that a command may skip a phase.
    for phase in ["cannot create the BPF", "cannot load the BPF", "cannot attach to"] {
        let has_failed = phases.iter().any(|one: &String| one.starts_with(phase));
        assert!(has_failed, "no failure to {phase}: {phases:?}");
    }
    assert!(!phases.iter().any(|one| one.contains("verifier")), "{phases:?}");
}

/// The exporter detaches from what it has attached to so far.
#[test]
fn a_signal_ends_an_exporter_that_still_attaches() {
    let Some(_guard) = alone() else { return };
    let folder = tempfile::tempdir().unwrap();
    let app = build(folder.path(), "starting");
    let _hog = start_hog(&app, folder.path(), 300);
    let address = format!("127.0.0.1:{}", free_port());
    let args = ["export", "--all", "--prometheus", &address, "starting:*"];
    let exporter = Process::start(&mut limited(4096, 4096, &args));
    wait_for("the first files", || exporter.link_count() > 10);
    let (status, _, messages) = exporter.interrupt();
    assert!(status.success(), "{messages}");
    let sites = messages.lines().find_map(|line| line.strip_prefix("attached to "));
    let sites = sites.and_then(|rest| rest.split_once(' ')).map(|(sites, _)| sites);
    let sites: u32 = sites.and_then(|sites| sites.parse().ok()).expect("a number of sites");
    assert!((1..300).contains(&sites), "{messages}");
}

/// Files without a selected probe do not keep the others from being attached to.
#[test]
fn exports_a_program_that_comes_after_300_others() {
    let Some(_guard) = alone() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (other, app) = (build(folder.path(), "many"), build(folder.path(), "single"));
    // Files are sorted by path.
    let last = folder.path().join("zzz");
    stdout(Command::new("cp").arg(&app).arg(&last));
    let hog = start_hog(&other, folder.path(), 300);
    let victim = Process::start(&mut command(&last));
    let address = format!("127.0.0.1:{}", free_port());
    let args = ["export", "--all", "--require-match", "--prometheus", &address, "single:*"];
    let exporter = Process::start(&mut limited(1024, 1024, &args));
    let (status, _, errors) = victim.finish();
    assert!(status.success(), "{errors}");
    let (_, _, messages) = exporter.interrupt();
    assert!(messages.contains("5 hits: 5 delivered"), "{messages}");
    drop(hog);
}

/// Files whose probes are not selected take no descriptor for long, however many there are.
#[test]
fn reads_more_new_files_than_there_are_descriptors() {
    let Some(_guard) = alone() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (other, app) = (build(folder.path(), "unselected"), build(folder.path(), "selected"));
    let mut victim = Process::start(&mut command(&app));
    let args = ["trace", "--all", "--json", "selected:*"];
    let tracer = Process::start(&mut limited(200, 200, &args));
    wait_for("the tracer", || tracer.is_attached());
    let hog = start_hog(&other, folder.path(), 300);
    victim.0.wait().unwrap();
    let new = folder.path().join("new");
    stdout(Command::new("cp").arg(&app).arg(&new));
    let (status, _, errors) = Process::start(&mut command(&new)).finish();
    assert!(status.success(), "{errors}");
    let (_, out, errors) = tracer.interrupt();
    let (events, _) = events_and_summary(&out);
    assert_eq!(events.len(), 10, "{errors}");
    assert!(!errors.contains("cannot read new files"), "{errors}");
    drop(hog);
}
