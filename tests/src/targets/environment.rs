//! Where the program runs.

use super::program::Image;
use crate::containment::{Cgroup, Mounts};
use crate::{Process, command, text};
use std::cell::Cell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Where the program runs, and the tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Both on the host.
    Host,
    /// Both in a PID namespace.
    PidNamespace,
    /// The program twice, in two containers of one image; the tracer on the host.
    Containers,
    /// The program in a root folder of its own; the tracer on the host.
    Chroot,
    /// The program in a user namespace; the tracer on the host.
    UserNamespace,
}

impl Environment {
    /// All of them.
    pub const ALL: [Environment; 5] = [
        Environment::Host,
        Environment::PidNamespace,
        Environment::Containers,
        Environment::Chroot,
        Environment::UserNamespace,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Environment::Host => "host",
            Environment::PidNamespace => "pid-namespace",
            Environment::Containers => "containers",
            Environment::Chroot => "chroot",
            Environment::UserNamespace => "user-namespace",
        }
    }
}

/// One process of the program.
pub(super) struct Instance {
    /// The folder of its steps, as this process sees it.
    folder: PathBuf,
    /// Its root folder, as this process sees it.
    root: PathBuf,
    /// What starts it in its environment, with its arguments.
    words: Vec<OsString>,
    /// Its id on the host and in its innermost namespace.
    pid: Cell<Option<(u32, u32)>>,
    /// True if the tracer is in its PID namespace.
    shares_namespace: bool,
}

impl Instance {
    pub(super) fn has(&self, step: &str) -> bool {
        self.folder.join(step).exists()
    }

    pub(super) fn create(&self, step: &str) -> Result<(), String> {
        std::fs::write(self.folder.join(step), "").map_err(|e| format!("{step}: {e}"))
    }

    /// Lets the program continue to its end.
    pub(super) fn release(&self) {
        let _ = self.create("load").and_then(|()| self.create("fire"));
    }

    /// Finds the ids of the process by its arguments.
    pub(super) fn note_pid(&self) -> Result<(), String> {
        if self.pid.get().is_some() {
            return Ok(());
        }
        let token = self.words.last().map(|word| word.to_string_lossy().into_owned());
        let token = token.unwrap_or_default();
        let entries = std::fs::read_dir("/proc").map_err(|e| e.to_string())?;
        let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
        for pid in pids {
            let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}"));
            let has_token = read("cmdline")
                .is_ok_and(|line| line.split(|b| *b == 0).any(|word| word == token.as_bytes()));
            if !has_token || read("comm").ok().as_deref() != Some(b"targets\n") {
                continue;
            }
            let status = text(&read("status").map_err(|e| e.to_string())?);
            let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            let inner = inner.and_then(|ids| ids.split_whitespace().last()?.parse().ok());
            self.pid.set(Some((pid, inner.ok_or("no NSpid")?)));
            return Ok(());
        }
        Err(format!("no process has the argument {token}"))
    }

    /// Its id in the PID namespace of the tracer.
    pub(super) fn pid_for_tool(&self) -> u32 {
        let (outer, inner) = self.pid.get().unwrap_or_default();
        if self.shares_namespace { inner } else { outer }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.pid.get().is_some_and(|(pid, _)| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).ok().as_deref()
                != Some("targets\n")
        })
    }
}

/// A started program, which is killed when it is dropped.
pub(super) struct Running(Child);

impl Running {
    pub(super) fn start(mut command: Command) -> Result<Running, String> {
        let child = command.stdin(Stdio::null()).spawn();
        child.map(Running).map_err(|e| format!("{command:?}: {e}"))
    }

    pub(super) fn finish(mut self) -> Result<(), String> {
        let end = Instant::now() + super::TIMEOUT;
        while Instant::now() < end {
            if let Some(status) = self.0.try_wait().map_err(|e| e.to_string())? {
                let problem = || format!("the program ended with {status}");
                return status.success().then_some(()).ok_or_else(problem);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err("the program does not end".to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An environment with the program in it.
pub(super) struct Place {
    /// How often the program fires each probe.
    hits: usize,
    instances: Vec<Instance>,
    /// What starts a command next to the program; empty on the host.
    tool_prefix: Vec<OsString>,
    /// The first process of the PID namespace.
    holder: Option<Running>,
    // Unmounted before their folders are removed.
    mounts: Mounts,
    layers: tempfile::TempDir,
}

impl Place {
    /// Creates the environment. The program fires each probe `hits` times.
    pub(super) fn create(
        environment: Environment,
        image: &Image,
        hits: usize,
    ) -> Result<Place, String> {
        let mut place = Place {
            hits,
            instances: Vec::new(),
            tool_prefix: Vec::new(),
            holder: None,
            mounts: Mounts::default(),
            layers: tempfile::tempdir().map_err(|e| e.to_string())?,
        };
        let root = image.path();
        match environment {
            Environment::Host => place.add(root, Path::new("/"), &[]),
            Environment::PidNamespace => {
                let mut unshare = Command::new("unshare");
                unshare.args(["-p", "-f", "--kill-child", "--mount-proc", "sleep", "infinity"]);
                let holder = Running::start(unshare)?;
                let first = wait_for_child(holder.0.id())?;
                place.holder = Some(holder);
                place.tool_prefix = ["nsenter", "-t", &first.to_string(), "-p", "-m", "--"]
                    .map(OsString::from)
                    .to_vec();
                place.add(root, Path::new("/"), &[]);
            }
            Environment::Chroot => place.add(root, root, &["chroot".into(), root.into()]),
            Environment::UserNamespace => {
                place.add(root, Path::new("/"), &["unshare", "-U", "-r"].map(OsString::from));
            }
            Environment::Containers => {
                for name in ["first", "second"] {
                    let merged = place.mounts.overlay(root, place.layers.path(), name)?;
                    let mut words = ["unshare", "-m", "-p", "-f", "--kill-child", "chroot"]
                        .map(OsString::from)
                        .to_vec();
                    words.push(merged.clone().into());
                    place.add(&merged, &merged, &words);
                }
            }
        }
        Ok(place)
    }

    /// Adds an instance of the program in `folder`, which sees `root` as its root folder.
    fn add(&mut self, folder: &Path, root: &Path, prefix: &[OsString]) {
        let seen = Path::new("/").join(folder.strip_prefix(root).unwrap_or(folder));
        let mut words = prefix.to_vec();
        words.push(seen.join("targets").into());
        words.push(seen.join("run").into());
        words.push(seen.join("libloaded.so").into());
        words.push(self.hits.to_string().into());
        // A word that no other process has, to find the process by.
        words.push(format!("{}#{}", folder.display(), self.instances.len()).into());
        self.instances.push(Instance {
            folder: folder.join("run"),
            root: folder.to_owned(),
            words,
            pid: Cell::new(None),
            shares_namespace: !self.tool_prefix.is_empty(),
        });
    }

    pub(super) fn instances(&self) -> &[Instance] {
        &self.instances
    }

    pub(super) fn tool_prefix(&self) -> &[OsString] {
        &self.tool_prefix
    }

    /// The path of the executable of the first instance, as the tracer sees it.
    pub(super) fn executable(&self) -> PathBuf {
        self.instances.first().map(|i| i.root.join("targets")).unwrap_or_default()
    }

    /// The command that starts an instance, as a member of a cgroup.
    pub(super) fn command(&self, instance: &Instance, cgroup: Option<&Cgroup>) -> Command {
        let mut words = self.tool_prefix.clone();
        if let Some(cgroup) = cgroup {
            let procs = cgroup.path().join("cgroup.procs");
            let script = format!(r#"echo $$ > {} && exec "$@""#, procs.display());
            words.extend(["sh".into(), "-c".into(), script.into(), "sh".into()]);
        }
        words.extend(instance.words.iter().cloned());
        let mut command = command(&words[0]);
        command.args(&words[1..]);
        command
    }

    /// The command that starts all instances, for the tracer.
    pub(super) fn command_words(&self) -> Vec<OsString> {
        if let [only] = &*self.instances {
            return only.words.clone();
        }
        let quoted = self.instances.iter().map(|instance| {
            let words = instance.words.iter().map(|word| format!("'{}'", word.to_string_lossy()));
            words.collect::<Vec<_>>().join(" ")
        });
        let script = quoted.map(|line| format!("{line} & ")).collect::<String>() + "wait";
        ["sh".into(), "-c".into(), script.into()].to_vec()
    }

    /// The ids of the instances in the PID namespace of the tracer, as `-p` takes them.
    pub(super) fn pids(&self) -> Result<String, String> {
        self.instances.iter().try_for_each(Instance::note_pid)?;
        let pids = self.instances.iter().map(|i| i.pid_for_tool().to_string());
        Ok(pids.collect::<Vec<_>>().join(","))
    }

    /// The id of the tracer on the host: it is a child of the command that moves it into the
    /// namespace.
    fn tool_pid(&self, tracer: &Process) -> Option<u32> {
        if self.tool_prefix.is_empty() { Some(tracer.pid()) } else { child_of(tracer.pid()) }
    }

    /// Returns true if the tracer holds BPF links: it follows its target.
    pub(super) fn tool_has_links(&self, tracer: &Process) -> bool {
        let Some(pid) = self.tool_pid(tracer) else { return false };
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
        let mut targets = entries.filter_map(|e| std::fs::read_link(e.ok()?.path()).ok());
        targets.any(|target| target.to_string_lossy().contains("bpf"))
    }

    /// Interrupts the tracer, and returns its status and output.
    pub(super) fn interrupt(
        &self,
        tracer: &mut Process,
    ) -> Result<(ExitStatus, String, String), String> {
        let pid = self.tool_pid(tracer);
        let tracer = std::mem::replace(tracer, Process::start(&mut Command::new("true")));
        let mut next = Instant::now() + Duration::from_secs(1);
        Ok(tracer.finish_while(|_| {
            if Instant::now() >= next {
                let pid = pid.unwrap_or_default().to_string();
                let _ = Command::new("kill").args(["-INT", &pid]).stderr(Stdio::null()).status();
                next = Instant::now() + Duration::from_secs(5);
            }
        }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Its processes use the mounts.
        drop(self.holder.take());
    }
}

/// The first child of a process.
fn child_of(pid: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Waits until a process has a child that executes another program.
fn wait_for_child(pid: u32) -> Result<u32, String> {
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        if let Some(child) = child_of(pid) {
            let comm = std::fs::read_to_string(format!("/proc/{child}/comm"));
            if comm.is_ok_and(|comm| comm == "sleep\n") {
                return Ok(child);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err("cannot create a PID namespace".to_owned())
}
