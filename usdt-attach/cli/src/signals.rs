//! Signals that end a command.
#![allow(unsafe_code)] // a signal handler that does nothing but atomic operations and _exit

use rustix::net::{RecvFlags, recv};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use usdt_attach::error::{Error, Result};
use usdt_attach::kernel::site_changes;

/// Exit code after a second signal: that of shells for SIGINT.
pub(crate) const INTERRUPTED_TWICE: i32 = 130;

/// Catches SIGINT, SIGTERM and SIGHUP until it is dropped.
#[derive(Debug)]
pub(crate) struct Signals {
    receiver: UnixStream,
    registered: Vec<signal_hook::SigId>,
}

impl Signals {
    /// Installs the handlers. From now on the first signal does not end the program; the second
    /// one does.
    pub(crate) fn catch() -> Result<Signals> {
        let (receiver, sender) = UnixStream::pair().map_err(cannot_catch)?;
        receiver.set_nonblocking(true).map_err(cannot_catch)?;
        let mut registered = Vec::new();
        let received = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let received = Arc::clone(&received);
            // The second signal ends a program that is stuck in a write. The kernel detaches what is
            // attached then.
            let count = move || {
                if received.swap(true, Ordering::SeqCst) {
                    site_changes::exit(INTERRUPTED_TWICE);
                }
            };
            // Registered first: a signal between the two calls is received, but not counted.
            let sender = sender.try_clone().map_err(cannot_catch)?;
            let pipe = signal_hook::low_level::pipe::register(signal, sender);
            registered.push(pipe.map_err(cannot_catch)?);
            // SAFETY: an atomic operation and `site_changes::exit` may run in a signal handler.
            let counter = unsafe { signal_hook::low_level::register(signal, count) };
            registered.push(counter.map_err(cannot_catch)?);
        }
        Ok(Signals { receiver, registered })
    }

    /// Whether a signal has been received.
    pub(crate) fn received(&self) -> bool {
        recv(&self.receiver, &mut [0; 1], RecvFlags::PEEK).is_ok()
    }

    /// A descriptor that is readable once a signal has been received.
    pub(crate) fn fd(&self) -> Result<OwnedFd> {
        self.receiver.try_clone().map(OwnedFd::from).map_err(cannot_catch)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

/// The error of a signal handler that could not be installed.
pub(crate) fn cannot_catch(source: io::Error) -> Error {
    Error::io("cannot install signal handlers", source)
}
