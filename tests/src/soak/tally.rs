//! Counts of the soak.

/// Sums over all rounds.
#[derive(Default)]
pub(super) struct Tally {
    /// Hits of programs that have ended, by their own account.
    pub(super) fired: u64,
    pub(super) rounds: u64,
    pub(super) events: u64,
    pub(super) dropped: u64,
    pub(super) killed: u64,
}

impl Tally {
    /// The counts as a line of progress.
    pub(super) fn line(&self) -> String {
        let Tally { fired, rounds, events, dropped, killed } = self;
        format!(
            "{rounds} tracers, {killed} of them killed; {events} events read, {dropped} dropped as said; {fired} hits of programs that ended"
        )
    }
}
