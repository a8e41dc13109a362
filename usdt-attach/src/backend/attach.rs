//! The kernel's side of every back end: maps, program loading, links, the event buffer. System calls through
//! libbpf; the `unsafe` of this crate's BPF work is in this folder.

mod btf;
mod calibrate;
mod context;
pub mod detect;
mod exec;
pub(crate) mod grace;
mod links;
mod load;
mod maps;
mod perf;
pub(super) mod queue;
mod ring;
mod times;

use super::embedded::asm::Insn;
use super::{Attachment, Backend, Entry};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::plan::layout::NATIVE;
pub(crate) use calibrate::price;
pub(crate) use exec::ExecWatch;
pub use links::Mechanism;
pub(crate) use links::{Attached, attach};
pub(crate) use maps::Maps;
#[cfg(feature = "bcc")]
pub(crate) use maps::read_table;
pub use maps::{Counter, Counts, MapFds};
use perf::PerfBuffer;
use queue::Queue;
use ring::Ring;
use stapsdt::argspec::Arch;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
pub(crate) use times::RunTimes;

/// What programs can do with this kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Abilities {
    /// Ask for the site's cookie. Without it there is a program for each site, which knows it.
    pub cookies: bool,
    /// Deliver records in this way.
    pub delivery: Delivery,
    /// Add to a number and learn what it was. Without it limits may let a few hits more pass.
    pub atomics: bool,
    /// Load what the running thread is from its task, which costs less than asking helpers.
    pub task: Option<Task>,
}

/// How records get to the reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// By a perf buffer for each CPU.
    #[default]
    PerCpu,
    /// By the kernel's ring buffer (Linux 5.8).
    Ring,
    /// By a queue in mapped memory, where programs can learn what a number was that they add to (Linux 5.12).
    Queue,
}

/// Offsets in the kernel's `task_struct`.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// The name, 16 bytes.
    pub comm: i16,
    /// The thread's number, of 32 bits.
    pub pid: i16,
    /// The process's, likewise.
    pub tgid: i16,
}

/// Makes the kernel programs of a plan.
pub(crate) trait Compiler {
    /// Whether they know queues.
    const QUEUES: bool;
    /// Instructions with the maps' descriptors in place.
    fn build(&self, plan: &Plan, maps: &MapFds, abilities: Abilities) -> Result<Vec<Program>>;
}

/// A program, and the sites it serves.
pub(crate) struct Program {
    /// Cookies of the sites, in ascending order.
    pub(crate) cookies: Vec<u32>,
    /// Instructions, map file descriptors in place.
    pub(crate) code: Vec<Insn>,
}

/// A compiler's programs, carried out by this machine's kernel.
pub(crate) struct Kernel<C> {
    pub(crate) compiler: C,
    pub(crate) mechanism: Mechanism,
}

impl<C: Compiler> Backend for Kernel<C> {
    fn attach(&self, plan: &Arc<Plan>) -> Result<Box<dyn Attachment>> {
        silence_libbpf();
        grace::begin();
        let mechanism = self.mechanism.on_this_kernel();
        let mut abilities = abilities(mechanism, plan, C::QUEUES);
        let maps = Maps::create(plan, abilities.delivery)?;
        abilities.delivery = maps.delivery;
        let programs = self.compiler.build(plan, &maps.fds(), abilities)?;
        let buffer = reader(&maps, plan)?;
        let attached = attach(plan, &programs, mechanism)?;
        Ok(Box::new(Running { attached, buffer, maps, plan: Arc::clone(plan) }))
    }
}

/// What reads the records, where the plan has any.
fn reader(maps: &Maps, plan: &Plan) -> Result<Option<Box<dyn Buffer>>> {
    let Some(events) = &maps.events else { return Ok(None) };
    let own = |fd: &OwnedFd| {
        fd.try_clone().map_err(|source| Error::Io { what: "cannot share the event buffer", source })
    };
    Ok(Some(match &maps.bell {
        Some(bell) => Box::new(Queue::new(events.as_fd(), own(bell)?, plan.buffer, plan.largest_record())?),
        None if maps.delivery == Delivery::Ring => Box::new(Ring::new(own(events)?)?),
        None => Box::new(PerfBuffer::new(own(events)?, plan.buffer)?),
    }))
}

/// What programs that are attached in this way can count on.
fn abilities(mechanism: Mechanism, plan: &Plan, queues: bool) -> Abilities {
    match mechanism {
        Mechanism::PerfBuffer => Abilities::default(),
        // A kernel without cookies is hardly one that programs can load a name from.
        Mechanism::Separate => {
            Abilities { delivery: Delivery::Ring, atomics: detect::atomics(), ..Abilities::default() }
        }
        Mechanism::Auto | Mechanism::Multi | Mechanism::PerfEvents => {
            // Kernels with cookies have them on amd64; on arm64 they came later (Linux 5.18).
            let atomics = NATIVE == Arch::X86_64 || detect::atomics();
            Abilities {
                cookies: true,
                delivery: if atomics && queues { Delivery::Queue } else { Delivery::Ring },
                atomics,
                task: plan.records().then(detect::task).flatten(),
            }
        }
    }
}

/// Where records wait for the reader.
trait Buffer {
    /// Hands over what is there, in order, up to a batch. Returns whether there may be more. `last` says that no more
    /// are written.
    fn consume(&mut self, last: bool, sink: &mut dyn FnMut(&[u8])) -> Result<bool>;
    /// Becomes readable when the reader had better come.
    fn fd(&self) -> BorrowedFd<'_>;
}

struct Running {
    attached: Attached,
    buffer: Option<Box<dyn Buffer>>,
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

    fn drain(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let last = self.attached.is_detached();
        self.buffer.as_mut().map_or(Ok(false), |buffer| buffer.consume(last, sink))
    }

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
            let (runs, ns) = times::run_time(program)?;
            all = (all.0 + runs, all.1 + ns);
        }
        Ok(all)
    }

    fn stop(&mut self) {
        self.attached.detach();
    }
}

/// libbpf writes to standard error on its own account; this library reports through its results.
pub(crate) fn silence_libbpf() {
    #[allow(unsafe_code)]
    // SAFETY: replaces a callback by none; libbpf allows that at any time.
    unsafe {
        libbpf_sys::libbpf_set_print(None);
    }
}
