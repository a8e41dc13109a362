//! The bcc back end: the plan as C source, compiled by libbcc in a process of its own.
//!
//! libbcc maps LLVM and clang, so this process does not link it: the program `usdt-attach-bcc` does, and [`BccHelper`]
//! talks to it over pipes. libbcc compiles only; loading and attaching are the same as for the embedded back end.

mod answer;
mod exchange;
mod helper_program;
pub mod run;
mod source;
mod tables;
mod values;

use super::attach::{Compiler, Kernel};
use super::traits::Backend;
use crate::bpf::{KernelFeatures, MapFds, Program};
use crate::error::{Error, Result};
use crate::kernel::Mechanism;
use crate::plan::Plan;
pub use helper_program::BccHelper;
use source::generate;
use std::sync::Arc;
use tables::check_maps;

/// The back end that has this program compile, for sites that are attached in this way.
pub fn backend(helper: BccHelper, mechanism: Mechanism) -> Arc<dyn Backend> {
    Arc::new(Kernel { compiler: Bcc { helper }, mechanism })
}

/// See the module.
#[derive(Debug)]
struct Bcc {
    helper: BccHelper,
}

impl Compiler for Bcc {
    const MAPPED_RING: bool = false;

    fn build(&self, plan: &Plan, maps: &MapFds, features: KernelFeatures) -> Result<Vec<Program>> {
        let source = generate(plan, maps, features);
        let cookies: Vec<u32> = plan.sites().into_iter().map(|site| site.cookie).collect();
        let programs: Vec<(String, Vec<u32>)> = if features.cookies {
            vec![(source::FUNCTION.to_owned(), cookies)]
        } else {
            cookies.into_iter().map(|cookie| (source::function_of(cookie), vec![cookie])).collect()
        };
        let names: Vec<String> = programs.iter().map(|(name, _)| name.clone()).collect();
        let functions = self.helper.compile(&source, &names)?.answer.functions;
        if functions.iter().map(|function| &function.name).ne(&names) {
            let problem = format!(
                "{} returns other functions than it was asked for",
                self.helper.path().display()
            );
            return Err(Error::unsupported(problem));
        }
        let program = |(function, (_, cookies)): (answer::Function, (String, Vec<u32>))| {
            check_maps(&function.name, &function.code, |_, fd| maps.contains(fd))?;
            Ok(Program { cookies, code: function.code })
        };
        functions.into_iter().zip(programs).map(program).collect()
    }
}
