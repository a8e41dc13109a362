//! The package manager of Debian.

use crate::command::{Outcome, execute, privileged};
use std::process::Stdio;

/// Runs `apt-get` as root and non-interactively.
pub(super) fn apt(args: &[&str]) -> Outcome {
    let mut words = vec!["DEBIAN_FRONTEND=noninteractive", "apt-get"];
    words.extend(args);
    execute(privileged("env", &words).stdout(Stdio::null()))
}
