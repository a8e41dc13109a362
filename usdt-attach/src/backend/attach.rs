//! Attaching a plan through the kernel, with the programs of either compiler.

use super::traits::{AttachPlan, Attachment, ProgramStats, Share};
use crate::bpf::cpu_ring_format::CpuRings;
use crate::bpf::cpus::cpu_ids_end;
use crate::bpf::{KernelFeatures, MapFds, Program, Transport};
use crate::error::{Error, Result};
use crate::kernel::capabilities::add_hint;
use crate::kernel::transport::{RecordReader, reader};
use crate::kernel::{
    Attached, Counts, Link, LinkMethod, Maps, Mechanism, attach, detect, pid_namespace, run_time,
    uprobe_warmup,
};
use crate::plan::record_layout::NATIVE;
use crate::plan::{Plan, TableEntry};
use stapsdt::argspec::Arch;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// Why a plan that is limited to executables cannot be attached.
pub(super) const NO_EXECUTABLES: &str =
    "this kernel does not tell programs which file a process runs: it has no BTF";

/// Compiles the BPF programs of a plan.
pub(crate) trait Compiler: fmt::Debug + Send + Sync {
    /// True if the generated programs can write to rings in mapped memory.
    const SUPPORTS_MAPPED_RINGS: bool;
    /// Generates instructions that refer to the maps by their descriptors.
    fn compile(&self, plan: &Plan, maps: &MapFds, features: KernelFeatures)
    -> Result<Vec<Program>>;
}

/// A back end that attaches a compiler's programs through the running kernel.
#[derive(Debug)]
pub(crate) struct KernelBackend<C> {
    pub(crate) compiler: C,
    pub(crate) mechanism: Mechanism,
}

impl<C: Compiler> AttachPlan for KernelBackend<C> {
    fn attach(&self, plan: &Arc<Plan>, share: Option<Share<'_>>) -> Result<Box<dyn Attachment>> {
        self.try_attach(plan, share).map_err(add_hint)
    }
}

impl<C: Compiler> KernelBackend<C> {
    fn try_attach(
        &self,
        plan: &Arc<Plan>,
        share: Option<Share<'_>>,
    ) -> Result<Box<dyn Attachment>> {
        uprobe_warmup::start();
        let method = detect::link_method(self.mechanism);
        let mut features = program_features(method, plan, C::SUPPORTS_MAPPED_RINGS);
        features.pid_namespace = pid_namespace::own()?;
        if plan.executables.is_some() && features.executable.is_none() {
            return Err(Error::unsupported(NO_EXECUTABLES));
        }
        let share = share.filter(|_| plan.records() && C::SUPPORTS_MAPPED_RINGS);
        let share = share.filter(|_| features.cookies && features.preemption.is_some());
        let shared = share.and_then(|Share { rings, session }| {
            Some((rings, rings.rings(session, plan.largest_record())?))
        });
        if let Some((_, rings)) = shared {
            features.transport = Transport::CpuRings(rings);
        }
        let mut maps = Maps::create(plan, features.transport, shared.is_some())?;
        // Creating the maps may have fallen back to another transport.
        features.transport = maps.transport;
        let buffer = reader(&maps, plan)?;
        let fds = shared.map_or(maps.fds(), |(rings, _)| rings.add_to(maps.fds()));
        let compile_and_attach =
            |features| attach(plan, &self.compiler.compile(plan, &fds, features)?, method);
        let mut attached = compile_and_attach(features);
        if attached.is_err() && features.sleepable {
            // Programs that may sleep cannot use everything, such as cgroups on some kernels.
            features.sleepable = false;
            attached = compile_and_attach(features);
        }
        let attached = attached?;
        maps.close_unread();
        let waits_for_strings = features.sleepable;
        let shares_buffer = shared.is_some();
        Ok(Box::new(KernelAttachment { attached, buffer, shares_buffer, maps, waits_for_strings }))
    }
}

/// The kernel features that programs attached with `method` may use.
fn program_features(
    method: LinkMethod,
    plan: &Plan,
    supports_mapped_rings: bool,
) -> KernelFeatures {
    match method {
        // A kernel without BPF cookies is too old for programs that read `task_struct` directly.
        LinkMethod::ProgramPerSite => {
            KernelFeatures { atomics: detect::atomics(), ..KernelFeatures::default() }
        }
        LinkMethod::UprobeMulti { .. } | LinkMethod::PerfEvents => {
            // On amd64, atomics (Linux 5.12) are older than cookies (5.15); on arm64 they came
            // later (5.18).
            let atomics = NATIVE == Arch::X86_64 || detect::atomics();
            let preemption = plan.records().then(detect::preemption_functions).flatten();
            let transport = match (preemption.and_then(|_| cpu_rings(plan)), atomics) {
                _ if !supports_mapped_rings => Transport::RingBuf,
                (Some(rings), _) => Transport::CpuRings(rings),
                (None, true) => Transport::MappedRing,
                (None, false) => Transport::RingBuf,
            };
            KernelFeatures {
                cookies: true,
                transport,
                atomics,
                preemption,
                task: plan.records().then(detect::task_struct_offsets).flatten(),
                sleepable: plan.faults_in() && detect::sleepable(method),
                pid_namespace: None,
                executable: plan.executables.as_ref().and_then(|_| detect::executable_offsets()),
            }
        }
    }
}

/// Returns the per-CPU rings of a plan; `None` if its buffer is too small for them, or the CPUs are
/// not known.
fn cpu_rings(plan: &Plan) -> Option<CpuRings> {
    CpuRings::new(plan.buffer, plan.largest_record(), cpu_ids_end()?)
}

#[derive(Debug)]
struct KernelAttachment {
    attached: Attached,
    /// The event buffer; `None` if the plan records nothing or shares one.
    buffer: Option<Box<dyn RecordReader>>,
    shares_buffer: bool,
    maps: Maps,
    waits_for_strings: bool,
}

impl Attachment for KernelAttachment {
    fn mechanism(&self) -> Mechanism {
        self.attached.mechanism
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.buffer.as_ref().map(|buffer| buffer.fd())
    }

    fn shares_buffer(&self) -> bool {
        self.shares_buffer
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

    fn out_of_order(&self) -> u64 {
        self.buffer.as_ref().map_or(0, |buffer| buffer.out_of_order())
    }

    fn read_up_to(&self) -> u64 {
        self.buffer.as_ref().map_or(u64::MAX, |buffer| buffer.read_up_to())
    }

    fn counts(&self) -> Result<Vec<Counts>> {
        self.maps.counts()
    }

    fn table(&self, plan: &Plan) -> Result<Vec<TableEntry>> {
        self.maps.table(plan)
    }

    fn table_keys(&self) -> Result<Vec<Vec<u8>>> {
        self.maps.table_keys()
    }

    fn remove_from_table(&self, keys: &[&[u8]]) -> Result<()> {
        self.maps.remove_from_table(keys)
    }

    fn pending_starts(&self) -> Result<u64> {
        self.maps.waiting()
    }

    fn program_stats(&self) -> Result<ProgramStats> {
        let mut total = ProgramStats::default();
        for program in self.attached.programs() {
            let (runs, run_time_ns) = run_time(program)?;
            total.runs += runs;
            total.run_time_ns += run_time_ns;
        }
        Ok(total)
    }

    fn trace_executable(&self, address: u64) -> Result<()> {
        self.maps.trace_executable(address)
    }

    fn forget_executable(&self, address: u64) -> Result<()> {
        self.maps.forget_executable(address)
    }

    fn waits_for_strings(&self) -> bool {
        self.waits_for_strings
    }

    fn detach(&mut self) {
        self.attached.detach();
        if let Some(buffer) = &mut self.buffer {
            buffer.end_of_writing();
        }
    }

    fn close_programs(&mut self) {
        self.attached.close_programs();
    }

    fn take_links(&mut self, is_taken: &dyn Fn(usize) -> bool) -> Vec<Link> {
        self.attached.take_links(is_taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_are_send_and_debug() {
        fn is_send_and_debug<T: Send + fmt::Debug>() {}
        is_send_and_debug::<KernelAttachment>();
    }
}
