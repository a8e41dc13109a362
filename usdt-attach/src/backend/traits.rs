//! What every back end implements: attaching a plan, and the attachment that results.

use crate::error::Result;
use crate::kernel::{Counts, Mechanism};
use crate::plan::{Plan, TableEntry};
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// Something that carries out plans.
pub trait Backend: fmt::Debug + Send + Sync {
    /// Attaches all sites of the plan, or none.
    ///
    /// # Errors
    ///
    /// Fails when the kernel rejects a program or a link, or the process or the kernel lacks what they need.
    fn attach(&self, plan: &Arc<Plan>) -> Result<Box<dyn Attachment>>;
}

/// A plan that is being carried out. Dropping it detaches.
///
/// Records are lent one by one: [`Attachment::advance`] moves to the next and releases the one before it.
pub trait Attachment: fmt::Debug + Send {
    /// How the sites are attached.
    fn mechanism(&self) -> Mechanism;
    /// A descriptor that becomes readable when records should be read soon; `None` if the plan records nothing.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
    /// Moves to the next record, in order. False if there is none at the moment.
    ///
    /// # Errors
    ///
    /// Fails when the buffer cannot be read or holds what no program writes.
    fn advance(&mut self) -> Result<bool>;
    /// The record that [`Attachment::advance`] moved to.
    fn record(&self) -> &[u8];
    /// Ends a batch: the space of every record moved past can be written again.
    fn release(&mut self);
    /// What happened so far at each site, by cookie.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    fn counts(&self) -> Result<Vec<Counts>>;
    /// The plan's table so far.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    fn table(&self) -> Result<Vec<TableEntry>>;
    /// Number of starts whose end has not come.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    fn waiting(&self) -> Result<u64>;
    /// Runs of the programs and the nanoseconds they took, while BPF statistics are enabled.
    ///
    /// # Errors
    ///
    /// Fails when the kernel does not report on its programs.
    fn run_time(&self) -> Result<(u64, u64)>;
    /// Detaches. What is recorded can still be read.
    fn stop(&mut self);
}
