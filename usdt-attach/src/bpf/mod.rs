//! BPF code: the instruction set, and programs generated from plans. No system calls.

pub(crate) mod asm;
pub(crate) mod codegen;
mod features;
pub(crate) mod helper;
mod map_fds;
mod program;
pub(crate) mod ring_format;

pub(crate) use features::{KernelFeatures, TaskStructOffsets, Transport};
pub(crate) use map_fds::{Counter, MapFds};
pub(crate) use program::Program;
