//! What a generated program may use of the kernel it runs on.

/// What programs can do with this kernel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KernelFeatures {
    /// Ask for the site's cookie. Without it there is a program for each site, which knows it.
    pub cookies: bool,
    /// How records get to the reader.
    pub transport: Transport,
    /// Add to a number and learn what it was. Without it limits may let a few hits more pass.
    pub atomics: bool,
    /// Load what the running thread is from its task, which costs less than asking helpers.
    pub task: Option<TaskStructOffsets>,
}

/// How records get to the reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Transport {
    /// By the kernel's ring buffer (Linux 5.8).
    #[default]
    RingBuf,
    /// By a ring in mapped memory, where atomic additions return the old value (Linux 5.12).
    MappedRing,
}

/// Offsets in the kernel's `task_struct`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskStructOffsets {
    /// The name, 16 bytes.
    pub comm: i16,
    /// The thread's number, of 32 bits.
    pub pid: i16,
    /// The process's, likewise.
    pub tgid: i16,
}
