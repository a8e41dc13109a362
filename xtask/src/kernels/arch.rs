//! Architectures of the emulated machines.

/// An architecture, by its different names.
#[derive(Debug)]
pub(super) struct Arch {
    /// Debian's and Go's.
    pub(super) name: &'static str,
    /// Rust's.
    pub(super) target: &'static str,
    pub(super) qemu: &'static [&'static str],
    pub(super) console: &'static str,
}

pub(super) const AMD64: Arch = Arch {
    name: "amd64",
    target: "x86_64-unknown-linux-gnu",
    // QEMU 7.2 leaves rubbish in the flags behind a `cmpxchg16b`, of which kernels die now and then.
    // One thread for both processors: with one for each, QEMU 7.2 may run code that the other is just changing.
    qemu: &["qemu-system-x86_64", "-cpu", "max,-cx16", "-accel", "tcg,thread=single"],
    console: "ttyS0",
};
pub(super) const ARM64: Arch = Arch {
    name: "arm64",
    target: "aarch64-unknown-linux-gnu",
    // One that marks pages as used by itself: on others a program cannot read a page that was not touched for long.
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
