//! Signals that end a command.

use rustix::net::{RecvFlags, recv};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use usdt_attach::error::{Error, Result};

/// Exit status after a second signal, as shells have it for SIGINT.
pub(crate) const INTERRUPTED_TWICE: i32 = 130;

/// SIGINT, SIGTERM and SIGHUP, from here until this is dropped.
#[derive(Debug)]
pub(crate) struct Signals {
    receiver: UnixStream,
    registered: Vec<signal_hook::SigId>,
}

impl Signals {
    /// From here on the signals do not end the program by themselves.
    pub(crate) fn catch() -> Result<Signals> {
        let failed = |source: io::Error| Error::io("cannot catch signals", source);
        let (receiver, sender) = UnixStream::pair().map_err(failed)?;
        receiver.set_nonblocking(true).map_err(failed)?;
        let mut registered = Vec::new();
        let told = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // A second signal does not wait for a reader that has stopped reading. The kernel detaches.
            let shutdown = signal_hook::flag::register_conditional_shutdown(
                signal,
                INTERRUPTED_TWICE,
                Arc::clone(&told),
            );
            registered.push(shutdown.map_err(failed)?);
            registered
                .push(signal_hook::flag::register(signal, Arc::clone(&told)).map_err(failed)?);
            let sender = sender.try_clone().map_err(failed)?;
            registered
                .push(signal_hook::low_level::pipe::register(signal, sender).map_err(failed)?);
        }
        Ok(Signals { receiver, registered })
    }

    /// Whether one has come.
    pub(crate) fn came(&self) -> bool {
        recv(&self.receiver, &mut [0; 1], RecvFlags::PEEK).is_ok()
    }

    /// A descriptor that is readable once one has come.
    pub(crate) fn fd(&self) -> Result<OwnedFd> {
        let fd = self.receiver.try_clone().map(OwnedFd::from);
        fd.map_err(|source| Error::io("cannot catch signals", source))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}
