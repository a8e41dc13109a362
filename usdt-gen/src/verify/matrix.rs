//! Runs the model of every tracer on every probe.

use super::inspected_file::{InspectedFile, InspectedProbe};
use super::verdict::{ProbeVerdict, Verdict};
use super::{bcc, gdb, libbpf, perf, systemtap};
use stapsdt::elf::View;

/// A tracer's name and the function that judges a probe as that tracer does.
struct Model {
    consumer: &'static str,
    judge: fn(&InspectedFile<'_>, &InspectedProbe) -> Verdict,
}

const MODELS: [Model; 5] = [
    Model { consumer: "libbpf", judge: libbpf::judge },
    Model { consumer: "bcc", judge: bcc::judge },
    Model { consumer: "gdb", judge: gdb::judge },
    Model { consumer: "perf", judge: perf::judge },
    Model { consumer: "systemtap", judge: systemtap::judge },
];

/// Returns one verdict per tracer and probe site, ordered by tracer.
///
/// The result is empty for a file without stapsdt notes.
pub fn verify(view: &View<'_>) -> Vec<ProbeVerdict> {
    let file = InspectedFile::new(view);
    let verdicts = MODELS.iter().flat_map(|model| {
        file.probes.iter().map(|probe| ProbeVerdict {
            consumer: model.consumer,
            provider: probe.note.provider.clone(),
            probe: probe.note.name.clone(),
            address: probe.note.pc,
            verdict: (model.judge)(&file, probe),
        })
    });
    verdicts.collect()
}
