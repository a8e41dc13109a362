//! BPF code: the instruction set, and programs generated from plans. No system calls.

pub(crate) mod asm;
pub(crate) mod codegen;
mod features;
pub(crate) mod helper;
mod maps;
mod program;
pub(crate) mod ring_format;

pub(crate) use features::{KernelFeatures, TaskStructOffsets, Transport};
pub(crate) use maps::{Counter, MapFds};
pub(crate) use program::Program;
