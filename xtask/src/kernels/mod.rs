//! Runs the tracing tests on other kernels and architectures, in machines that qemu emulates.

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

/// A kernel to test on.
struct Kernel {
    /// Name on the command line.
    name: &'static str,
    /// The Debian release that packages it.
    release: &'static str,
    arch: &'static Arch,
    /// True if each site is attached by its own perf event. Such an event enables the probe before
    /// its program is attached.
    attaches_one_by_one: bool,
    /// Name filters of tests that do not apply to this kernel.
    skipped: &'static [&'static str],
}

/// Skipped where perf events require CAP_SYS_ADMIN.
const CAPABILITIES_TEST: &str = "works_with_the_documented_capabilities";

const KERNELS: &[Kernel] = &[
    // No cookies, so one program per site, and no atomic fetch operations.
    Kernel {
        name: "5.10",
        release: "bullseye",
        arch: &AMD64,
        attaches_one_by_one: true,
        skipped: &["perf_events_record_what_multi", "mapped_ring_wakes", CAPABILITIES_TEST],
    },
    // No multi-uprobe links.
    Kernel {
        name: "6.1",
        release: "bookworm",
        arch: &AMD64,
        attaches_one_by_one: true,
        skipped: &[CAPABILITIES_TEST],
    },
    // Multi-uprobe links with a correct process filter.
    Kernel {
        name: "6.12",
        release: "trixie",
        arch: &AMD64,
        attaches_one_by_one: false,
        skipped: &[],
    },
    // Optimized NOPs and full preemption.
    Kernel {
        name: "newest",
        release: "trixie-backports",
        arch: &AMD64,
        attaches_one_by_one: false,
        skipped: &[],
    },
    Kernel {
        name: "6.1-arm64",
        release: "bookworm",
        arch: &ARM64,
        attaches_one_by_one: true,
        skipped: &[CAPABILITIES_TEST],
    },
    Kernel {
        name: "newest-arm64",
        release: "trixie-backports",
        arch: &ARM64,
        attaches_one_by_one: false,
        skipped: &[],
    },
];

/// The modules of the suite that trace and need no compiler.
const TESTS: &[&str] = &[
    "aggregation::",
    "backends::",
    "go_runtime::function_entries",
    "go_runtime::overview",
    "cost::",
    "discovery::",
    "errors::",
    "function_paths::",
    "function_probes::",
    INJECTED_TEST,
    "process_following::",
    "malformed_files::",
    "preemption::",
    "library::",
    "session::",
    "trace::",
];

/// The test of the service with injected probes.
const INJECTED_TEST: &str = "injected_service::every_call";
/// Beginnings of the names of tests whose programs take minutes to build.
const WITH_ALL_PROGRAMS: [&str; 2] = ["function_", "injected_"];

/// The kernels and tests that `cargo xtask test` includes.
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

/// The number of CPUs of a machine, unless the option says otherwise.
const CPUS: &str = "2";
/// The option that sets the number of CPUs: they take turns on those of the host, so more of them
/// test the order of events, not the speed.
const CPUS_OPTION: &str = "--cpus=";

/// Runs the tests on the named kernels, or on all of them. Other arguments filter tests.
pub(crate) fn run(args: &[String]) -> Outcome {
    let cpus = args.iter().find_map(|arg| arg.strip_prefix(CPUS_OPTION)).unwrap_or(CPUS);
    let args = args.iter().filter(|arg| !arg.starts_with(CPUS_OPTION));
    let (names, filters): (Vec<&str>, Vec<&str>) =
        args.map(String::as_str).partition(|arg| KERNELS.iter().any(|k| k.name == *arg));
    let filters = if filters.is_empty() { TESTS } else { &filters };
    let tools = setup::kernels()?;
    tools.build_with_examples()?;
    let needs_all = |test: &&str| WITH_ALL_PROGRAMS.iter().any(|name| test.starts_with(name));
    let with_all = filters.iter().any(needs_all);
    let mut failures = Vec::new();
    for arch in [&AMD64, &ARM64] {
        let chosen = |k: &&Kernel| names.is_empty() || names.contains(&k.name);
        let mut kernels =
            KERNELS.iter().filter(|k| k.arch.name == arch.name).filter(chosen).peekable();
        if kernels.peek().is_none() {
            continue;
        }
        let system = system::build(&tools, arch, with_all)?;
        failures.extend(kernels.filter_map(|kernel| run_on(&system, kernel, cpus, filters).err()));
    }
    match &failures[..] {
        [] => Ok(()),
        [Failure(only)] => Err(Failure(only.clone())),
        [Failure(first), others @ ..] => {
            Err(Failure(format!("{first}; {} more kernels failed", others.len())))
        }
    }
}

/// Runs the part that belongs to `cargo xtask test`. It is skipped if Debian's archive cannot be
/// reached.
pub(crate) fn short(tools: &Tools) -> Outcome {
    for (name, filters) in SHORT {
        let Some(kernel) = KERNELS.iter().find(|k| k.name == *name) else { continue };
        let fetched = setup::kernels()
            .and_then(|_| kernel_image(kernel))
            .and_then(|_| system::fetch(kernel.arch));
        if let Err(Failure(why)) = fetched {
            eprintln!("skipped: kernel {name} cannot be downloaded: {why}");
            continue;
        }
        run_on(&system::build(tools, kernel.arch, false)?, kernel, CPUS, filters)?;
    }
    Ok(())
}

/// Runs the filtered tests on a kernel.
fn run_on(system: &Path, kernel: &Kernel, cpus: &str, filters: &[&str]) -> Outcome {
    let image = kernel_image(kernel)?;
    let mut args: Vec<&str> = filters.to_vec();
    // The first of these tests builds a program. The others need no kernel, and compare clocks with
    // a precision that emulation does not provide.
    let unsuitable = [
        "--skip=enabled_probes_do_not_allocate",
        "--skip=simulated_backend_pairs_spans",
        "--skip=simulated_backend_nests_spans",
    ];
    args.push("--test-threads=2");
    args.extend(unsuitable);
    let skipped: Vec<String> = kernel.skipped.iter().map(|test| format!("--skip={test}")).collect();
    args.extend(skipped.iter().map(String::as_str));
    let machine = Machine {
        name: kernel.name,
        arch: kernel.arch,
        kernel: &image,
        system,
        cpus,
        settle: if kernel.attaches_one_by_one { "500ms" } else { "0s" },
    };
    machine.run(&args)
}

/// Returns the image of a kernel, and downloads it first if necessary.
fn kernel_image(kernel: &Kernel) -> Outcome<PathBuf> {
    let folder = debian::cache()?.join(kernel.name);
    if let Some(image) = find_image(&folder) {
        return Ok(image);
    }
    let release = Release::new(kernel.release, kernel.arch.name)?;
    let metapackage = format!("linux-image-cloud-{}", kernel.arch.name);
    let missing = || Failure(format!("Debian {} has no package {metapackage}", kernel.release));
    let package = release.newest(&metapackage, "linux-image-")?.ok_or_else(missing)?;
    // In newer releases the image is in a package of its own.
    let package = release.newest(&package, "linux-binary-")?.unwrap_or(package);
    release.unpack(&[&package], &folder)?;
    find_image(&folder).ok_or_else(|| Failure(format!("the package {package} contains no kernel")))
}

/// Finds the image of a kernel below a folder.
fn find_image(folder: &Path) -> Option<PathBuf> {
    std::fs::read_dir(folder).ok()?.filter_map(|e| Some(e.ok()?.path())).find_map(|path| {
        let is_image =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"));
        if is_image && path.is_file() {
            Some(path)
        } else {
            path.is_dir().then(|| find_image(&path)).flatten()
        }
    })
}
