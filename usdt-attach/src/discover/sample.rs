//! A probe for tests and fuzzers to vary.

use super::{Probe, Source};
use stapsdt::argspec::Arch;
use stapsdt::schema::{self, Kind};
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
        enum_labels: Vec::new(),
        symbols: Arc::default(),
    }
}

/// The same with names and kinds of its arguments.
pub fn described(args: &str, kinds: &[(&str, Kind)]) -> Probe {
    let arg = |(name, kind): &(&str, Kind)| schema::Arg {
        name: (*name).into(),
        ty: "t".into(),
        kind: *kind,
        size: 8,
        signed: false,
        unit: None,
        doc: String::new(),
    };
    let args_of = kinds.iter().map(arg).collect();
    let schema =
        schema::Probe { name: "p".into(), args: args_of, doc: String::new(), stability: None };
    Probe { schema: Some(schema), ..probe(args) }
}
