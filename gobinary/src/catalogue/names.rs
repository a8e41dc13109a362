//! Texts that the runtime has for numbers.
//!
//! The data is in `names.toml`.

use serde::Deserialize;
use std::sync::LazyLock;

/// What a number is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Why a goroutine waits.
    WaitReason,
    /// Why the world is stopped.
    StopReason,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    wait_reason: Vec<Release>,
    stop_reason: Vec<Release>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    from: u32,
    names: Vec<String>,
}

static TABLE: LazyLock<Option<Table>> = LazyLock::new(|| {
    // The file is part of this program; a test reads it.
    toml::from_str(include_str!("names.toml")).ok()
});

/// The texts by number in a minor release that was looked at.
pub(crate) fn texts(names: Names, minor: u32) -> Option<&'static [String]> {
    let table = TABLE.as_ref()?;
    let releases = match names {
        Names::WaitReason => &table.wait_reason,
        Names::StopReason => &table.stop_reason,
    };
    releases.iter().rev().find(|release| release.from <= minor).map(|release| release.names.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_release_has_its_own() {
        let wait = |minor| texts(Names::WaitReason, minor).unwrap();
        assert_eq!(
            (wait(21)[19].as_str(), wait(25)[20].as_str(), wait(27)[14].as_str()),
            ("sleep", "sleep", "sleep")
        );
        assert_eq!(texts(Names::StopReason, 27).unwrap()[1], "GC mark termination");
        assert_eq!(texts(Names::StopReason, 20), None);
    }
}
