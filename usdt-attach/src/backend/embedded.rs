//! The embedded back end: generates BPF instructions from a plan.

use super::attach::Compiler;
use crate::bpf::codegen::compile;
use crate::bpf::{KernelFeatures, MapFds, Program};
use crate::error::Result;
use crate::plan::Plan;

/// Compiles plans with the code generator of this crate.
#[derive(Debug)]
pub(crate) struct Embedded;

impl Compiler for Embedded {
    const SUPPORTS_MAPPED_RINGS: bool = true;

    fn compile(
        &self,
        plan: &Plan,
        maps: &MapFds,
        features: KernelFeatures,
    ) -> Result<Vec<Program>> {
        compile(plan, maps, features)
    }
}
