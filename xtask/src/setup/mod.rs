//! The requirements of the tasks, in groups. Missing ones are installed; running again is safe.

mod apt;
mod fresh_root;
mod go;
mod kernel_headers;

use crate::command::{Failure, Outcome, command, execute, privileged};
use crate::tools::Tools;
use apt::apt;
use packaging::Architecture;
use std::path::{Path, PathBuf};

/// Debian packages: a file that shows that the package is installed, and its name.
type Packages = &'static [(&'static str, &'static str)];

/// Requirements of the linker.
const LINKER: Packages = &[("/usr/bin/cc", "gcc"), ("/usr/include/stdio.h", "libc6-dev")];

/// Requirements of the demo.
const DEMO: Packages = &[("/usr/bin/bpftrace", "bpftrace")];

/// Requirements of the tests, the matrix and the benchmarks.
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
    ("/usr/bin/python3", "python3"),
    ("/usr/bin/php", "php-cli"),
    ("/usr/bin/ruby", "ruby"),
    ("/usr/bin/javac", "openjdk-17-jdk-headless"),
    ("/usr/bin/rpmbuild", "rpm"),
    ("/usr/bin/rpm2cpio", "rpm2cpio"),
    ("/usr/bin/cpio", "cpio"),
    ("/usr/bin/lintian", "lintian"),
    ("/usr/bin/shellcheck", "shellcheck"),
    ("/usr/share/doc/busybox-static", "busybox-static"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/bin/mmdebstrap", "mmdebstrap"),
];

/// Requirements of a release.
const RELEASE: Packages = &[
    ("/usr/bin/readelf", "binutils"),
    ("/usr/bin/rpmbuild", "rpm"),
    ("/usr/include/bcc/bcc_common.h", "libbpfcc-dev"),
];

/// The compiler that links the other architecture's programs.
const CROSS_LINKER: Packages = if cfg!(target_arch = "aarch64") {
    &[
        ("/usr/bin/x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu"),
        ("/usr/x86_64-linux-gnu/include/stdio.h", "libc6-dev-amd64-cross"),
    ]
} else {
    &[
        ("/usr/bin/aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
        ("/usr/aarch64-linux-gnu/include/stdio.h", "libc6-dev-arm64-cross"),
    ]
};

/// Requirements of emulated machines with other kernels.
const KERNELS: Packages = &[
    ("/usr/bin/gcc", "gcc"),
    ("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    ("/usr/bin/qemu-system-aarch64", "qemu-system-arm"),
    ("/usr/bin/aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    ("/usr/aarch64-linux-gnu/include/stdio.h", "libc6-dev-arm64-cross"),
    ("/usr/share/doc/busybox-static", "busybox-static"),
    ("/usr/bin/cpio", "cpio"),
];

/// Requirements of the spelling check.
const SPELLING: Packages = &[("/usr/bin/codespell", "codespell")];

/// Installs the requirements of all tasks.
pub(crate) fn run(_: &[String]) -> Outcome {
    test().and_then(|_| kernels()).map(drop)
}

/// Installs the requirements to build our tools and Go programs.
pub(crate) fn build() -> Outcome<Tools> {
    install(&[LINKER])
}

/// Installs the requirements of the spelling check.
pub(crate) fn spelling() -> Outcome {
    install_packages(&[SPELLING])
}

/// Installs the requirements of the demo.
pub(crate) fn demo() -> Outcome<Tools> {
    let tools = install(&[LINKER, DEMO])?;
    mount_tracefs();
    Ok(tools)
}

/// Installs the requirements of the tests, the matrix and the benchmarks.
pub(crate) fn test() -> Outcome<Tools> {
    let tools = install(&[LINKER, TEST, SPELLING])?;
    go::download_unmodified(&tools.go_bin)?;
    go::install_delve(&tools.go_bin)?;
    fresh_root::find_or_install()?;
    mount_tracefs();
    Ok(Tools { bcc: kernel_headers::find_or_install()?, ..tools })
}

/// Returns the folder of Delve, with which values of functions are compared.
pub(crate) fn delve_folder() -> PathBuf {
    go::delve_folder()
}

/// Installs the requirements of a release for every architecture.
pub(crate) fn release() -> Outcome {
    install_packages(&[LINKER, RELEASE, CROSS_LINKER])?;
    for architecture in Architecture::ALL {
        execute(&mut command("rustup", &["target", "add", &architecture.target()]))?;
    }
    Ok(())
}

/// Installs the requirements of tests on other kernels.
pub(crate) fn kernels() -> Outcome<Tools> {
    install(&[LINKER, KERNELS])
}

/// Installs packages and finds the Go toolchain.
fn install(groups: &[Packages]) -> Outcome<Tools> {
    install_packages(groups)?;
    Ok(Tools { go_bin: go::toolchain()?, bcc: None })
}

/// Installs the missing packages.
fn install_packages(groups: &[Packages]) -> Outcome {
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
            "this system has no apt-get; install the equivalents of these Debian packages: {}",
            missing.join(" ")
        )));
    }
    eprintln!("installing {}", missing.join(" "));
    apt(&["update", "-q"])?;
    let mut args = vec!["install", "-q", "-y", "--no-install-recommends"];
    args.extend(&missing);
    apt(&args)
}

/// Mounts tracefs, which bpftrace and perf read and some machines do not mount at boot.
fn mount_tracefs() {
    if !Path::new("/sys/kernel/tracing/README").exists()
        && Path::new("/sys/kernel/tracing").exists()
    {
        // Containers may not mount it. Tests that need tracefs are then skipped.
        let _ =
            execute(&mut privileged("mount", &["-t", "tracefs", "tracefs", "/sys/kernel/tracing"]));
    }
}
