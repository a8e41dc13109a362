//! The architectures of a release, and the names that each format has for them.

use std::fmt;

/// A processor architecture for which programs are released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl Architecture {
    /// Every architecture of a release.
    pub const ALL: [Architecture; 2] = [Architecture::Amd64, Architecture::Arm64];

    /// The architecture that this program runs on.
    pub const HOST: Architecture =
        if cfg!(target_arch = "aarch64") { Architecture::Arm64 } else { Architecture::Amd64 };

    /// Returns the architecture that Go and Debian call `name`; `None` if none is released.
    #[must_use]
    pub fn named(name: &str) -> Option<Architecture> {
        Self::ALL.into_iter().find(|architecture| architecture.name() == name)
    }

    /// Returns the name that Go and Debian use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Amd64 => "amd64",
            Architecture::Arm64 => "arm64",
        }
    }

    /// Returns the name that the kernel, Rust and RPM use.
    #[must_use]
    pub fn machine(self) -> &'static str {
        match self {
            Architecture::Amd64 => "x86_64",
            Architecture::Arm64 => "aarch64",
        }
    }

    /// Returns the target of the Rust compiler.
    #[must_use]
    pub fn target(self) -> String {
        format!("{}-unknown-linux-gnu", self.machine())
    }

    /// Returns the name of Debian's library folder, which is also the prefix of cross-compilers.
    #[must_use]
    pub fn multiarch(self) -> String {
        format!("{}-linux-gnu", self.machine())
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
