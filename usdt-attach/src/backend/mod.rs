//! Back ends: what carries out a plan.
//!
//! `embedded` emits instructions, and `bcc` C source that the program `usdt-attach-bcc` compiles; `kernel` does for both
//! everything that needs the system. `simulated` carries plans out without a kernel, on hits that a test makes up.

mod attach;
pub mod bcc;
mod embedded;
pub mod simulated;
mod traits;

use crate::error::Result;
pub use crate::kernel::{Counts, Mechanism};
pub use crate::plan::TableEntry;
use attach::Kernel;
use std::sync::Arc;
pub use traits::{Attachment, Backend};

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
            BackendKind::Embedded => {
                Ok(Arc::new(Kernel { compiler: embedded::Embedded, mechanism }))
            }
            BackendKind::Bcc => Ok(bcc::backend(bcc::BccHelper::find()?, mechanism)),
        }
    }
}
