//! The limit on locked memory (`RLIMIT_MEMLOCK`), to which kernels before 5.11 charge BPF maps and
//! programs.
//!
//! The limit belongs to the whole process, and this library is only a part of it. So it is raised
//! only after such a kernel has rejected a map or program, and only for the duration of the second
//! try. The kernel checks the limit when a map or program is created, and not later.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::sync::{Mutex, PoisonError};

/// The first kernel version that charges BPF memory to the memory cgroup instead.
const CHARGES_CGROUP: (u32, u32) = (5, 11);

/// Calls a function that creates a map or program. If it may have failed because of the limit,
/// calls it again with a raised limit.
pub(super) fn retry_with_raised_memlock<T>(
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
        .is_some_and(|version| version < CHARGES_CGROUP)
}

/// Returns the first two numbers of a kernel release; `None` if it does not begin with two numbers.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Calls a function while the limit is raised; `None` if it cannot be raised.
fn with_limit_raised<T>(create: impl FnOnce() -> T) -> Option<T> {
    // Without the lock, a second thread would save the raised limit as the one to restore.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let usual = getrlimit(Resource::Memlock);
    let none = Rlimit { current: None, maximum: None };
    // Without CAP_SYS_RESOURCE, the limit can be raised only to the hard limit.
    let hard = Rlimit { current: usual.maximum, ..usual };
    setrlimit(Resource::Memlock, none).or_else(|_| setrlimit(Resource::Memlock, hard)).ok()?;
    let result = create();
    // Restoring the old, lower limit needs no privilege.
    let _ = setrlimit(Resource::Memlock, usual);
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_kernel_releases() {
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
    fn restores_the_limit() {
        let before = getrlimit(Resource::Memlock);
        let during = with_limit_raised(|| getrlimit(Resource::Memlock)).unwrap();
        assert!(during.current >= before.current || during.current.is_none());
        assert_eq!(getrlimit(Resource::Memlock), before);
    }
}
