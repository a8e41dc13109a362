//! The attacher's suite on other kernels and architectures, in machines that qemu emulates.

mod arch;
mod cpio;
pub(crate) mod debian;
mod machine;
mod system;

use crate::command::{Failure, Outcome};
use crate::setup;
use crate::tools::Tools;
use arch::{AMD64, ARM64, Arch};
use debian::Release;
use machine::Machine;
use std::path::{Path, PathBuf};

/// A kernel, and what it is that makes it worth a run.
struct Kernel {
    /// As it is asked for.
    name: &'static str,
    /// Debian's release.
    release: &'static str,
    arch: &'static Arch,
    /// Probes are enabled before programs are attached to them: there is an event for each.
    one_by_one: bool,
    /// Tests that make no sense there.
    skipped: &'static [&'static str],
}

/// Perf events of these kernels want CAP_SYS_ADMIN.
const CAPABILITIES: &str = "works_with_the_documented_capabilities";

const KERNELS: &[Kernel] = &[
    // No cookies, so a program for each site, and no fetching atomics.
    Kernel {
        name: "5.10",
        release: "bullseye",
        arch: &AMD64,
        one_by_one: true,
        skipped: &["perf_events_record_what_multi", "mapped_ring_wakes", CAPABILITIES],
    },
    // No multi-uprobe links.
    Kernel {
        name: "6.1",
        release: "bookworm",
        arch: &AMD64,
        one_by_one: true,
        skipped: &[CAPABILITIES],
    },
    // Multi-uprobe links with the right process filter.
    Kernel { name: "6.12", release: "trixie", arch: &AMD64, one_by_one: false, skipped: &[] },
    // Optimized NOPs, kernels that preempt everything.
    Kernel {
        name: "newest",
        release: "trixie-backports",
        arch: &AMD64,
        one_by_one: false,
        skipped: &[],
    },
    Kernel {
        name: "6.1-arm64",
        release: "bookworm",
        arch: &ARM64,
        one_by_one: true,
        skipped: &[CAPABILITIES],
    },
    Kernel {
        name: "newest-arm64",
        release: "trixie-backports",
        arch: &ARM64,
        one_by_one: false,
        skipped: &[],
    },
];

/// What of the suite is about the attacher, and needs no compiler.
const TESTS: &[&str] = &[
    "aggregation::",
    "backends::",
    "go_runtime::function_entries",
    "go_runtime::overview",
    "cost::",
    "discovery::",
    "errors::",
    "process_following::",
    "malformed_files::",
    "library::",
    "session::",
    "trace::",
];

/// What `cargo xtask test` runs of it.
const SHORT: &[(&str, &[&str])] = &[
    (
        "newest",
        &[
            "backends::",
            "trace::records_a_million",
            "trace::traces_unsealed",
            "trace::decodes_values",
        ],
    ),
    (
        "newest-arm64",
        &[
            "backends::",
            "trace::traces_unsealed",
            "trace::decodes_values",
            "session::killed_tracer",
        ],
    ),
];

/// The task: names of kernels, all of them where there is none, then filters of tests.
pub(crate) fn run(args: &[String]) -> Outcome {
    let (names, filters): (Vec<&str>, Vec<&str>) =
        args.iter().map(String::as_str).partition(|arg| KERNELS.iter().any(|k| k.name == *arg));
    let filters = if filters.is_empty() { TESTS } else { &filters };
    let tools = setup::kernels()?;
    tools.build_with_examples()?;
    let mut failures = Vec::new();
    for arch in [&AMD64, &ARM64] {
        let chosen = |k: &&Kernel| names.is_empty() || names.contains(&k.name);
        let mut kernels =
            KERNELS.iter().filter(|k| k.arch.name == arch.name).filter(chosen).peekable();
        if kernels.peek().is_none() {
            continue;
        }
        let system = system::build(&tools, arch)?;
        failures.extend(kernels.filter_map(|kernel| one(&system, kernel, filters).err()));
    }
    match &failures[..] {
        [] => Ok(()),
        [Failure(only)] => Err(Failure(only.clone())),
        [Failure(first), others @ ..] => {
            Err(Failure(format!("{first}, and {} more", others.len())))
        }
    }
}

/// The part of it that belongs to the ordinary tests. Where Debian's archive cannot be reached it is left out.
pub(crate) fn short(tools: &Tools) -> Outcome {
    for (name, filters) in SHORT {
        let Some(kernel) = KERNELS.iter().find(|k| k.name == *name) else { continue };
        let fetched =
            setup::kernels().and_then(|_| image(kernel)).and_then(|_| system::fetch(kernel.arch));
        if let Err(Failure(why)) = fetched {
            eprintln!("left out, because it cannot be fetched: {name} ({why})");
            continue;
        }
        one(&system::build(tools, kernel.arch)?, kernel, filters)?;
    }
    Ok(())
}

fn one(system: &Path, kernel: &Kernel, filters: &[&str]) -> Outcome {
    let image = image(kernel)?;
    let mut words: Vec<&str> = filters.to_vec();
    // It builds a program.
    // The second of these uses no kernel, and compares clocks to a microsecond, which emulation does not keep.
    let unsuited =
        ["--skip=enabled_probes_do_not_allocate", "--skip=simulated_backend_pairs_spans"];
    words.push("--test-threads=2");
    words.extend(unsuited);
    let skipped: Vec<String> = kernel.skipped.iter().map(|test| format!("--skip={test}")).collect();
    words.extend(skipped.iter().map(String::as_str));
    let machine = Machine {
        name: kernel.name,
        arch: kernel.arch,
        kernel: &image,
        system,
        settle: if kernel.one_by_one { "500ms" } else { "0s" },
    };
    machine.run(&words)
}

/// The kernel itself, fetched once.
fn image(kernel: &Kernel) -> Outcome<PathBuf> {
    let folder = debian::cache()?.join(kernel.name);
    if let Some(image) = find(&folder) {
        return Ok(image);
    }
    let release = Release::new(kernel.release, kernel.arch.name)?;
    let all = format!("linux-image-cloud-{}", kernel.arch.name);
    let nothing = || Failure(format!("Debian's {} has no {all}", kernel.release));
    let package = release.newest(&all, "linux-image-")?.ok_or_else(nothing)?;
    // Newer packages have the image itself in one of their own.
    let package = release.newest(&package, "linux-binary-")?.unwrap_or(package);
    release.unpack(&[&package], &folder)?;
    find(&folder).ok_or_else(|| Failure(format!("no kernel in {package}")))
}

fn find(folder: &Path) -> Option<PathBuf> {
    std::fs::read_dir(folder).ok()?.filter_map(|e| Some(e.ok()?.path())).find_map(|path| {
        let is_image =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"));
        if is_image && path.is_file() {
            Some(path)
        } else {
            path.is_dir().then(|| find(&path)).flatten()
        }
    })
}
