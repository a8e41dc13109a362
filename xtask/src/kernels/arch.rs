//! The architectures of the emulated machines.

/// An architecture with its names and its emulator.
#[derive(Debug)]
pub(super) struct Arch {
    /// The name in Debian and Go.
    pub(super) name: &'static str,
    /// The target triple of Rust.
    pub(super) target: &'static str,
    /// The emulator and its arguments.
    pub(super) qemu: &'static [&'static str],
    /// The serial console of the kernel.
    pub(super) console: &'static str,
}

pub(super) const AMD64: Arch = Arch {
    name: "amd64",
    target: "x86_64-unknown-linux-gnu",
    // QEMU 7.2 corrupts the flags after a `cmpxchg16b`, which sometimes crashes kernels, so the
    // instruction is disabled. One thread emulates both CPUs: with one thread each, QEMU 7.2 may
    // execute code that the other CPU is modifying.
    qemu: &["qemu-system-x86_64", "-cpu", "max,-cx16", "-accel", "tcg,thread=single"],
    console: "ttyS0",
};
pub(super) const ARM64: Arch = Arch {
    name: "arm64",
    target: "aarch64-unknown-linux-gnu",
    // `max` sets the access flag of pages in hardware. On other CPU models a BPF program cannot
    // read a page that was not accessed for long.
    qemu: &[
        "qemu-system-aarch64",
        "-machine",
        "virt",
        "-cpu",
        "max,pauth-impdef=on",
        "-accel",
        "tcg",
    ],
    console: "ttyAMA0",
};
