//! The vocabulary of SystemTap-style static probes (USDT), independent of any language or kernel.
//!
//! * [`note`]: the `.note.stapsdt` codec, both byte orders and both ELF classes.
//! * [`argspec`]: the argument grammar of x86-64 and aarch64, parsed totally and printed back unchanged.
//! * [`blob`]: the in-data form of a probe that compilers without note support (Go's) can emit.
//! * [`schema`]: names, kinds and documentation of a probe's arguments, as JSON.
//! * [`site`]: the instructions of a generated probe site.
//! * [`elf`]: the little of ELF that the others need: addresses, offsets, sections, relocations.
//!
//! Everything here reads hostile input: no panic, no unbounded allocation, errors that say where.

pub mod argspec;
pub mod blob;
pub mod elf;
pub mod note;
pub mod schema;
pub mod site;

mod bytes;
