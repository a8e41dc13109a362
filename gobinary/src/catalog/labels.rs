//! Labels of the runtime's enums, which the runtime prints in place of the codes.
//!
//! The source is `labels.toml`.

use super::tables;
use super::types::{LabelSet, LabelsSince};

/// Returns the labels of an enum by code in a minor release; `None` for releases before the first
/// known one.
pub(crate) fn labels(set: LabelSet, minor: u32) -> Option<&'static [&'static str]> {
    let releases: &[LabelsSince] = match set {
        LabelSet::WaitReason => &tables::WAIT_REASONS,
        LabelSet::StopReason => &tables::STOP_REASONS,
    };
    releases.iter().rev().find(|(from, _)| *from <= minor).map(|(_, labels)| *labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_the_release() {
        let wait = |minor| labels(LabelSet::WaitReason, minor).unwrap();
        assert_eq!((wait(21)[19], wait(25)[20], wait(27)[14]), ("sleep", "sleep", "sleep"));
        assert_eq!((wait(17)[25], wait(20)[21]), ("preempted", "sync.Mutex.Lock"));
        assert_eq!(labels(LabelSet::StopReason, 27).unwrap()[1], "GC mark termination");
        assert_eq!(labels(LabelSet::StopReason, 20), None);
    }
}
