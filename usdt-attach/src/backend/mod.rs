//! Back ends: what carries out a plan.
//!
//! `embedded` emits instructions, and `bcc` C source that the program `usdt-attach-bcc` compiles; `kernel` does for both
//! everything that needs the system. `simulated` carries plans out without a kernel, on hits that a test makes up.

mod attach;
pub mod bcc;
mod embedded;
pub mod simulated;

use crate::error::Result;
pub use crate::kernel::{Counts, Mechanism};
pub use crate::plan::Entry;
use crate::plan::Plan;
use attach::Kernel;
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
    fn table(&self) -> Result<Vec<Entry>>;
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

/// Which back end to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendKind {
    /// Instructions emitted from the plan: no compiler, no kernel headers.
    #[default]
    Embedded,
    /// C source from the plan, compiled by libbcc in the program `usdt-attach-bcc`. It is looked for next to the running
    /// program, then on `PATH`; [`bcc::backend`] takes its path instead.
    Bcc,
}

impl BackendKind {
    /// The back end, which is to attach in this way.
    ///
    /// # Errors
    ///
    /// Fails where `usdt-attach-bcc` is needed and cannot be found.
    pub fn backend(self, mechanism: Mechanism) -> Result<Arc<dyn Backend>> {
        match self {
            BackendKind::Embedded => Ok(Arc::new(Kernel { compiler: embedded::Embedded, mechanism })),
            BackendKind::Bcc => Ok(bcc::backend(bcc::BccHelper::find()?, mechanism)),
        }
    }
}
