//! Attaching: a plan carried out by this machine's kernel, whichever compiler made its programs.

use super::traits::{Attachment, Backend};
use crate::bpf::{KernelFeatures, MapFds, Program, Transport};
use crate::error::Result;
use crate::kernel::capabilities::add_hint;
use crate::kernel::transport::{RecordReader, reader};
use crate::kernel::{
    Attached, Counts, LinkMethod, Maps, Mechanism, attach, detect, run_time, uprobe_warmup,
};
use crate::plan::record_layout::NATIVE;
use crate::plan::{Plan, TableEntry};
use stapsdt::argspec::Arch;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// Makes the kernel programs of a plan.
pub(crate) trait Compiler: fmt::Debug + Send + Sync {
    /// Whether its programs can write to the mapped ring.
    const MAPPED_RING: bool;
    /// Instructions with the maps' descriptors in place.
    fn build(&self, plan: &Plan, maps: &MapFds, features: KernelFeatures) -> Result<Vec<Program>>;
}

/// A compiler's programs, carried out by this machine's kernel.
#[derive(Debug)]
pub(crate) struct Kernel<C> {
    pub(crate) compiler: C,
    pub(crate) mechanism: Mechanism,
}

impl<C: Compiler> Backend for Kernel<C> {
    fn attach(&self, plan: &Arc<Plan>) -> Result<Box<dyn Attachment>> {
        self.try_attach(plan).map_err(add_hint)
    }
}

impl<C: Compiler> Kernel<C> {
    fn try_attach(&self, plan: &Arc<Plan>) -> Result<Box<dyn Attachment>> {
        uprobe_warmup::start();
        let method = detect::link_method(self.mechanism);
        let mut features = features(method, plan, C::MAPPED_RING);
        let maps = Maps::create(plan, features.transport)?;
        features.transport = maps.transport;
        let programs = self.compiler.build(plan, &maps.fds(), features)?;
        let buffer = reader(&maps, plan)?;
        let attached = attach(plan, &programs, method)?;
        Ok(Box::new(Running { attached, buffer, maps, plan: Arc::clone(plan) }))
    }
}

/// What programs that are attached in this way can count on.
fn features(method: LinkMethod, plan: &Plan, mapped_ring: bool) -> KernelFeatures {
    match method {
        // A kernel without cookies is hardly one that programs can load a name from.
        LinkMethod::ProgramPerSite => {
            KernelFeatures { atomics: detect::atomics(), ..KernelFeatures::default() }
        }
        LinkMethod::UprobeMulti { .. } | LinkMethod::PerfEvents => {
            // Kernels with cookies have them on amd64; on arm64 they came later (Linux 5.18).
            let atomics = NATIVE == Arch::X86_64 || detect::atomics();
            KernelFeatures {
                cookies: true,
                transport: if atomics && mapped_ring {
                    Transport::MappedRing
                } else {
                    Transport::RingBuf
                },
                atomics,
                task: plan.records().then(detect::task_struct_offsets).flatten(),
            }
        }
    }
}

#[derive(Debug)]
struct Running {
    attached: Attached,
    buffer: Option<Box<dyn RecordReader>>,
    maps: Maps,
    plan: Arc<Plan>,
}

impl Attachment for Running {
    fn mechanism(&self) -> Mechanism {
        self.attached.mechanism
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.buffer.as_ref().map(|buffer| buffer.fd())
    }

    fn advance(&mut self) -> Result<bool> {
        self.buffer.as_mut().map_or(Ok(false), |buffer| buffer.advance())
    }

    fn record(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| buffer.record())
    }

    fn release(&mut self) {
        if let Some(buffer) = &mut self.buffer {
            buffer.release();
        }
    }

    fn counts(&self) -> Result<Vec<Counts>> {
        self.maps.counts()
    }

    fn table(&self) -> Result<Vec<TableEntry>> {
        self.maps.table(&self.plan)
    }

    fn waiting(&self) -> Result<u64> {
        self.maps.waiting()
    }

    fn run_time(&self) -> Result<(u64, u64)> {
        let mut all = (0, 0);
        for program in self.attached.programs() {
            let (runs, ns) = run_time(program)?;
            all = (all.0 + runs, all.1 + ns);
        }
        Ok(all)
    }

    fn stop(&mut self) {
        self.attached.detach();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_move_between_threads_and_can_be_printed() {
        fn is_send_and_debug<T: Send + fmt::Debug>() {}
        is_send_and_debug::<Running>();
    }
}
