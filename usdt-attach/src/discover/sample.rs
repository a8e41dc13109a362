//! Sample probes for unit tests and fuzz targets.
#![allow(clippy::expect_used)] // tests may panic

use super::select::Selected;
use super::{Object, Probe, SchemaSource, Source};
use stapsdt::elf::Machine;
use stapsdt::note::Format;
use stapsdt::schema::{self, Kind};
use stapsdt::site::Instruction;
use std::sync::{Arc, LazyLock};

/// Returns a probe with the given argument specification and no schema.
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
        schema_source: None,
        machine: Machine { number: 62, format: Format::LE64 },
        instruction: Instruction::Nop,
        generated: true,
        has_nop10: true,
        risks_red_zone: false,
        stack_check: false,
        goid_offset: None,
        enum_labels: Vec::new(),
        interfaces: Vec::new(),
        guards: Vec::new(),
        symbols: Arc::default(),
        injected: None,
    }
}

/// Returns a probe whose arguments have names and kinds; every argument is unsigned and has 8
/// bytes.
pub fn described(args: &str, kinds: &[(&str, Kind)]) -> Probe {
    let arg = |(name, kind): &(&str, Kind)| schema::Arg::new(*name, "t", *kind, 8, false);
    with_args(args, kinds.iter().map(arg).collect())
}

/// Returns a probe with the given argument specification and declared arguments.
pub fn with_args(args: &str, declared: Vec<schema::Arg>) -> Probe {
    let schema = schema::Probe {
        name: "p".into(),
        args: declared,
        doc: String::new(),
        stability: None,
        symbol: None,
    };
    Probe { schema: Some(schema), schema_source: Some(SchemaSource::Binary), ..probe(args) }
}

/// Returns the probe as selected in the file of the running program.
///
/// # Panics
///
/// If this program's file cannot be read.
pub fn selected(probe: Probe) -> Selected {
    static OWN: LazyLock<Arc<Object>> = LazyLock::new(|| {
        let path = std::env::current_exe().expect("this program has a file");
        Arc::new(Object::open(&path, &path).expect("it is an ELF file"))
    });
    Selected { object: Arc::clone(&OWN), probe: Arc::new(probe), pids: Arc::from([]) }
}
