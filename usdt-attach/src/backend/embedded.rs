//! The embedded back end: BPF instructions straight from the plan.

pub mod asm;
mod codegen;
pub(crate) mod helper;

use super::kernel::{Abilities, Compiler, MapFds, Program};
use crate::error::Result;
use crate::plan::Plan;

pub use codegen::emit;
#[cfg(feature = "bcc")]
pub(crate) use codegen::prologue;

/// See the module.
pub(crate) struct Embedded;

impl Compiler for Embedded {
    const QUEUES: bool = true;

    fn build(&self, plan: &Plan, maps: &MapFds, abilities: Abilities) -> Result<Vec<Program>> {
        let made = emit(plan, maps, abilities)?;
        Ok(made.into_iter().map(|(cookies, code)| Program { cookies, code }).collect())
    }
}
