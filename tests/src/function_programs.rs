//! The programs of `tests/go/functions`, which are built once for each release and flags.

use crate::{Fixture, go_of, output, root};
use gobinary::supported_releases::{TESTED, TESTED_UNMODIFIED};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// A package of the module, a Go release, and flags of the go command.
pub type Build = (&'static str, &'static str, &'static [&'static str]);

const GO_1_19: &str = TESTED_UNMODIFIED[2];
const BEFORE_NEWEST: &str = TESTED[TESTED.len() - 2];
const NEWEST: &str = TESTED[TESTED.len() - 1];

/// What machines without Go need: the builds of the tests that trace functions.
pub const PREBUILT: [Build; 12] = [
    (".", GO_1_19, &[]),
    (".", TESTED[0], &["-ldflags=-s -w"]),
    (".", BEFORE_NEWEST, &[]),
    (".", BEFORE_NEWEST, &["-ldflags=-s -w"]),
    (".", NEWEST, &["-buildmode=pie", "-ldflags=-s -w"]),
    (".", NEWEST, &[]),
    (".", NEWEST, &["-ldflags=-s -w"]),
    ("./paths", GO_1_19, &[]),
    ("./paths", BEFORE_NEWEST, &["-gcflags=-N -l"]),
    ("./paths", NEWEST, &[]),
    ("./paths", NEWEST, &["-buildmode=pie"]),
    ("./torture", NEWEST, &[]),
];

/// Builds a program once per run, and returns its path.
///
/// # Errors
///
/// Fails with the last line of the go command's errors.
pub fn build(build: Build) -> Result<PathBuf, String> {
    static BUILT: Mutex<BTreeMap<Build, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.get(&build) {
        return Ok(path.clone());
    }
    let (package, release, flags) = build;
    let name = format!("functions-{package}-{release}-{}", flags.join(""));
    let name = name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-");
    let path = match Fixture::prebuilt(&name) {
        Some(path) => path,
        None => {
            let path = Fixture::place(&name);
            let mut go = go_of(release);
            go.args(["build", "-o"]).arg(&path).args(flags).arg(package);
            output(go.current_dir(root().join("tests/go/functions")))?;
            path
        }
    };
    built.insert(build, path.clone());
    Ok(path)
}
