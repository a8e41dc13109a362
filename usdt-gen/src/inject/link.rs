//! The check before linking: every planned package that is linked has its probes.
//!
//! The go command uses the last `-gcflags` whose pattern matches a package. Flags on the command
//! line come after those in GOFLAGS, so a user's own flag can silently replace the mark of a planned
//! package. Each compilation with a mark leaves a member with the plan's key in the archive.

use super::plan::Plan;
use super::toolchain::{option, target_architecture};
use super::{InjectError, archive};
use std::ffi::OsString;
use std::path::Path;

/// Name of the member with the key. The linker skips members whose name does not end in `.o`.
pub(crate) const MARK: &str = "usdt.plan";
/// Size of a key with its line break is less than this.
const MAX_KEY: u64 = 64;
/// Number of packages that a message names.
const MAX_NAMED: usize = 5;

/// Fails if a package of the link has rules and was compiled without them.
pub(crate) fn check(plan: &Plan, args: &[OsString]) -> Result<(), InjectError> {
    let (Some(config), Some(_)) = (option(args, "-importcfg"), target_architecture()) else {
        return Ok(());
    };
    let text = std::fs::read_to_string(config)
        .map_err(|source| InjectError::Read { path: config.into(), source })?;
    let mut missing = Vec::new();
    for (package, file) in package_files(&text) {
        let Some(key) = plan.key_for(package) else { continue };
        let mark = archive::find(Path::new(file), MARK, MAX_KEY)
            .map_err(|source| InjectError::Read { path: file.into(), source })?;
        if mark.is_none_or(|mark| mark.trim_ascii() != key.as_bytes()) {
            missing.push(package);
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(InjectError::NotInjected(message(&missing))) }
}

fn message(missing: &[&str]) -> String {
    let mut names: Vec<String> =
        missing.iter().take(MAX_NAMED).map(|name| format!("`{name}`")).collect();
    if missing.len() > MAX_NAMED {
        names.push(format!("{} more", missing.len() - MAX_NAMED));
    }
    format!(
        "compiled without the probes of the plan: {}\n\
         a `-gcflags` on the command line replaces those in GOFLAGS; let `usdt-gen inject` print it instead:\n\
         export GOFLAGS=\"$(usdt-gen inject --gcflags='all=-N -l' …)\"",
        names.join(", ")
    )
}

/// Returns the packages of an import configuration, and their archives.
fn package_files(config: &str) -> impl Iterator<Item = (&str, &str)> {
    config.lines().filter_map(|line| line.strip_prefix("packagefile ")?.split_once('='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::rules::RuleSet;

    #[test]
    fn names_the_packages_without_probes() {
        let folder = tempfile::tempdir().unwrap();
        let mut rules = RuleSet::default();
        rules.add_function("a.F").unwrap();
        rules.add_function("b.F").unwrap();
        let plan = Plan::new(rules, Vec::new(), Vec::new(), "tool");
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        for name in ["a.a", "b.a", "c.a"] {
            std::fs::write(path(name), "!<arch>\n").unwrap();
        }
        let mark = plan.key_for("a").unwrap().to_owned();
        archive::append(Path::new(&path("a.a")), MARK, mark.as_bytes()).unwrap();
        let config = format!(
            "# import config\npackagefile a={}\npackagefile b={}\npackagefile c={}\n",
            path("a.a"),
            path("b.a"),
            path("c.a")
        );
        std::fs::write(path("importcfg"), config).unwrap();
        let args = ["-importcfg".into(), OsString::from(path("importcfg"))];
        let error = check(&plan, &args).unwrap_err().to_string();
        assert!(error.contains("plan: `b`\n"), "{error}");
        let mark = plan.key_for("b").unwrap().to_owned();
        archive::append(Path::new(&path("b.a")), MARK, mark.as_bytes()).unwrap();
        check(&plan, &args).unwrap();
        check(&plan, &[]).unwrap();
    }
}
