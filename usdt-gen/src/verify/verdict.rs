//! The result of a check: one verdict per tracer and probe site.

use serde::Serialize;

/// The verdict of one tracer on one probe site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeVerdict {
    /// The tracer: `libbpf`, `bcc`, `gdb`, `perf` or `systemtap`.
    pub consumer: &'static str,
    /// The provider's name.
    pub provider: String,
    /// The probe's name.
    pub probe: String,
    /// The link-time address of the site. A probe with several sites has one verdict for each.
    pub address: u64,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The answer to the question whether a tracer accepts a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// The tracer finds the probe and reads all of its arguments.
    Accepted,
    /// The tracer finds the probe, but an argument, the semaphore or a listing does not work.
    Partial(Problem),
    /// The tracer does not find the probe, or would attach to the wrong place.
    Rejected(Problem),
    /// The models do not cover the file, so the tracer may or may not accept the probe.
    Unknown(Problem),
}

/// A problem and its remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The cause, as a clause without a period.
    pub reason: String,
    /// What the user can do about it; `none` if nothing helps.
    pub hint: String,
}

impl Verdict {
    pub(super) fn rejected(reason: impl Into<String>, hint: impl Into<String>) -> Verdict {
        Verdict::Rejected(Problem { reason: reason.into(), hint: hint.into() })
    }

    pub(super) fn partial(reason: impl Into<String>, hint: impl Into<String>) -> Verdict {
        Verdict::Partial(Problem { reason: reason.into(), hint: hint.into() })
    }

    /// Returns the verdict for files whose architecture the models do not cover.
    pub(super) fn unknown_architecture() -> Verdict {
        Verdict::Unknown(Problem {
            reason: "`verify` knows the arguments of amd64 and arm64 files only".to_owned(),
            hint: "try the tracer on a machine of this architecture".to_owned(),
        })
    }
}

/// The hint for defects of notes and sections, which sealing repairs.
pub(super) const HINT_FIX: &str = "usdt-gen seal --fix";
/// The hint for arguments in locations that a tracer cannot read.
pub(super) const HINT_OTHER_OPERAND: &str =
    "pass the value in a general-purpose register or on the stack";
/// The hint for probes with more arguments than a tracer supports.
pub(super) const HINT_FEWER_ARGUMENTS: &str = "drop or combine arguments";
/// The hint for notes whose addresses do not match the file's layout.
pub(super) const HINT_RELINK: &str = "link the program again: its notes belong to another layout";
