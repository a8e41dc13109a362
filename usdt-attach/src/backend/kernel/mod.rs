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
mod ring;
mod times;

use super::embedded::asm::Insn;
use super::{Attachment, Backend, Entry};
use crate::error::{Error, Result};
use crate::plan::Plan;
pub(crate) use calibrate::price;
pub(crate) use exec::ExecWatch;
pub use links::Mechanism;
pub(crate) use links::{Attached, attach};
pub(crate) use maps::Maps;
#[cfg(feature = "bcc")]
pub(crate) use maps::read_table;
pub use maps::{Counter, Counts, MapFds};
use perf::PerfBuffer;
use ring::Ring;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
pub(crate) use times::RunTimes;

/// What programs can do with this kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Abilities {
    /// Ask for the site's cookie. Without it there is a program for each site, which knows it.
    pub cookies: bool,
    /// Write to the ring buffer. Without it records go to a buffer for each CPU.
    pub ring: bool,
    /// Add to a number and learn what it was. Without it limits may let a few hits more pass.
    pub atomics: bool,
    /// Load what the running thread is from its task, which costs less than asking helpers.
    pub task: Option<Task>,
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
        let abilities = abilities(mechanism, plan);
        let maps = Maps::create(plan, abilities.ring)?;
        let programs = self.compiler.build(plan, &maps.fds(), abilities)?;
        let shared = |source| Error::Io { what: "cannot share the event buffer", source };
        let reader = |fd: &OwnedFd| -> Result<Box<dyn Buffer>> {
            let fd = fd.try_clone().map_err(shared)?;
            Ok(if abilities.ring {
                Box::new(Ring::new(fd)?)
            } else {
                Box::new(PerfBuffer::new(fd, plan.buffer)?)
            })
        };
        let buffer = maps.events.as_ref().map(reader).transpose()?;
        let attached = attach(plan, &programs, mechanism)?;
        Ok(Box::new(Running { attached, buffer, maps, plan: Arc::clone(plan) }))
    }
}

/// What programs that are attached in this way can count on.
fn abilities(mechanism: Mechanism, plan: &Plan) -> Abilities {
    match mechanism {
        Mechanism::PerfBuffer => Abilities::default(),
        // A kernel without cookies is hardly one that programs can load a name from.
        Mechanism::Separate => Abilities { ring: true, atomics: detect::atomics(), ..Abilities::default() },
        Mechanism::Auto | Mechanism::Multi | Mechanism::PerfEvents => Abilities {
            cookies: true,
            ring: true,
            atomics: true,
            task: plan.records().then(detect::task).flatten(),
        },
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
