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
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// Something that carries out plans.
pub trait Backend {
    /// Attaches all sites of the plan, or none.
    fn attach(&self, plan: &Arc<Plan>) -> Result<Box<dyn Attachment>>;
}

/// A plan that is being carried out. Dropping it detaches.
pub trait Attachment {
    /// How the sites are attached.
    fn mechanism(&self) -> Mechanism;
    /// A descriptor that becomes readable when records should be read soon, where the plan records.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
    /// Hands over the records that are there, in order, up to a batch. Returns whether there may be more.
    fn drain(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<bool>;
    /// What happened so far at each site, by cookie.
    fn counts(&self) -> Result<Vec<Counts>>;
    /// The plan's table so far.
    fn table(&self) -> Result<Vec<Entry>>;
    /// Starts whose end has not come.
    fn waiting(&self) -> Result<u64>;
    /// Runs of the programs and the nanoseconds they took, as far as the kernel has measured them.
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
    /// Fails with [`Error::Backend`](crate::error::Error::Backend) where `usdt-attach-bcc` is needed and cannot be
    /// found.
    pub fn backend(self, mechanism: Mechanism) -> Result<Box<dyn Backend>> {
        match self {
            BackendKind::Embedded => Ok(Box::new(Kernel { compiler: embedded::Embedded, mechanism })),
            BackendKind::Bcc => Ok(bcc::backend(bcc::BccHelper::find()?, mechanism)),
        }
    }
}
