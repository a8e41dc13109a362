//! What works on this machine, and what does not: found out by trying, never by comparing versions.

use serde::Serialize;
use std::error::Error as _;
use std::sync::Arc;
use usdt_attach::backend::bcc::BccHelper;
use usdt_attach::discover::ScannedObject;
use usdt_attach::discover::select::Selected;
use usdt_attach::error::ErrorKind;
use usdt_attach::kernel::capabilities::{CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, Capabilities};
use usdt_attach::kernel::detect::{self, Features, UprobeMultiSupport};
use usdt_attach::plan::{Method, NopOptimization, Options, Plan};

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it should be.
    Ok,
    /// Works in a lesser way.
    Degraded,
    /// Does not work.
    Missing,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What.
    pub check: String,
    /// How it is.
    pub state: State,
    /// In a few words.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

fn finding(check: &str, state: State, detail: impl Into<String>, mend: Option<&str>) -> Finding {
    Finding { check: check.to_owned(), state, detail: detail.into(), mend: mend.map(str::to_owned) }
}

fn ok(check: &str, detail: impl Into<String>) -> Finding {
    finding(check, State::Ok, detail, None)
}

/// Looks at the machine.
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
    out.push(bcc());
    out.extend(mounts());
    out
}

const CAPABILITIES: [(u32, &str, &str); 3] = [
    (CAP_BPF, "CAP_BPF", "load BPF programs"),
    (CAP_PERFMON, "CAP_PERFMON", "attach them"),
    (CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "look into other users' processes"),
];

fn privileges() -> Vec<Finding> {
    let own = Capabilities::current();
    let missing: Vec<String> = CAPABILITIES
        .iter()
        .filter(|(capability, ..)| !own.has(*capability))
        .map(|(_, name, what)| format!("{name} (to {what})"))
        .collect();
    let mut out = vec![if missing.is_empty() {
        ok("privileges", "all there")
    } else {
        let detail = format!("without {}", missing.join(", "));
        finding(
            "privileges",
            State::Missing,
            detail,
            Some(
                "run as root, or give the program these capabilities: setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep",
            ),
        )
    }];
    if let Ok(lockdown) = std::fs::read_to_string("/sys/kernel/security/lockdown") {
        let mode = lockdown.split(['[', ']']).nth(1).unwrap_or("none");
        out.push(if mode == "confidentiality" {
            finding(
                "lockdown",
                State::Missing,
                "confidentiality mode lets no BPF program read memory",
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
        let (detail, mend) = match &features.load_error {
            Some(error) if error.kind() == ErrorKind::Permission => {
                let cause = error.source().map_or(String::new(), |source| format!(": {source}"));
                (format!("{error}{cause}"), Capabilities::current().hint())
            }
            Some(error) => (format!("{error:#}"), "a kernel with CONFIG_BPF_SYSCALL has it"),
            None => ("not there".to_owned(), "a kernel with CONFIG_BPF_SYSCALL has it"),
        };
        return vec![finding("BPF", State::Missing, detail, Some(mend))];
    }
    let mut out = vec![ok("BPF", "programs load")];
    let old = |check: &str, works: bool, good: &str, bad: &str, state: State, since: &str| {
        if works {
            ok(check, good)
        } else {
            finding(check, state, bad, Some(&format!("a kernel from {since} on has it")))
        }
    };
    out.push(old(
        "uprobes",
        features.uprobes,
        "there",
        "not there: no user code can be probed",
        State::Missing,
        "3.5 with CONFIG_UPROBES",
    ));
    out.push(old(
        "semaphores",
        features.semaphores,
        "counted by the kernel",
        "not counted: probes with semaphores stay off",
        State::Missing,
        "4.20",
    ));
    out.push(match features.uprobe_multi {
        UprobeMultiSupport::Full => ok("links", "many sites in one"),
        UprobeMultiSupport::ThreadFilter => finding(
            "links",
            State::Degraded,
            "their process filter picks one thread; the program compares process ids instead",
            Some("a kernel from 6.10 on has it right"),
        ),
        UprobeMultiSupport::Missing => finding(
            "links",
            State::Degraded,
            "one perf event a site: detaching takes a tenth of a second each",
            Some("a kernel from 6.6 on has many in one"),
        ),
    });
    out.push(old(
        "cookies",
        features.cookies,
        "tell sites apart",
        "none: one program for each site",
        State::Degraded,
        "5.15",
    ));
    out.push(old(
        "event buffer",
        features.ring_buffer,
        "shared by all CPUs",
        "none: nothing can be traced",
        State::Missing,
        "5.8",
    ));
    out.push(old(
        "atomics",
        features.atomics,
        "give the old value",
        "do not: --events and --rate may let a few more pass",
        State::Degraded,
        "5.12",
    ));
    out.push(match NopOptimization::detect() {
        NopOptimization::None => finding(
            "sites",
            State::Degraded,
            "every hit traps",
            Some("a kernel from 6.18 on calls instead, on x86-64"),
        ),
        NopOptimization::Nop5 => ok("sites", "hits on five-byte no-ops are calls, not traps"),
        NopOptimization::Nop10 => ok("sites", "hits on ten-byte no-ops are calls, not traps"),
    });
    out.push(old(
        "exec",
        features.exec_events,
        "told of at once",
        "looked for twice a second",
        State::Degraded,
        "4.17",
    ));
    out
}

/// Only `run` and `--backend bcc` need it.
fn bcc() -> Finding {
    let helper = match BccHelper::find() {
        Ok(helper) => helper,
        Err(error) => {
            let (detail, fix) = split(&error.to_string());
            return finding("bcc", State::Degraded, detail, Some(&fix));
        }
    };
    match helper.check() {
        Ok(()) => ok("bcc", format!("{}, with kernel headers", helper.path().display())),
        Err(error) => {
            let (detail, fix) = split(&error.to_string());
            finding("bcc", State::Degraded, detail, Some(&fix))
        }
    }
}

/// A message of the bcc back end: what is wrong; what to do.
fn split(message: &str) -> (String, String) {
    let (detail, fix) =
        message.split_once("; ").unwrap_or((message, "install usdt-attach-bcc again"));
    (detail.to_owned(), fix.to_owned())
}

fn mounts() -> Vec<Finding> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounted = |kind: &str| mounts.lines().any(|l| l.split(' ').nth(2) == Some(kind));
    let one = |check: &str, kind: &str, who: &str, mend: &str| {
        if mounted(kind) {
            ok(check, "mounted")
        } else {
            finding(check, State::Degraded, format!("not mounted; {who}"), Some(mend))
        }
    };
    vec![
        one(
            "tracefs",
            "tracefs",
            "bpftrace and perf need it, this tool does not",
            "mount -t tracefs none /sys/kernel/tracing",
        ),
        one(
            "cgroup2",
            "cgroup2",
            "--cgroup needs it",
            "mount -t cgroup2 none /sys/fs/cgroup/unified",
        ),
    ]
}

/// Looks at the probes of files: why some cannot be attached to, or only at a price.
pub(crate) fn probes(found: &[ScannedObject]) -> Vec<Finding> {
    let mut out = Vec::new();
    for one in found {
        let path = one.object.path.display().to_string();
        for warning in &one.warnings {
            out.push(finding(
                &path,
                State::Missing,
                warning.to_string(),
                Some("build it again, and seal it with `usdt-gen seal --fix`"),
            ));
        }
        let mut fine = 0;
        for probe in &one.probes {
            let name = probe.full_name();
            let selected = Selected {
                object: Arc::clone(&one.object),
                probe: Arc::clone(probe),
                pids: Arc::from([]),
            };
            let options = Options::default();
            match Plan::new(&[selected], &options) {
                Ok((plan, warnings)) if warnings.is_empty() => {
                    let site = plan.sites().first().map(|s| s.method);
                    if probe.generated
                        && site == Some(Method::Nop)
                        && options.nop_optimization != NopOptimization::None
                    {
                        out.push(finding(
                            &name,
                            State::Degraded,
                            "crosses a page: every hit traps",
                            Some("build it with a newer usdt-gen, which aligns sites"),
                        ));
                    } else {
                        fine += 1;
                    }
                }
                Ok((_, warnings)) => {
                    let detail: Vec<String> = warnings.iter().map(ToString::to_string).collect();
                    let detail = detail.join("; ");
                    out.push(finding(
                        &name,
                        State::Degraded,
                        detail,
                        Some("other arguments are read"),
                    ));
                }
                Err(error) => {
                    let mend = "--single-step attaches all the same, at tens of times the price";
                    out.push(finding(&name, State::Missing, format!("{error:#}"), Some(mend)));
                }
            }
        }
        if !one.probes.is_empty() {
            out.push(ok(
                &path,
                format!("{fine} of {} sites can be attached to without surprise", one.probes.len()),
            ));
        }
    }
    out
}
