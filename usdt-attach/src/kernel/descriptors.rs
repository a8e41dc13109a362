//! The limit on open files (`RLIMIT_NOFILE`), most of which the links of sessions can use.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

/// The limit before it was raised.
static INHERITED: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit of this process to its hard limit, for programs that trace many files.
///
/// The limit belongs to the whole process, so the library never calls this itself. Call it once, at
/// the start. Processes of [`Target::Command`](crate::Target::Command) get the old limit: programs
/// that use select(2) rely on it.
pub fn raise_limit() {
    let inherited = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: inherited.maximum, ..inherited };
    if inherited.current != inherited.maximum && setrlimit(Resource::Nofile, raised).is_ok() {
        let _ = INHERITED.set(inherited);
    }
}

/// Returns the limit before [`raise_limit`]; `None` if it was not raised.
pub(crate) fn inherited_limit() -> Option<Rlimit> {
    INHERITED.get().copied()
}

/// The number of descriptors that links leave free: 64, and 128 for the clients of an endpoint.
///
/// Without them, a program that maps many files would keep this process from reading `/proc`,
/// accepting a connection or writing a file.
const RESERVED: u64 = 192;

/// Returns the number of objects that may be open before they are attached to.
pub(crate) fn max_objects() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit / 4).ok()).unwrap_or(usize::MAX)
}

/// The highest descriptor that a link may have. The kernel assigns the lowest free one, so a
/// descriptor shows how many are in use at least.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserve {
    max: u64,
}

impl Reserve {
    /// Returns the reserve for the limit of this process: 192 descriptors, or a quarter if that is
    /// less.
    pub(super) fn of_this_process() -> Reserve {
        Reserve::of_limit(getrlimit(Resource::Nofile).current)
    }

    fn of_limit(limit: Option<u64>) -> Reserve {
        let limit = limit.unwrap_or(u64::MAX);
        Reserve { max: limit - RESERVED.min(limit / 4) }
    }

    /// Fails with `EMFILE` if a link, or the program that it will get, takes a descriptor of the
    /// reserve.
    pub(super) fn check(self, links: &[impl AsRawFd]) -> io::Result<()> {
        let is_free =
            |link: &_| u64::try_from(AsRawFd::as_raw_fd(link)).is_ok_and(|fd| fd < self.max);
        if links.iter().all(is_free) {
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(libc::EMFILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    #[test]
    fn raises_the_soft_limit_only() {
        let before = getrlimit(Resource::Nofile);
        raise_limit();
        let after = getrlimit(Resource::Nofile);
        assert_eq!((after.current, after.maximum), (before.maximum, before.maximum));
        assert_eq!(inherited_limit().is_some(), before.current != before.maximum);
    }

    #[test]
    fn leaves_descriptors_free() {
        let link = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let fd = u64::try_from(link.as_raw_fd()).unwrap();
        let links = [link];
        assert!(Reserve::of_limit(None).check(&links).is_ok());
        assert!(Reserve::of_limit(Some(fd + RESERVED.max(4 * fd) + 1)).check(&links).is_ok());
        let error = Reserve { max: fd }.check(&links).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        assert_eq!(Reserve::of_limit(Some(1024)).max, 832);
        assert_eq!(Reserve::of_limit(Some(64)).max, 48);
    }
}
