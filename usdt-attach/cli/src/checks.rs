//! The checks of `doctor`: what works on this machine, what does not, and how to fix it.
//!
//! Features are detected by trying them and never by comparing kernel versions: distributions
//! backport features, and seccomp filters and lockdown take them away.

use serde::Serialize;
use std::error::Error as _;
use std::sync::Arc;
use usdt_attach::backend::bcc::BccHelper;
use usdt_attach::discover::select::Selected;
use usdt_attach::discover::{Probe, ScannedObject, check_proc};
use usdt_attach::error::{ErrorKind, Escaped};
use usdt_attach::kernel::capabilities::{CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, Capabilities};
use usdt_attach::kernel::detect::{self, Features, PidNamespaceSupport, UprobeMultiSupport};
use usdt_attach::plan::{Method, NopOptimization, Options, Plan};

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Works.
    Ok,
    /// Works with a limitation: slower, less precise or less convenient.
    Degraded,
    /// Does not work.
    Missing,
}

/// A check and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was checked: a feature, the path of a binary, or `provider:probe`.
    pub(crate) check: String,
    pub(crate) state: State,
    /// The finding in a few words.
    pub(crate) detail: String,
    /// How to fix it, or what can be done next; `None` if there is nothing to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

fn finding(check: &str, state: State, detail: impl Into<String>, hint: Option<&str>) -> Finding {
    Finding { check: check.to_owned(), state, detail: detail.into(), hint: hint.map(str::to_owned) }
}

fn ok(check: &str, detail: impl Into<String>) -> Finding {
    finding(check, State::Ok, detail, None)
}

/// Checks the machine: privileges, kernel features, `usdt-attach-bcc`, and mounted file systems.
pub(crate) fn machine() -> Vec<Finding> {
    let features = detect::detect_features();
    let mut out = privileges();
    let uname = rustix::system::uname();
    let kernel = format!(
        "Linux {} on {}",
        uname.release().to_string_lossy(),
        uname.machine().to_string_lossy()
    );
    out.push(ok("kernel", kernel));
    out.extend(kernel_features(&features));
    // Only a problem is worth a line.
    out.extend(
        check_proc()
            .err()
            .map(|error| finding("proc", State::Degraded, error.to_string(), error.hint())),
    );
    out.push(bcc());
    out.extend(mounts());
    out
}

/// A capability and what it is needed for.
struct NeededCapability {
    number: u32,
    name: &'static str,
    purpose: &'static str,
}

const NEEDED_CAPABILITIES: [NeededCapability; 3] = [
    NeededCapability { number: CAP_BPF, name: "CAP_BPF", purpose: "load BPF programs" },
    NeededCapability { number: CAP_PERFMON, name: "CAP_PERFMON", purpose: "attach them" },
    NeededCapability {
        number: CAP_SYS_PTRACE,
        name: "CAP_SYS_PTRACE",
        purpose: "read the memory maps of other users' processes",
    },
];

fn privileges() -> Vec<Finding> {
    let own = Capabilities::current();
    let missing: Vec<String> = NEEDED_CAPABILITIES
        .iter()
        .filter(|capability| !own.has(capability.number))
        .map(|capability| format!("{} (to {})", capability.name, capability.purpose))
        .collect();
    let mut out = vec![if own.is_in_user_namespace() {
        let detail = "in a user namespace, whose capabilities do not permit BPF";
        finding("privileges", State::Missing, detail, Some(own.hint()))
    } else if missing.is_empty() {
        ok("privileges", "all needed capabilities are present")
    } else {
        let detail = format!("without {}", missing.join(", "));
        finding(
            "privileges",
            State::Missing,
            detail,
            Some(
                "run as root, or grant the capabilities: setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep $(which usdt-attach)",
            ),
        )
    }];
    if let Ok(lockdown) = std::fs::read_to_string("/sys/kernel/security/lockdown") {
        let mode = lockdown.split(['[', ']']).nth(1).unwrap_or("none");
        out.push(if mode == "confidentiality" {
            finding(
                "lockdown",
                State::Missing,
                "confidentiality mode forbids BPF programs to read memory",
                Some("boot with lockdown=integrity"),
            )
        } else {
            ok("lockdown", mode)
        });
    }
    out
}

fn kernel_features(features: &Features) -> Vec<Finding> {
    if !features.bpf {
        let (detail, hint) = match &features.load_error {
            Some(error) if error.kind() == ErrorKind::Permission => {
                let cause = error.source().map_or(String::new(), |source| format!(": {source}"));
                (format!("{error}{cause}"), Capabilities::current().hint())
            }
            Some(error) => (format!("{error:#}"), "use a kernel with CONFIG_BPF_SYSCALL"),
            None => ("not available".to_owned(), "use a kernel with CONFIG_BPF_SYSCALL"),
        };
        return vec![finding("BPF", State::Missing, detail, Some(hint))];
    }
    let mut out = vec![ok("BPF", "programs can be loaded")];
    let uprobes = KernelFeature {
        check: "uprobes",
        present: "available",
        absent: "not available: user code cannot be probed",
        state_if_absent: State::Missing,
        since: "3.5 with CONFIG_UPROBES",
    };
    out.push(uprobes.finding(features.uprobes));
    let semaphores = KernelFeature {
        check: "semaphores",
        present: "reference-counted by the kernel",
        absent: "not supported: probes with semaphores stay disabled",
        state_if_absent: State::Missing,
        since: "4.20",
    };
    out.push(semaphores.finding(features.semaphores));
    out.push(match features.uprobe_multi {
        UprobeMultiSupport::Full => ok("links", "one link for many sites"),
        UprobeMultiSupport::ThreadFilter => finding(
            "links",
            State::Degraded,
            "the process filter of links matches one thread; BPF programs compare PIDs instead",
            Some("use Linux 6.10 or later"),
        ),
        UprobeMultiSupport::Missing => finding(
            "links",
            State::Degraded,
            "one perf event per site: detaching takes about 0.1 s for each",
            Some("use Linux 6.6 or later"),
        ),
    });
    let cookies = KernelFeature {
        check: "cookies",
        present: "one BPF program for many sites",
        absent: "not supported: one BPF program for each site",
        state_if_absent: State::Degraded,
        since: "5.15",
    };
    out.push(cookies.finding(features.cookies));
    let event_buffer = KernelFeature {
        check: "event buffer",
        present: "one buffer shared by all CPUs",
        absent: "not supported: events cannot be recorded",
        state_if_absent: State::Missing,
        since: "5.8",
    };
    out.push(event_buffer.finding(features.ring_buffer));
    let atomics = KernelFeature {
        check: "atomics",
        present: "fetching atomics",
        absent: "no fetching atomics: --events and --rate may pass a few hits more",
        state_if_absent: State::Degraded,
        since: "5.12",
    };
    out.push(atomics.finding(features.atomics));
    let preemption = KernelFeature {
        check: "preemption",
        present: "disabled while a program publishes an event",
        absent: "a thread that is preempted in a probe may delay the events of others",
        state_if_absent: State::Degraded,
        since: "6.10 with CONFIG_DEBUG_INFO_BTF",
    };
    out.push(preemption.finding(features.preemption));
    out.push(match NopOptimization::detect() {
        NopOptimization::None => finding(
            "sites",
            State::Degraded,
            "each hit traps",
            Some("use Linux 6.18 or later on x86-64, which replaces the trap by a call"),
        ),
        NopOptimization::Nop5 => ok("sites", "hits on five-byte NOPs are calls, not traps"),
        NopOptimization::Nop10 => ok("sites", "hits on ten-byte NOPs are calls, not traps"),
    });
    out.push(pid_namespace(features.pid_namespace));
    let exec = KernelFeature {
        check: "exec",
        present: "new processes are reported by the kernel",
        absent: "not reported: new processes are polled for twice a second",
        state_if_absent: State::Degraded,
        since: "4.17",
    };
    out.push(exec.finding(features.exec_events));
    out
}

/// Describes the PID namespace of this process: whose numbers the process ids are.
fn pid_namespace(support: PidNamespaceSupport) -> Finding {
    const CHECK: &str = "PID namespace";
    match support {
        PidNamespaceSupport::Initial => ok(CHECK, "that of the host"),
        PidNamespaceSupport::Own { inode, traces_nested: true } => ok(
            CHECK,
            format!(
                "pid:[{inode}]: process ids are those of this namespace, and processes outside it are left out"
            ),
        ),
        PidNamespaceSupport::Own { inode, traces_nested: false } => finding(
            CHECK,
            State::Degraded,
            format!(
                "pid:[{inode}]: processes outside this namespace and those of nested namespaces are left out"
            ),
            Some("use Linux 5.10 or later with CONFIG_DEBUG_INFO_BTF"),
        ),
        PidNamespaceSupport::Unsupported => finding(
            CHECK,
            State::Missing,
            "not that of the host, and the kernel cannot translate process ids",
            Some("use Linux 5.7 or later, or run in the PID namespace of the host"),
        ),
    }
}

/// A kernel feature and how `doctor` reports it.
struct KernelFeature {
    check: &'static str,
    /// The detail if the feature is present.
    present: &'static str,
    /// The detail if it is not.
    absent: &'static str,
    state_if_absent: State,
    /// The first kernel version that has it.
    since: &'static str,
}

impl KernelFeature {
    fn finding(&self, is_present: bool) -> Finding {
        if is_present {
            return ok(self.check, self.present);
        }
        let hint = match self.since.split_once(' ') {
            Some((version, config)) => format!("use Linux {version} or later {config}"),
            None => format!("use Linux {} or later", self.since),
        };
        finding(self.check, self.state_if_absent, self.absent, Some(&hint))
    }
}

/// Checks `usdt-attach-bcc`, which only `run` and `--backend bcc` need.
fn bcc() -> Finding {
    let helper = match BccHelper::find() {
        Ok(helper) => helper,
        Err(error) => return bcc_problem(&error.to_string()),
    };
    match helper.check() {
        Ok(()) => ok("bcc", format!("{}, with kernel headers", Escaped::new(helper.path()))),
        Err(error) => bcc_problem(&error.to_string()),
    }
}

/// Splits a message of the bcc back end: it has the form "problem; fix".
fn bcc_problem(message: &str) -> Finding {
    let (detail, hint) = message.split_once("; ").unwrap_or((message, "reinstall usdt-attach-bcc"));
    finding("bcc", State::Degraded, detail, Some(hint))
}

fn mounts() -> Vec<Finding> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let check = |file_system: &str, absent: &str, hint: &str| {
        if mounts.lines().any(|line| line.split(' ').nth(2) == Some(file_system)) {
            ok(file_system, "mounted")
        } else {
            finding(file_system, State::Degraded, absent, Some(hint))
        }
    };
    vec![
        check(
            "tracefs",
            "not mounted: usdt-attach works, but bpftrace and perf need it",
            "mount -t tracefs none /sys/kernel/tracing",
        ),
        check(
            "cgroup2",
            "not mounted: --cgroup needs it",
            "mount -t cgroup2 none /sys/fs/cgroup/unified",
        ),
    ]
}

/// Checks the probes of files: whether each can be attached to, and at the usual cost per hit.
pub(crate) fn probes(found: &[ScannedObject]) -> Vec<Finding> {
    found.iter().flat_map(object).collect()
}

fn object(object: &ScannedObject) -> Vec<Finding> {
    let path = object.object.path.to_string_lossy().into_owned();
    let mut out: Vec<Finding> = object
        .warnings
        .iter()
        .map(|warning| {
            let hint = "rebuild the binary, or repair its notes with `usdt-gen seal --fix`";
            finding(&path, State::Missing, warning.to_string(), Some(hint))
        })
        .collect();
    let problems: Vec<Finding> =
        object.probes.iter().filter_map(|probe| probe_problem(object, probe)).collect();
    let fine = object.probes.len() - problems.len();
    out.extend(problems);
    if !object.probes.is_empty() {
        let all = object.probes.len();
        out.push(ok(
            &path,
            format!("{fine} of {all} probe sites can be attached without problems"),
        ));
    }
    out
}

/// Why a probe cannot be attached to, or only with a limitation; `None` if it is fine.
fn probe_problem(object: &ScannedObject, probe: &Arc<Probe>) -> Option<Finding> {
    let name = probe.full_name();
    let selected = Selected {
        object: Arc::clone(&object.object),
        probe: Arc::clone(probe),
        pids: Arc::from([]),
    };
    let options = Options::default();
    let (plan, warnings) = match Plan::new(&[selected], &options) {
        Ok(planned) => planned,
        Err(error) => {
            let hint = "pass --single-step to attach anyway; each hit costs tens of times more";
            let hint = probe.is_single_stepped().then_some(hint);
            return Some(finding(&name, State::Missing, format!("{error:#}"), hint));
        }
    };
    if !warnings.is_empty() {
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        let hint = "the other arguments can be read";
        return Some(finding(&name, State::Degraded, warnings.join("; "), Some(hint)));
    }
    let method = plan.sites().first().map(|site| site.method);
    let is_unoptimized = probe.generated
        && method == Some(Method::Nop)
        && options.nop_optimization != NopOptimization::None;
    is_unoptimized.then(|| {
        let hint = "rebuild the binary with a newer usdt-gen, which aligns probe sites";
        finding(&name, State::Degraded, "the site crosses a page: each hit traps", Some(hint))
    })
}
