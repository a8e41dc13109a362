//! What the tasks need, in groups, installed where it is missing. Safe to run again.

mod apt;
mod go;
mod kernel_headers;

use crate::command::{Failure, Outcome, execute, privileged};
use crate::tools::Tools;
use apt::apt;
use std::path::Path;

/// Debian packages: a file that shows that it is installed, the package.
type Packages = &'static [(&'static str, &'static str)];

/// What Rust links with.
const LINKER: Packages = &[("/usr/bin/cc", "gcc"), ("/usr/include/stdio.h", "libc6-dev")];

/// What the demo shows besides our tools.
const DEMO: Packages = &[("/usr/bin/bpftrace", "bpftrace")];

/// What the tests, the matrix and the benchmarks build with and compare with.
const TEST: Packages = &[
    ("/usr/bin/gcc", "gcc"),
    ("/usr/bin/bpftrace", "bpftrace"),
    ("/usr/include/bcc/bcc_common.h", "libbpfcc-dev"),
    ("/usr/sbin/tplist-bpfcc", "bpfcc-tools"),
    ("/usr/lib/python3/dist-packages/bcc/__init__.py", "python3-bpfcc"),
    ("/usr/bin/perf", "linux-perf"),
    ("/usr/bin/gdb", "gdb"),
    ("/usr/bin/stap", "systemtap"),
    ("/usr/bin/dtrace", "systemtap-sdt-dev"),
    ("/usr/bin/clang", "clang"),
    ("/usr/bin/ld.lld", "lld"),
    ("/usr/include/bpf/usdt.bpf.h", "libbpf-dev"),
    ("/usr/bin/readelf", "binutils"),
    ("/usr/bin/eu-strip", "elfutils"),
    ("/usr/bin/qemu-aarch64", "qemu-user"),
    ("/usr/bin/valgrind", "valgrind"),
    ("/usr/bin/curl", "curl"),
    ("/usr/bin/prometheus", "prometheus"),
    ("/usr/bin/systemd-analyze", "systemd"),
    ("/usr/bin/podman", "podman"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/lib/python3/dist-packages/jsonschema/__init__.py", "python3-jsonschema"),
    ("/usr/lib/postgresql", "postgresql"),
];

/// What machines with other kernels are made with.
const KERNELS: Packages = &[
    ("/usr/bin/gcc", "gcc"),
    ("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    ("/usr/bin/qemu-system-aarch64", "qemu-system-arm"),
    ("/usr/bin/aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    ("/usr/aarch64-linux-gnu/include/stdio.h", "libc6-dev-arm64-cross"),
    ("/usr/share/doc/busybox-static", "busybox-static"),
    ("/usr/bin/cpio", "cpio"),
];

/// The task: what every other task needs.
pub(crate) fn run(_: &[String]) -> Outcome {
    test().and_then(|_| kernels()).map(drop)
}

/// What checks spelling.
const SPELLING: Packages = &[("/usr/bin/codespell", "codespell")];

/// For building our tools and Go programs.
pub(crate) fn build() -> Outcome<Tools> {
    install(&[LINKER])
}

/// For checking words.
pub(crate) fn spelling() -> Outcome {
    packages(&[SPELLING])
}

/// For the demo.
pub(crate) fn demo() -> Outcome<Tools> {
    let tools = install(&[LINKER, DEMO])?;
    mount_tracefs();
    Ok(tools)
}

/// For the tests, the matrix and the benchmarks.
pub(crate) fn test() -> Outcome<Tools> {
    let tools = install(&[LINKER, TEST, SPELLING])?;
    mount_tracefs();
    Ok(Tools { bcc: kernel_headers::find_or_install()?, ..tools })
}

/// For tests in machines with other kernels.
pub(crate) fn kernels() -> Outcome<Tools> {
    install(&[LINKER, KERNELS])
}

/// Installs packages and finds the Go toolchain.
fn install(groups: &[Packages]) -> Outcome<Tools> {
    packages(groups)?;
    Ok(Tools { go_bin: go::toolchain()?, bcc: None })
}

fn packages(groups: &[Packages]) -> Outcome {
    let wanted = groups.iter().copied().flatten();
    let mut missing: Vec<&str> =
        wanted.filter(|(file, _)| !Path::new(file).exists()).map(|(_, package)| *package).collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(Failure(format!(
            "not a Debian-like system; install the equivalents of: {}",
            missing.join(" ")
        )));
    }
    eprintln!("installing {}", missing.join(" "));
    apt(&["update", "-q"])?;
    let mut args = vec!["install", "-q", "-y", "--no-install-recommends"];
    args.extend(&missing);
    apt(&args)
}

/// bpftrace and perf read tracefs, which some machines boot without.
fn mount_tracefs() {
    if !Path::new("/sys/kernel/tracing/README").exists()
        && Path::new("/sys/kernel/tracing").exists()
    {
        // Refused in containers; what needs it says so.
        let _ =
            execute(&mut privileged("mount", &["-t", "tracefs", "tracefs", "/sys/kernel/tracing"]));
    }
}
