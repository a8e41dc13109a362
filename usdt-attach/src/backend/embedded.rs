//! The embedded back end: BPF instructions straight from the plan.

use super::attach::Compiler;
use crate::bpf::codegen::compile;
use crate::bpf::{KernelFeatures, MapFds, Program};
use crate::error::Result;
use crate::plan::Plan;

/// See the module.
#[derive(Debug)]
pub(crate) struct Embedded;

impl Compiler for Embedded {
    const MAPPED_RING: bool = true;

    fn build(&self, plan: &Plan, maps: &MapFds, features: KernelFeatures) -> Result<Vec<Program>> {
        compile(plan, maps, features)
    }
}
