//! BPF: the instruction set and an assembler, code generation from plans, and the system call
//! bpf(2).

pub(crate) mod asm;
pub(crate) mod codegen;
pub(crate) mod cpu_ring_format;
pub(crate) mod cpus;
mod features;
pub(crate) mod helper;
mod map;
mod map_fds;
mod memlock;
mod program;
pub(crate) mod ring_format;
pub(crate) mod syscall;
pub(crate) mod uapi;

pub(crate) use features::{
    ExecutableOffsets, KernelFeatures, NestedIds, PidNamespace, PreemptionFunctions,
    TaskStructOffsets, Transport,
};
pub(crate) use map::{Map, Shape};
pub(crate) use map_fds::{Counter, MapFds};
pub(crate) use program::Program;
