//! Targets: the processes to trace, or a command to start.

mod children;
#[doc(hidden)]
pub mod follow;
mod mapped;
mod pending_child;
mod process_handle;
#[doc(hidden)]
pub mod process_name;
mod program;

pub use children::LeftOutChildren;
pub use pending_child::PendingChild;
pub use process_handle::ProcessHandle;

use crate::discover::kernel_inode::{self, KernelInode};
use crate::discover::process_state::{check_proc, hidden_warning, stop_warning};
use crate::discover::select::Glob;
use crate::discover::{self, Mounts, ObjectId, Scan, ScannedObject};
use crate::error::{Error, Result, Warning, WarningKind};
use crate::kernel::ProcessTree;
use crate::kernel::descriptors::max_objects;
use crate::kernel::detect::executable_offsets;
use crate::kernel::mapped_inodes::{KERNEL_INODES, executable_of};
use crate::target::follow::Follower;
use stapsdt::escape::Escaped;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use usdt_files::TEXT_LIMIT;

/// What to trace.
///
/// The constructors accept anything that converts into the fields of a variant.
///
/// ```
/// use usdt_attach::Target;
///
/// # fn main() -> usdt_attach::Result<()> {
/// let this_process = Target::pid(std::process::id())?;
/// let every_instance = Target::executable("/usr/bin/app");
/// let service = Target::cgroup_v2("/sys/fs/cgroup/system.slice/app.service");
/// let command = Target::command(["app", "--port", "8080"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub enum Target {
    /// These processes. A tracer ends when all of them have exited.
    Processes(Vec<ProcessHandle>),
    /// Every process that maps this executable or library, present and future.
    Executable(PathBuf),
    /// Every process that maps one of these executables or libraries, present and future.
    Executables(Vec<PathBuf>),
    /// Every process in this cgroup (v2) and its descendants, present and future.
    Cgroup(PathBuf),
    /// Every process of this host, present and future.
    Host,
    /// A command and its arguments, traced from its first instruction.
    Command(Vec<OsString>),
}

/// Formats the target for messages: `process 42`, a path, `this host` or the name of the command.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Processes(processes) => {
                let pids: Vec<String> = processes.iter().map(|p| p.pid().to_string()).collect();
                write!(f, "process {}", pids.join(", "))
            }
            Target::Executable(path) | Target::Cgroup(path) => Escaped::new(path).fmt(f),
            Target::Executables(paths) => {
                let paths: Vec<String> =
                    paths.iter().map(|path| Escaped::new(path).to_string()).collect();
                f.write_str(&paths.join(", "))
            }
            Target::Host => f.write_str("this host"),
            Target::Command(words) => {
                words.first().map_or(Ok(()), |word| Escaped::new(word).fmt(f))
            }
        }
    }
}

/// The libraries that processes of an executable map.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Libraries {
    /// The libraries, and their probes.
    pub objects: Vec<ScannedObject>,
    /// The executables to whose processes tracing them is limited, as in
    /// [`Options::executables`](crate::plan::Options::executables). `None` if there are none.
    pub executables: Option<Vec<u64>>,
}

/// The objects, probes and processes that [`Target::scan`] or [`Target::resolve`] found.
#[derive(Debug)]
pub struct ResolvedTarget {
    /// Objects (executables and libraries) and their probes, each object once.
    pub objects: Vec<ScannedObject>,
    /// Processes to trace; `None` if every process that maps the objects is traced.
    pub processes: Option<Vec<ProcessHandle>>,
    /// The process of a command, which has not executed its program yet. `None` for other targets
    /// and after [`Target::scan`].
    pub child: Option<PendingChild>,
    /// The processes with the children that they fork; `None` unless
    /// [`ResolvedTarget::follow_children`] has been called.
    pub children: Option<ProcessTree>,
    /// Files and processes that were skipped, and processes that are stopped. Warnings about what a
    /// file contains are those of its object.
    pub warnings: Vec<Warning>,
}

impl Target {
    /// The process that has this id now.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when there is no such
    /// process.
    pub fn pid(pid: u32) -> Result<Target> {
        Target::pids([pid])
    }

    /// The processes that have these ids now.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound) when one of them does
    /// not exist.
    pub fn pids(pids: impl IntoIterator<Item = u32>) -> Result<Target> {
        Ok(Target::Processes(pids.into_iter().map(ProcessHandle::open).collect::<Result<_>>()?))
    }

    /// Every process that maps this executable or library, present and future. If the file is
    /// replaced, such as by an upgrade, processes of the new file are traced as well.
    pub fn executable(path: impl Into<PathBuf>) -> Target {
        Target::Executable(path.into())
    }

    /// Every process in this cgroup (v2) and its descendants, present and future. `path` is a
    /// directory below `/sys/fs/cgroup`.
    pub fn cgroup_v2(path: impl Into<PathBuf>) -> Target {
        Target::Cgroup(path.into())
    }

    /// Every process of this host, present and future.
    pub fn host() -> Target {
        Target::Host
    }

    /// A command and its arguments, traced from its first instruction. A name without a slash is
    /// searched for on `PATH`. Its libraries are attached to some milliseconds after they are mapped.
    pub fn command(words: impl IntoIterator<Item = impl Into<OsString>>) -> Target {
        Target::Command(words.into_iter().map(Into::into).collect())
    }

    /// Scans for probes. For a command, also creates its process, which waits before it executes
    /// the program.
    ///
    /// # Errors
    ///
    /// Fails when a file or process does not exist or cannot be read, and when the process of a
    /// command cannot be created.
    pub fn resolve(&self) -> Result<ResolvedTarget> {
        self.resolve_selected(&[])
    }

    /// As [`Target::resolve`]. If there are more files than descriptors for them, those with a probe
    /// that one of the globs matches come first.
    ///
    /// # Errors
    ///
    /// As [`Target::resolve`].
    pub fn resolve_selected(&self, globs: &[String]) -> Result<ResolvedTarget> {
        let Target::Command(command) = self else {
            let mut resolved = self.scan()?;
            if matches!(self, Target::Cgroup(_) | Target::Host) {
                resolved.leave_descriptors(globs);
            }
            let processes = resolved.processes.iter().flatten();
            resolved.warnings.extend(processes.filter_map(|p| stop_warning(p.pid())));
            return Ok(resolved);
        };
        check_children_namespace()?;
        kernel_inode::register(KERNEL_INODES);
        let (path, name, args) = command_line(command)?;
        // A script has no probes; the program that runs it is found when it is executed.
        let objects = match discover::script_interpreter(&path) {
            Some(_) => Vec::new(),
            None => vec![discover::scan_file(&path)?],
        };
        let child = PendingChild::create(&path, name, args)?;
        let processes = Some(vec![ProcessHandle::open(child.pid())?]);
        Ok(ResolvedTarget {
            objects,
            processes,
            child: Some(child),
            children: None,
            warnings: Vec::new(),
        })
    }

    /// Scans for probes. For a command, scans its executable without creating a process.
    ///
    /// Needs read access to the files, and `CAP_SYS_PTRACE` for processes of other users. A host is
    /// scanned on one thread per CPU.
    ///
    /// ```
    /// use usdt_attach::Target;
    ///
    /// # fn main() -> usdt_attach::Result<()> {
    /// for object in Target::pid(std::process::id())?.scan()?.objects {
    ///     println!("{}: {} probes", object.object.path.display(), object.probes.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails when a file or process does not exist or cannot be read.
    pub fn scan(&self) -> Result<ResolvedTarget> {
        kernel_inode::register(KERNEL_INODES);
        let mut processes = None;
        let file = |path: &Path| {
            let objects = vec![discover::scan_file(path)?];
            Ok::<_, Error>(Scan { objects, ..Scan::default() })
        };
        let Scan { objects, mut warnings } = match self {
            Target::Processes(all) => {
                processes = Some(all.clone());
                scan_processes(all)?
            }
            Target::Executable(path) => file(path)?,
            Target::Executables(paths) => {
                let mut all = Scan::default();
                for path in paths {
                    add_new(&mut all, file(path)?);
                }
                all
            }
            Target::Cgroup(path) => {
                check_proc()?;
                scan_if_alive(&cgroup_members(path)?)
            }
            Target::Host => {
                check_proc()?;
                let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
                discover::scan_host(threads)?
            }
            Target::Command(command) => file(&command_line(command)?.0)?,
        };
        if matches!(self, Target::Cgroup(_) | Target::Host) {
            warnings.extend(hidden_warning());
        }
        Ok(ResolvedTarget { objects, processes, child: None, children: None, warnings })
    }

    /// Returns true if the target may get files that it does not have yet: it has processes, or a
    /// command is about to run. `objects` are those that were found.
    #[doc(hidden)]
    pub fn can_grow(&self, objects: &[ScannedObject]) -> bool {
        match self {
            Target::Executable(_) | Target::Executables(_) => {
                let ids = objects.iter().map(|one| one.object.id).collect();
                executable_offsets().is_some()
                    && discover::still_mapped(&ids, &mut HashMap::new())
                        .is_ok_and(|live| !live.is_empty())
            }
            _ => true,
        }
    }

    /// Returns the libraries that processes of an executable map; none for other targets, whose
    /// libraries [`Target::scan`] finds.
    ///
    /// # Errors
    ///
    /// Fails when the processes cannot be listed.
    #[doc(hidden)]
    pub fn libraries(&self, objects: &[ScannedObject]) -> Result<Libraries> {
        if self.executables().is_empty() {
            return Ok(Libraries::default());
        }
        let mut follower = Follower::new(self, objects);
        let objects = follower.poll_new_objects()?;
        let executables = objects.iter().find_map(|one| follower.executables(one.object.id));
        Ok(Libraries { objects, executables })
    }

    /// Returns true if the target is a file that a dynamic linker loads, so that its processes may map
    /// libraries which are not known before they run.
    #[doc(hidden)]
    pub fn links_libraries(&self) -> bool {
        let program = self.program();
        let mut files = self.executables().iter().chain(&program);
        files.any(|path| discover::Linker::of_executable(path).is_some())
    }

    /// As [`Target::libraries`], without privileges: those of processes that this user may read.
    /// They do not suffice to attach.
    ///
    /// # Errors
    ///
    /// Fails when the processes cannot be listed.
    #[doc(hidden)]
    pub fn readable_libraries(&self, objects: &[ScannedObject]) -> Result<Libraries> {
        if self.executables().is_empty() {
            return Ok(Libraries::default());
        }
        let pids = processes_running(objects)?;
        let mut found = scan_if_alive(&pids).objects;
        found.retain(|one| objects.iter().all(|known| known.object.id != one.object.id));
        Ok(Libraries { objects: found, executables: None })
    }

    /// Returns the file of a command; `None` for other targets.
    #[doc(hidden)]
    pub fn program(&self) -> Option<PathBuf> {
        match self {
            Target::Command(command) => command_line(command).ok().map(|(path, ..)| path),
            _ => None,
        }
    }

    /// Returns true if the target may get files that it does not have at first, and lose those that
    /// it has.
    #[doc(hidden)]
    pub fn has_changing_files(&self) -> bool {
        !matches!(self, Target::Processes(_) | Target::Command(_))
    }

    /// Returns the paths of a target that names executables; empty for other targets.
    pub(crate) fn executables(&self) -> &[PathBuf] {
        match self {
            Target::Executable(path) => std::slice::from_ref(path),
            Target::Executables(paths) => paths,
            _ => &[],
        }
    }

    /// The directory of the cgroup that hits must come from; `None` unless the target is a cgroup.
    pub fn cgroup(&self) -> Option<&Path> {
        match self {
            Target::Cgroup(path) => Some(path),
            _ => None,
        }
    }
}

impl ResolvedTarget {
    /// Ids of the processes to trace; `None` if every process that maps the objects is traced.
    pub fn pids(&self) -> Option<Vec<u32>> {
        self.processes.as_ref().map(|all| all.iter().map(ProcessHandle::pid).collect())
    }

    /// Closes objects beyond a quarter of the limit on open files: each needs more descriptors to be
    /// attached to. Followers find the others again when some of these are attached to.
    /// Those with a selected probe are closed last.
    fn leave_descriptors(&mut self, globs: &[String]) {
        let max = max_objects();
        let closed = self.objects.len().saturating_sub(max);
        if closed > 0 {
            put_selected_first(&mut self.objects, globs);
            self.objects.truncate(max);
            let message = format!(
                "{closed} files are attached to later: the limit on open files is low; raise the hard limit, with `ulimit -Hn` or LimitNOFILE= of the unit"
            );
            self.warnings.push(Warning::new(WarningKind::SkippedObject, message));
        }
    }
}

/// Fails if processes that this one starts get ids of another PID namespace.
fn check_children_namespace() -> Result<()> {
    let namespace = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}")).ok();
    let (own, of_children) = (namespace("pid"), namespace("pid_for_children"));
    // Without a first process, the namespace of the children has no file yet.
    if own.is_none() || own == of_children {
        return Ok(());
    }
    Err(Error::unsupported(
        "a command would run in another PID namespace than this process, which cannot follow it there",
    )
    .with_hint("start this program in that namespace, as `unshare --pid --fork` does"))
}

/// Puts the objects with a probe that one of the globs matches before the others.
fn put_selected_first(objects: &mut [ScannedObject], globs: &[String]) {
    let globs: Vec<Glob> = globs.iter().map(|glob| Glob::new(glob)).collect();
    let is_selected = |object: &ScannedObject| {
        object.probes.iter().any(|probe| globs.iter().any(|glob| glob.matches(probe)))
    };
    objects.sort_by_cached_key(|object| !is_selected(object));
}

/// The executable, the name and the arguments of a command.
fn command_line(command: &[OsString]) -> Result<(PathBuf, &OsString, &[OsString])> {
    let (program, args) = command
        .split_first()
        .ok_or_else(|| Error::usage("the command is empty; name a program"))?;
    Ok((find_program(Path::new(program))?, program, args))
}

/// The objects of these processes, each once.
fn scan_processes(processes: &[ProcessHandle]) -> Result<Scan> {
    let (mut all, mounts) = (Scan::default(), Mounts::new());
    for process in processes {
        let scan = discover::scan_process_with(process.pid(), &mounts, &all.objects)?;
        add_new(&mut all, scan);
        // If the process has exited, another one may have got its id before it was scanned.
        if !process.is_alive() {
            return Err(discover::no_process(process.pid()));
        }
    }
    Ok(all)
}

/// Returns the processes that run one of these files; if the kernel does not tell, those of processes
/// whose executable has its name and that this user may read.
///
/// # Errors
///
/// Fails when the processes cannot be listed.
#[doc(hidden)]
pub fn processes_running(objects: &[ScannedObject]) -> Result<Vec<u32>> {
    let inodes: Vec<KernelInode> =
        objects.iter().filter_map(|one| one.object.kernel_inode()).collect();
    let has_name =
        |exe: &Path| objects.iter().any(|o| o.object.path.file_name() == exe.file_name());
    let has_id = |id: ObjectId| objects.iter().any(|one| one.object.id == id);
    let runs = |pid: &u32| match executable_of(*pid) {
        Some(executable) => inodes.contains(&executable.inode),
        None => {
            let link = PathBuf::from(format!("/proc/{pid}/exe"));
            // A file of another name is not opened: its file system may never answer.
            std::fs::read_link(&link).is_ok_and(|exe| has_name(&exe))
                && ObjectId::from_path(&link).is_some_and(has_id)
        }
    };
    Ok(discover::pids()?.into_iter().filter(runs).collect())
}

/// The objects of those of the processes that still exist, each once.
fn scan_if_alive(pids: &[u32]) -> Scan {
    let (mut all, mounts) = (Scan::default(), Mounts::new());
    for pid in pids {
        let scan = discover::scan_process_with(*pid, &mounts, &all.objects);
        add_new(&mut all, scan.unwrap_or_default());
    }
    all
}

/// Adds objects and warnings that are not known yet.
fn add_new(all: &mut Scan, more: Scan) {
    for object in more.objects {
        if !all.objects.iter().any(|known: &ScannedObject| known.object.id == object.object.id) {
            all.objects.push(object);
        }
    }
    for warning in more.warnings {
        if !all.warnings.contains(&warning) {
            all.warnings.push(warning);
        }
    }
}

/// Ids of the processes in a cgroup and its descendants.
pub(crate) fn cgroup_members(path: &Path) -> Result<Vec<u32>> {
    let procs_file = path.join("cgroup.procs");
    if path.is_dir() && !procs_file.exists() {
        return Err(Error::object(
            path,
            "not a cgroup: it has no cgroup.procs; pass a directory below /sys/fs/cgroup",
        ));
    }
    let procs = usdt_files::read_text(&procs_file, TEXT_LIMIT).map_err(|e| Error::open(path, e))?;
    let mut pids: Vec<u32> = procs.lines().filter_map(|line| line.parse().ok()).collect();
    for entry in std::fs::read_dir(path).map_err(|e| Error::open(path, e))?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            match cgroup_members(&entry.path()) {
                Err(error) if error.is_resource_limit() => return Err(error),
                // A cgroup can be removed during the walk. It has no processes then.
                members => pids.extend(members.unwrap_or_default()),
            }
        }
    }
    Ok(pids)
}

/// The file that a shell would execute for this name.
fn find_program(program: &Path) -> Result<PathBuf> {
    if program.components().count() > 1 {
        return Ok(program.to_owned());
    }
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&search_path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::spawn(program, std::io::Error::from(std::io::ErrorKind::NotFound)))
}
