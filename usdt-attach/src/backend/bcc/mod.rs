//! The bcc back end: the plan as C source, compiled by the distribution's libbcc through the `bcc` crate.
//!
//! libbcc compiles only. Its own loader takes an argument more than the crate passes (since 0.25), and its USDT
//! path pokes semaphores into process memory; loading and attaching are the same as for the embedded back end.

mod module;
pub mod run;
mod source;
mod values;

use super::attach::Compiler;
use crate::bpf::asm::Insn;
use crate::bpf::{KernelFeatures, MapFds, Program};
use crate::error::{Error, Result};
use crate::plan::Plan;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use source::generate;

/// See the module.
pub(crate) struct Bcc;

impl Compiler for Bcc {
    const MAPPED_RING: bool = false;

    fn build(&self, plan: &Plan, maps: &MapFds, features: KernelFeatures) -> Result<Vec<Program>> {
        need_headers()?;
        let text = generate(plan, maps, features);
        let failed =
            |what: &str, error: bcc::BccError| Error::Backend(format!("libbcc cannot {what}: {error}"));
        let _one = one_at_a_time();
        let module = bcc::BPF::new(&text).map_err(|e| failed("compile the program", e))?;
        let function = |name: String, cookies: Vec<u32>| {
            let name = CString::new(name).map_err(|e| Error::Backend(e.to_string()))?;
            let bytes = module.dump_func(name).map_err(|e| failed("find the program it compiled", e))?;
            let code = bytes.as_chunks::<8>().0.iter().map(|raw| Insn::from_bytes(*raw)).collect();
            Ok(Program { cookies, code })
        };
        let all = plan.sites().into_iter().map(|s| s.cookie);
        if features.cookies {
            return Ok(vec![function(source::FUNCTION.to_owned(), all.collect())?]);
        }
        all.map(|cookie| function(format!("{}_{cookie}", source::FUNCTION), vec![cookie])).collect()
    }
}

/// libbcc and the compiler in it keep state that is nobody's in particular.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static COMPILER: Mutex<()> = Mutex::new(());
    COMPILER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether libbcc will find kernel headers, whose absence it explains badly; else where it looks for them.
pub fn headers() -> std::result::Result<(), PathBuf> {
    let release = rustix::system::uname();
    let folder = Path::new("/lib/modules").join(release.release().to_string_lossy().as_ref()).join("build");
    let elsewhere = std::env::var_os("BCC_KERNEL_SOURCE").is_some();
    let there = folder.exists() || elsewhere || Path::new("/sys/kernel/kheaders.tar.xz").exists();
    if there { Ok(()) } else { Err(folder) }
}

fn need_headers() -> Result<()> {
    headers().map_err(|folder| {
        Error::Backend(format!(
            "libbcc needs kernel headers at {}; install the linux-headers package, or use the embedded back end",
            folder.display()
        ))
    })
}
