//! A probe for tests and fuzzers to vary.

use super::{Probe, Source};
use stapsdt::argspec::Arch;
use stapsdt::site::Instruction;
use std::sync::Arc;

/// A probe with these arguments, of which nothing more is known.
pub fn probe(args: &str) -> Probe {
    Probe {
        provider: "sample".into(),
        name: "probe".into(),
        address: 0x1000,
        offset: 0x1000,
        semaphore: None,
        semaphore_offset: None,
        args: args.into(),
        source: Source::Note,
        schema: None,
        arch: Arch::X86_64,
        instruction: Instruction::Nop,
        generated: true,
        goid_offset: None,
        names: Vec::new(),
        symbols: Arc::default(),
    }
}
