//! Back ends: two ways to turn a plan into a kernel program, one way to load, attach and read it.
//!
//! `embedded` emits instructions, `bcc` C source that libbcc compiles. Both get the maps from `kernel`, which does
//! everything that needs the system, and hand their instructions back to it.

#[cfg(feature = "bcc")]
pub mod bcc;
pub mod embedded;
pub mod kernel;

#[cfg(not(feature = "bcc"))]
use crate::error::Error;
use crate::error::Result;
use crate::plan::Plan;
use kernel::{MapFds, Program};

/// Which back end to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The embedded one.
    #[default]
    Auto,
    /// Instructions emitted from the plan: no compiler, no headers.
    Embedded,
    /// C compiled by libbcc.
    Bcc,
}

/// Makes the kernel programs of a plan.
pub(crate) trait Backend {
    /// Instructions with the maps' descriptors in place.
    fn build(&self, plan: &Plan, maps: &MapFds) -> Result<Vec<Program>>;
}

impl Choice {
    pub(crate) fn backend(self) -> Result<Box<dyn Backend>> {
        match self {
            Choice::Auto | Choice::Embedded => Ok(Box::new(embedded::Embedded)),
            #[cfg(feature = "bcc")]
            Choice::Bcc => Ok(Box::new(bcc::Bcc)),
            #[cfg(not(feature = "bcc"))]
            Choice::Bcc => Err(Error::Backend(
                "this build has no bcc back end; build with `--features bcc` where libbcc is installed"
                    .into(),
            )),
        }
    }
}
