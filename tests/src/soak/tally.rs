//! Counts of the soak test.

/// Sums over all rounds.
#[derive(Default)]
pub(super) struct Tally {
    /// Hits fired by the programs that have exited, as they report them.
    pub(super) fired: u64,
    pub(super) rounds: u64,
    pub(super) events: u64,
    pub(super) dropped: u64,
    pub(super) killed: u64,
}

impl Tally {
    /// Formats the counts as a progress line.
    pub(super) fn line(&self) -> String {
        let Tally { fired, rounds, events, dropped, killed } = self;
        format!(
            "{rounds} tracers, {killed} of them killed; {events} events read, {dropped} reported \
             as dropped; {fired} hits of exited programs"
        )
    }
}
