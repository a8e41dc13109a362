//! The soak test next to hostile neighbors: a host on which everything attacks the exporter.
//!
//! The exporter counts the hits of a well-behaved program. At the same time, clients and the
//! collector are slow or silent, files change while they are read, never answer, or are too many,
//! and the configuration is reloaded all the time. At the end the counts must be exact.

use super::clients::{SlowClients, metric, scrape, silent_collector};
use super::kernel_objects;
use super::program::{self, Program};
use super::tracer::{TERM, Tracer};
use crate::neighbors::{Helper, build, copies, hanging_file, map_files};
use crate::{Process, command, free_port, limited, root, status_kib, write};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

const HUP: i32 = 1;
const SLOW_CLIENTS: usize = 1000;
const HOG_FILES: usize = 300;
/// The hog runs, and is absent, for this number of seconds in turn.
const HOG_SECONDS: u64 = 7;
/// The limit of resident memory in KiB.
const MAX_MEMORY: u64 = 64 << 10;
const MAX_SCRAPE: Duration = Duration::from_secs(1);
const MAX_STOP: Duration = Duration::from_secs(2);

/// Runs the exporter next to all hostile neighbors, and prints a line for each requirement.
///
/// # Errors
///
/// Fails if the run cannot be set up, or if a requirement is not met.
pub fn run(duration: Duration) -> Result<(), String> {
    let before = kernel_objects();
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let file = program::build(folder.path())?;
    // Keeps the file mapped, so that the exporter attaches to it before the program starts.
    let placeholder = Program::start_with(&file, &["-goroutines", "0"])?;
    let mut neighbors = Neighbors::start(folder.path())?;
    let exporter = Exporter::start(folder.path())?;
    exporter.wait_until_attached(&placeholder)?;
    let clients = SlowClients::start(exporter.port, SLOW_CLIENTS);
    let target = ["-goroutines", "20", "-pause", "10ms", "-linger", "10m"];
    let mut target = Program::start_with(&file, &target)?;

    let mut seen = Seen::default();
    let begin = Instant::now();
    while begin.elapsed() < duration && exporter.is_alive() {
        let second = Instant::now();
        neighbors.take_turn(seen.seconds)?;
        exporter.reload(seen.seconds);
        seen.scrape(&exporter);
        seen.measure(&exporter);
        seen.seconds += 1;
        if seen.seconds.is_multiple_of(30) {
            println!("{:>5} s: {}", begin.elapsed().as_secs(), seen.line());
        }
        std::thread::sleep(Duration::from_secs(1).saturating_sub(second.elapsed()));
    }
    let fired = target.stop()?;
    let counts = exporter.wait_for_counts(fired);
    seen.measure(&exporter);
    let connections = clients.connections();
    let (status, stop_time, messages) = exporter.stop()?;
    drop(clients);
    let (pids, cycles) = (neighbors.pids(), neighbors.cycles);
    drop((neighbors, target, placeholder));
    let folder_path = folder.path().to_owned();
    folder.close().map_err(|e| e.to_string())?;
    let leftovers = leftovers(&pids, &folder_path, &before);

    let reloads = messages.matches("configuration reloaded").count();
    println!(
        "{:>5} s, {SLOW_CLIENTS} slow clients with {connections} connections, {cycles} hogs with \
         {HOG_FILES} files, {reloads} reloads; at most {} sites and {} descriptors of 1,024",
        begin.elapsed().as_secs(),
        seen.max_sites,
        seen.max_descriptors,
    );
    let mut report = Report::default();
    let (delivered, dropped) = counts.unwrap_or_default();
    report.check(
        fired > 0 && delivered + dropped == fired,
        &format!("counts: {fired} fired, {delivered} delivered, {dropped} dropped"),
    );
    report.check(
        seen.late == 0 && seen.failed.is_empty() && seen.scrapes > 0,
        &format!(
            "scrapes: {} of {} later than {MAX_SCRAPE:?}, slowest {:?}, mean {:?}; {} refused \
             attempts; {} failed {:?}",
            seen.late,
            seen.scrapes,
            seen.slowest,
            seen.total / seen.scrapes.max(1),
            seen.refused,
            seen.failed.len(),
            seen.failed.first(),
        ),
    );
    report.check(
        (1..=MAX_MEMORY).contains(&seen.memory),
        &format!("memory: peak {} KiB of {MAX_MEMORY} KiB", seen.memory),
    );
    report.check(
        status.success() && stop_time <= MAX_STOP,
        &format!("end: {status} {stop_time:?} after SIGTERM"),
    );
    report.check(
        reloads > 0 && !messages.contains("panicked"),
        &format!("messages: {} lines, {reloads} of reloads", messages.lines().count()),
    );
    report.check(leftovers.is_empty(), &format!("cleanup: {} left {leftovers:?}", leftovers.len()));
    if report.failed == 0 {
        return Ok(());
    }
    let lines: Vec<&str> =
        messages.lines().filter(|line| !line.contains("configuration reloaded")).collect();
    println!("last messages of the exporter:");
    for line in lines.iter().skip(lines.len().saturating_sub(20)) {
        println!("  {line}");
    }
    Err(format!("{} requirements are not met", report.failed))
}

/// Prints a line for each requirement.
#[derive(Default)]
struct Report {
    failed: usize,
}

impl Report {
    fn check(&mut self, is_met: bool, line: &str) {
        println!("{} {line}", if is_met { "ok    " } else { "FAILED" });
        self.failed += usize::from(!is_met);
    }
}

/// The programs that attack through files.
struct Neighbors {
    hanging: Helper,
    truncating: Helper,
    /// Maps one file, so that the probe of the hog is known when the exporter starts.
    mapping: Process,
    hog: Option<Process>,
    program: PathBuf,
    files: Vec<PathBuf>,
    /// How often the hog was started.
    cycles: u64,
}

impl Neighbors {
    fn start(folder: &Path) -> Result<Neighbors, String> {
        let program = build(folder, "neighbor");
        let files = copies(&program, folder, HOG_FILES);
        let truncated = folder.join("truncated");
        let args = [&program, &truncated].map(|path| path.to_string_lossy().into_owned());
        let args = args.each_ref().map(String::as_str);
        let truncating = Helper::start(folder, "truncating", &mut command("env"), &args);
        let (hanging, _) = hanging_file(folder, "hang");
        let mapping = map_files(&program, &files[..1]);
        Ok(Neighbors { hanging, truncating, mapping, hog: None, program, files, cycles: 0 })
    }

    /// Starts or ends the hog when its time has come.
    fn take_turn(&mut self, second: u64) -> Result<(), String> {
        let is_due = (second / HOG_SECONDS).is_multiple_of(2);
        if is_due && self.hog.is_none() {
            self.hog = Some(map_files(&self.program, &self.files));
            self.cycles += 1;
        } else if !is_due {
            self.hog = None;
        }
        if is_alive(self.hanging.pid()) && is_alive(self.truncating.pid()) {
            return Ok(());
        }
        Err("a hostile neighbor has exited".to_owned())
    }

    fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.hanging.pid(), self.truncating.pid(), self.mapping.pid()];
        // The process that maps the hanging file.
        pids.extend(self.hanging.line.parse::<u32>());
        pids.extend(self.hog.as_ref().map(Process::pid));
        pids
    }
}

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The exporter under attack.
struct Exporter {
    process: Tracer,
    port: u16,
    collector: u16,
    folder: PathBuf,
}

impl Exporter {
    fn start(folder: &Path) -> Result<Exporter, String> {
        let program = root().join("target/release/usdt-attach");
        if !program.exists() {
            return Err(format!("{} is not built", program.display()));
        }
        let (port, collector) = (free_port(), silent_collector().map_err(|e| e.to_string())?);
        let config = configure(folder, port, collector, 0);
        let mut shell = limited("ulimit -n 1024", &program);
        shell.args(["export", "--all", "--config", &config]);
        println!("{} {}", program.display(), shell_args(&shell));
        let process = Tracer::spawn(&mut shell)?;
        Ok(Exporter { process, port, collector, folder: folder.to_owned() })
    }

    fn is_alive(&self) -> bool {
        is_alive(self.process.pid())
    }

    /// Waits until the endpoint answers, and the probe of the program is attached to.
    fn wait_until_attached(&self, program: &Program) -> Result<(), String> {
        let end = Instant::now() + Duration::from_secs(60);
        while scrape(self.port).is_err() || !program.is_enabled() {
            if !self.is_alive() || Instant::now() > end {
                return Err(format!("the exporter does not start: {}", self.process.errors()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Reloads the configuration. Another entry for the same probe comes and goes with it.
    fn reload(&self, second: u64) {
        configure(&self.folder, self.port, self.collector, second);
        self.process.signal(HUP);
    }

    /// Waits up to 15 seconds until all hits are counted. Returns the delivered and the dropped
    /// ones.
    fn wait_for_counts(&self, fired: u64) -> Option<(u64, u64)> {
        let end = Instant::now() + Duration::from_secs(15);
        loop {
            let counts = scrape(self.port).ok().and_then(|answer| {
                let hits = |outcome: &str| {
                    let labels = format!("{{entry=\"steady\",outcome=\"{outcome}\"}}");
                    metric(&answer.page, &format!("usdt_attach_hits_total{labels}"))
                };
                // What is exported is what was delivered.
                hits("delivered").filter(|n| metric(&answer.page, "steady_total") == Some(*n))?;
                let series = format!("steady_total{{service=\"{}\"}}", program::service());
                Some((metric(&answer.page, &series)?, hits("dropped")?))
            });
            if counts.is_some_and(|(delivered, dropped)| delivered + dropped >= fired)
                || Instant::now() > end
                || !self.is_alive()
            {
                return counts;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends the exporter with SIGTERM. Returns its status, the time that it takes, and its
    /// messages.
    fn stop(mut self) -> Result<(ExitStatus, Duration, String), String> {
        let start = Instant::now();
        if self.is_alive() {
            self.process.signal(TERM);
        }
        let status = self.process.wait().map_err(|problem| format!("after SIGTERM: {problem}"))?;
        Ok((status, start.elapsed(), self.process.errors()))
    }
}

/// The arguments of the program that a [`limited`] command executes.
fn shell_args(command: &std::process::Command) -> String {
    let args = command.get_args().skip(4).map(|arg| arg.to_string_lossy().into_owned());
    args.collect::<Vec<_>>().join(" ")
}

/// Writes the configuration of a second: every other one has another entry.
fn configure(folder: &Path, port: u16, collector: u16, second: u64) -> String {
    let another = "[[count]]\nprobes = \"e2e:hit\"\nname = \"another\"\n";
    let another = if second % 2 == 1 { another } else { "" };
    // The exporter must not read half a file.
    let new = write(
        folder,
        "export.toml.new",
        format!(
            "[prometheus]\nlisten = \"127.0.0.1:{port}\"\n\
             [otlp]\nendpoint = \"http://127.0.0.1:{collector}\"\ninterval = \"100ms\"\n\
             [[count]]\nprobes = \"e2e:hit\"\nname = \"steady\"\n\
             [[count]]\nprobes = \"neighbor:*\"\nname = \"neighbors\"\n{another}"
        ),
    );
    let path = new.trim_end_matches(".new").to_owned();
    std::fs::rename(&new, &path).unwrap();
    path
}

/// What the run has measured.
#[derive(Default)]
struct Seen {
    seconds: u64,
    scrapes: u32,
    late: u32,
    refused: u64,
    failed: Vec<String>,
    slowest: Duration,
    total: Duration,
    /// The peak of resident memory in KiB.
    memory: u64,
    max_sites: u64,
    max_descriptors: usize,
}

impl Seen {
    fn scrape(&mut self, exporter: &Exporter) {
        self.scrapes += 1;
        match scrape(exporter.port) {
            Ok(answer) => {
                self.slowest = self.slowest.max(answer.time);
                self.total += answer.time;
                self.refused += answer.refused;
                let sites = metric(&answer.page, "usdt_attach_sites").unwrap_or(0);
                self.max_sites = self.max_sites.max(sites);
                if answer.time > MAX_SCRAPE {
                    self.late += 1;
                    println!("second {}: a scrape took {:?}", self.seconds, answer.time);
                }
            }
            Err(problem) => {
                println!("second {}: {problem}", self.seconds);
                self.failed.push(problem);
            }
        }
    }

    fn measure(&mut self, exporter: &Exporter) {
        let folder = format!("/proc/{}", exporter.process.pid());
        let status = std::fs::read_to_string(format!("{folder}/status")).unwrap_or_default();
        self.memory = self.memory.max(status_kib(&status, "VmHWM").unwrap_or(0));
        let descriptors = std::fs::read_dir(format!("{folder}/fd")).map_or(0, Iterator::count);
        self.max_descriptors = self.max_descriptors.max(descriptors);
    }

    fn line(&self) -> String {
        format!(
            "{} scrapes, {} late, {} failed, slowest {:?}, {} refused attempts; {} KiB, {} \
             descriptors, {} sites at most",
            self.scrapes,
            self.late,
            self.failed.len(),
            self.slowest,
            self.refused,
            self.memory,
            self.max_descriptors,
            self.max_sites,
        )
    }
}

/// Lists what remains of the run: processes, mounts, files and kernel objects.
fn leftovers(pids: &[u32], folder: &Path, before: &[PathBuf]) -> Vec<String> {
    let processes = pids.iter().filter(|pid| is_alive(**pid)).map(|pid| format!("process {pid}"));
    let mut out: Vec<String> = processes.collect();
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let folder_name = folder.to_string_lossy();
    out.extend(mounts.lines().filter(|line| line.contains(&*folder_name)).map(str::to_owned));
    if folder.exists() {
        out.push(folder_name.into_owned());
    }
    let after = kernel_objects().into_iter().filter(|object| !before.contains(object));
    out.extend(after.map(|object| object.display().to_string()));
    out
}
