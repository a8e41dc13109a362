//! The bcc back end: generates C source from a plan, which libbcc compiles in another process.
//!
//! libbcc maps LLVM and clang, so this process does not link it. The program `usdt-attach-bcc` does,
//! and [`BccHelper`] runs it over pipes. libbcc only compiles; loading and attaching are the same as
//! for the embedded back end.

mod answer;
pub mod c_program;
mod exchange;
mod helper_program;
mod source;
mod tables;
mod values;

use super::attach::{Compiler, KernelBackend};
use super::traits::Backend;
use crate::bpf::{KernelFeatures, MapFds, Program};
use crate::error::{Error, Result};
use crate::kernel::Mechanism;
use crate::plan::Plan;
pub use helper_program::BccHelper;
use source::generate;
use stapsdt::escape::Escaped;
use std::sync::Arc;
use tables::check_maps;

/// Creates a back end that compiles with `helper` and attaches with `mechanism`.
pub fn backend(helper: BccHelper, mechanism: Mechanism) -> Arc<dyn Backend> {
    Arc::new(KernelBackend { compiler: BccCompiler { helper }, mechanism })
}

/// Compiles plans with libbcc.
#[derive(Debug)]
struct BccCompiler {
    helper: BccHelper,
}

impl Compiler for BccCompiler {
    /// The mapped ring needs atomics that return the old value, which libbcc does not generate.
    const SUPPORTS_MAPPED_RINGS: bool = false;

    fn compile(
        &self,
        plan: &Plan,
        maps: &MapFds,
        features: KernelFeatures,
    ) -> Result<Vec<Program>> {
        let source = generate(plan, maps, features);
        let cookies: Vec<u32> = plan.sites().into_iter().map(|site| site.cookie).collect();
        // Without BPF cookies, each site needs a program of its own, which knows its site.
        let programs: Vec<(String, Vec<u32>)> = if features.cookies {
            vec![(source::FUNCTION.to_owned(), cookies)]
        } else {
            cookies.into_iter().map(|cookie| (source::function_of(cookie), vec![cookie])).collect()
        };
        let names: Vec<String> = programs.iter().map(|(name, _)| name.clone()).collect();
        let functions = self.helper.compile(&source, &names)?.answer.functions;
        if functions.iter().map(|function| &function.name).ne(&names) {
            return Err(Error::unsupported(format!(
                "{} returns other functions than requested; install the one of this release",
                Escaped::new(self.helper.path())
            )));
        }
        functions
            .into_iter()
            .zip(programs)
            .map(|(function, (_, cookies))| {
                check_maps(&function.name, &function.code, |_, fd| maps.contains(fd))?;
                Ok(Program { cookies, code: function.code, sleepable: features.sleepable })
            })
            .collect()
    }
}
