//! The limit on locked memory (`RLIMIT_MEMLOCK`), which kernels before 5.11 charge maps and programs to.
//!
//! The limit belongs to the whole process, which may not be ours. It is left alone unless such a kernel has refused
//! something for want of it, and then it is raised for the duration of one call: the kernel looks at it when a map or
//! program is created, and not again.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::sync::{Mutex, PoisonError};

/// The first kernel that charges BPF memory to the memory cgroup instead.
const CHARGES_CGROUP: (u32, u32) = (5, 11);

/// Creates a map or program, a second time with a higher limit where the first one may have failed for the limit.
pub(super) fn with_room_for_locked_memory<T>(
    mut create: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    match create() {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) && charges_locked_memory() => {
            with_limit_raised(create).unwrap_or(Err(error))
        }
        result => result,
    }
}

fn charges_locked_memory() -> bool {
    version(&rustix::system::uname().release().to_string_lossy())
        .is_some_and(|it| it < CHARGES_CGROUP)
}

/// The first two numbers of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// `None` where the limit cannot be raised.
fn with_limit_raised<T>(create: impl FnOnce() -> T) -> Option<T> {
    // Two threads that did this at once would take the raised limit for the usual one.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let usual = getrlimit(Resource::Memlock);
    let none = Rlimit { current: None, maximum: None };
    // Without CAP_SYS_RESOURCE the hard limit is as far as it goes.
    let hard = Rlimit { current: usual.maximum, ..usual };
    setrlimit(Resource::Memlock, none).or_else(|_| setrlimit(Resource::Memlock, hard)).ok()?;
    let result = create();
    // Lowering a limit to what it was needs no privilege.
    let _ = setrlimit(Resource::Memlock, usual);
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_kernel_release() {
        for (release, numbers) in [
            ("5.10.0-28-cloud-amd64", Some((5, 10))),
            ("6.18.44", Some((6, 18))),
            ("5.8-rc1", Some((5, 8))),
            ("5", None),
            ("", None),
        ] {
            assert_eq!(version(release), numbers, "{release}");
        }
    }

    #[test]
    fn puts_the_limit_back() {
        let before = getrlimit(Resource::Memlock);
        let during = with_limit_raised(|| getrlimit(Resource::Memlock)).unwrap();
        assert!(during.current >= before.current || during.current.is_none());
        assert_eq!(getrlimit(Resource::Memlock), before);
    }
}
