//! Back ends: they carry out a plan.
//!
//! * [`BackendKind::Embedded`] generates BPF instructions itself.
//! * [`BackendKind::Bcc`] generates C source, which the program `usdt-attach-bcc` compiles with libbcc.
//! * [`simulated`] executes plans without a kernel, on hits that a test constructs.
//!
//! The first two share everything that talks to the kernel: maps, loading, links and event
//! transports.

mod attach;
pub mod bcc;
mod embedded;
#[cfg(test)]
mod frame_tests;
#[cfg(test)]
mod guard_tests;
#[cfg(test)]
mod nesting_tests;
pub mod simulated;
mod traits;

use crate::error::Result;
use crate::kernel::Mechanism;
use attach::KernelBackend;
use std::sync::Arc;
#[cfg(test)]
pub(crate) use traits::AttachPlan;
pub use traits::Backend;
pub(crate) use traits::{Attachment, ProgramStats, Share};

/// The kind of a back end that attaches through the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendKind {
    /// Generates BPF instructions from the plan. Needs no compiler and no kernel headers.
    #[default]
    Embedded,
    /// Generates C source, which libbcc compiles in the separate program `usdt-attach-bcc`. Needs
    /// that program and kernel headers.
    Bcc,
}

impl BackendKind {
    /// Creates a back end of this kind that attaches with `mechanism`.
    ///
    /// [`BackendKind::Bcc`] searches for `usdt-attach-bcc` next to the running executable, then on
    /// `PATH`. [`bcc::backend`] takes its path instead.
    ///
    /// ```
    /// use usdt_attach::backend::BackendKind;
    /// use usdt_attach::session::Mechanism;
    ///
    /// # fn main() -> usdt_attach::Result<()> {
    /// let backend = BackendKind::Embedded.backend(Mechanism::Auto)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) when
    /// `usdt-attach-bcc` is needed but not installed.
    pub fn backend(self, mechanism: Mechanism) -> Result<Arc<dyn Backend>> {
        match self {
            BackendKind::Embedded => {
                Ok(Arc::new(KernelBackend { compiler: embedded::Embedded, mechanism }))
            }
            BackendKind::Bcc => Ok(bcc::backend(bcc::BccHelper::find()?, mechanism)),
        }
    }
}
