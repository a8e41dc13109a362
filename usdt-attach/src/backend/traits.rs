//! The interface between sessions and back ends.

use crate::error::Result;
use crate::kernel::{Counts, Link, Mechanism, SharedRings};
use crate::plan::{Plan, TableEntry};
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// A back end: it attaches the probes of a plan and collects what their hits produce.
///
/// The trait is sealed: [`BackendKind::backend`](super::BackendKind::backend),
/// [`bcc::backend`](super::bcc::backend) and [`Simulated`](super::simulated::Simulated) are the
/// only implementations.
pub trait Backend: AttachPlan {}

impl<B: AttachPlan> Backend for B {}

/// Attaches plans. This supertrait of [`Backend`] seals it, as it cannot be named outside the crate.
pub trait AttachPlan: fmt::Debug + Send + Sync {
    /// Attaches every site of the plan, or none. Its records go to the buffer of `share` if that is
    /// possible, else to an event buffer of its own.
    ///
    /// # Errors
    ///
    /// Fails when the kernel rejects a program or a link, and when the kernel or the process lacks
    /// a feature or a privilege.
    fn attach(&self, plan: &Arc<Plan>, share: Option<Share<'_>>) -> Result<Box<dyn Attachment>>;
}

/// An event buffer that a session shares with others, where its plan and the kernel allow it.
#[derive(Clone, Copy, Debug)]
pub struct Share<'r> {
    pub(crate) rings: &'r SharedRings,
    /// The number of the session.
    pub(crate) session: u32,
}

/// An attached plan. Dropping it detaches.
///
/// Records are lent one at a time: [`Attachment::advance`] moves to the next record and ends the
/// loan of the previous one.
pub trait Attachment: fmt::Debug + Send {
    /// The mechanism that the sites are attached with.
    fn mechanism(&self) -> Mechanism;
    /// A descriptor that becomes readable when the event buffer is half full; `None` if the plan
    /// records no events.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
    /// True if the records are in an event buffer that other sessions share.
    fn shares_buffer(&self) -> bool {
        false
    }
    /// Moves to the next record in order. Returns false if the buffer is empty.
    ///
    /// # Errors
    ///
    /// Fails when the buffer cannot be read or is corrupt.
    fn advance(&mut self) -> Result<bool>;
    /// The record that [`Attachment::advance`] moved to.
    fn record(&self) -> &[u8];
    /// Releases the buffer space of every record that was moved past.
    fn release(&mut self);
    /// The number of records that came after a record with a later time.
    fn out_of_order(&self) -> u64 {
        0
    }
    /// The time up to which all records have been read once [`Attachment::advance`] has returned
    /// false, in nanoseconds of CLOCK_MONOTONIC; `u64::MAX` if no published record is held back.
    fn read_up_to(&self) -> u64 {
        u64::MAX
    }
    /// Hit counts of each site so far, indexed by cookie.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    fn counts(&self) -> Result<Vec<Counts>>;
    /// The entries of the aggregation table of the attached plan so far.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    fn table(&self, plan: &Plan) -> Result<Vec<TableEntry>>;
    /// The keys of the aggregation table of the attached plan so far; none if it is an array.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    fn table_keys(&self) -> Result<Vec<Vec<u8>>>;
    /// Removes keys from the aggregation table.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be written.
    fn remove_from_table(&self, keys: &[&[u8]]) -> Result<()>;
    /// The number of latency starts whose end has not been hit yet.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    fn pending_starts(&self) -> Result<u64>;
    /// Run counts and run times of the BPF programs.
    ///
    /// # Errors
    ///
    /// Fails when the kernel does not report on the programs.
    fn program_stats(&self) -> Result<ProgramStats>;
    /// Also takes hits of processes that run this executable, given by the address of its inode in
    /// the kernel, if the plan is limited to executables.
    ///
    /// # Errors
    ///
    /// Fails when the kernel rejects it.
    fn trace_executable(&self, _address: u64) -> Result<()> {
        Ok(())
    }
    /// Takes no more hits of processes that run this executable.
    ///
    /// # Errors
    ///
    /// Fails when the kernel rejects it.
    fn forget_executable(&self, _address: u64) -> Result<()> {
        Ok(())
    }
    /// True if programs wait for strings that are not in memory.
    fn waits_for_strings(&self) -> bool {
        true
    }
    /// Detaches. Records that are already in the buffer can still be read.
    fn detach(&mut self);
    /// Closes the descriptors of the programs, which only [`Attachment::program_stats`] needs.
    fn close_programs(&mut self) {}
    /// Takes the links to the objects with these indexes in the plan. Closing them detaches from the
    /// objects. A back end without links detaches at once, and returns none.
    fn take_links(&mut self, is_taken: &dyn Fn(usize) -> bool) -> Vec<Link>;
}

/// Run counts and run times of a session's BPF programs, as the kernel measures them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramStats {
    /// Number of measured runs.
    pub runs: u64,
    /// Total time of these runs in nanoseconds.
    pub run_time_ns: u64,
}
