//! Attaching: a plan carried out by this machine's kernel, whichever compiler made its programs.

use super::{Attachment, Backend};
use crate::bpf::{KernelFeatures, MapFds, Program, Transport};
use crate::error::Result;
use crate::kernel::capabilities::explain;
use crate::kernel::transport::{RecordReader, reader};
use crate::kernel::{
    Attached, Counts, Maps, Mechanism, attach, detect, run_time, silence_libbpf, uprobe_warmup,
};
use crate::plan::record_layout::NATIVE;
use crate::plan::{Entry, Plan};
use stapsdt::argspec::Arch;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// Makes the kernel programs of a plan.
pub(crate) trait Compiler: fmt::Debug + Send + Sync {
    /// Whether they know queues.
    const QUEUES: bool;
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
        self.try_attach(plan).map_err(explain)
    }
}

impl<C: Compiler> Kernel<C> {
    fn try_attach(&self, plan: &Arc<Plan>) -> Result<Box<dyn Attachment>> {
        silence_libbpf();
        uprobe_warmup::start();
        let mechanism = self.mechanism.on_this_kernel();
        let mut features = features(mechanism, plan, C::QUEUES);
        let maps = Maps::create(plan, features.delivery)?;
        features.delivery = maps.delivery;
        let programs = self.compiler.build(plan, &maps.fds(), features)?;
        let buffer = reader(&maps, plan)?;
        let attached = attach(plan, &programs, mechanism)?;
        Ok(Box::new(Running { attached, buffer, maps, plan: Arc::clone(plan), read: Copied::default() }))
    }
}

/// What programs that are attached in this way can count on.
fn features(mechanism: Mechanism, plan: &Plan, queues: bool) -> KernelFeatures {
    match mechanism {
        Mechanism::PerfBuffer => KernelFeatures::default(),
        // A kernel without cookies is hardly one that programs can load a name from.
        Mechanism::ProgramPerSite => KernelFeatures {
            delivery: Transport::RingBuf,
            atomics: detect::atomics(),
            ..KernelFeatures::default()
        },
        Mechanism::Auto | Mechanism::Multi | Mechanism::PerfEvents => {
            // Kernels with cookies have them on amd64; on arm64 they came later (Linux 5.18).
            let atomics = NATIVE == Arch::X86_64 || detect::atomics();
            KernelFeatures {
                cookies: true,
                delivery: if atomics && queues { Transport::MappedRing } else { Transport::RingBuf },
                atomics,
                task: plan.records().then(detect::task).flatten(),
            }
        }
    }
}

struct Running {
    attached: Attached,
    buffer: Option<Box<dyn RecordReader>>,
    maps: Maps,
    plan: Arc<Plan>,
    read: Copied,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("plan", &self.plan).finish_non_exhaustive()
    }
}

#[allow(unsafe_code)]
// SAFETY: the readers own their descriptors and mappings.
unsafe impl Send for Running {}

impl Attachment for Running {
    fn mechanism(&self) -> Mechanism {
        self.attached.mechanism
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.buffer.as_ref().map(|buffer| buffer.fd())
    }

    fn advance(&mut self) -> Result<bool> {
        if self.read.next() {
            return Ok(true);
        }
        let last = self.attached.is_detached();
        let Some(buffer) = &mut self.buffer else { return Ok(false) };
        self.read.clear();
        buffer.consume(last, &mut |record| self.read.push(record))?;
        Ok(self.read.next())
    }

    fn record(&self) -> &[u8] {
        self.read.current()
    }

    fn release(&mut self) {}

    fn counts(&self) -> Result<Vec<Counts>> {
        self.maps.counts()
    }

    fn table(&self) -> Result<Vec<Entry>> {
        self.maps.table(&self.plan)
    }

    fn waiting(&self) -> Result<u64> {
        self.maps.waiting(&self.plan)
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

/// A batch of records, copied.
#[derive(Debug, Default)]
struct Copied {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    position: usize,
}

impl Copied {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.position = 0;
    }

    fn push(&mut self, record: &[u8]) {
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
    }

    fn next(&mut self) -> bool {
        let more = self.position < self.ends.len();
        self.position += usize::from(more);
        more
    }

    fn current(&self) -> &[u8] {
        let Some(index) = self.position.checked_sub(1) else { return &[] };
        let start = index.checked_sub(1).and_then(|i| self.ends.get(i)).copied().unwrap_or(0);
        self.ends.get(index).and_then(|end| self.bytes.get(start..*end)).unwrap_or_default()
    }
}
