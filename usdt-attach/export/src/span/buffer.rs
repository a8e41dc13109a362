//! The event buffer of spans: one for all files, or one for each.

use std::sync::Arc;
use usdt_attach::backend::Backend;
use usdt_attach::error::Result;
use usdt_attach::event::Event;
use usdt_attach::plan::Plan;
use usdt_attach::session::{Session, SharedBuffer, buffer_size};

/// The default size in bytes of the buffer of a file, and of that of all files unless that is too small
/// for the CPUs.
const DEFAULT: u32 = 1 << 20;

/// The event buffer of spans.
pub(crate) struct SpanBuffer {
    /// The size in bytes that the configuration has.
    configured: Option<u32>,
    shared: Shared,
}

/// The buffer that all files share.
enum Shared {
    /// Nothing is attached to yet.
    NotCreated,
    Created(Box<SharedBuffer>),
    /// The kernel does not allow it, or the configured size is too small.
    Impossible,
}

impl SpanBuffer {
    pub(crate) fn new(configured: Option<u32>) -> SpanBuffer {
        SpanBuffer { configured, shared: Shared::NotCreated }
    }

    /// Returns the size of the next session's buffer, if it does not share one.
    pub(crate) fn own_size<'s>(&self, sessions: impl Iterator<Item = &'s Session>) -> u32 {
        let used = sessions.map(|session| u64::from(session.buffer_size())).sum();
        buffer_size(self.configured.unwrap_or(DEFAULT), used)
    }

    /// Attaches a session, which shares the buffer if that is possible.
    pub(crate) fn start(
        &mut self,
        plan: impl Into<Arc<Plan>>,
        backend: &dyn Backend,
    ) -> Result<Session> {
        if let Shared::NotCreated = self.shared {
            let default = DEFAULT.max(SharedBuffer::min_size());
            let buffer = SharedBuffer::new(self.configured.unwrap_or(default))?;
            self.shared = buffer.map_or(Shared::Impossible, |one| Shared::Created(Box::new(one)));
        }
        match &mut self.shared {
            Shared::Created(buffer) => buffer.start(plan, backend),
            _ => Session::start(plan, backend),
        }
    }

    /// Drains up to one batch of events of each buffer. Returns whether there may be more.
    pub(crate) fn drain<'s>(
        &mut self,
        sessions: impl Iterator<Item = &'s mut Session>,
        mut on_event: impl FnMut(&Event<'_>),
    ) -> Result<bool> {
        let mut sessions: Vec<&mut Session> = sessions.collect();
        let mut more = false;
        if let Shared::Created(buffer) = &mut self.shared {
            more =
                buffer.drain(sessions.iter_mut().map(|session| &mut **session), &mut on_event)?;
        }
        for session in sessions.into_iter().filter(|session| session.fd().is_some()) {
            more |= session.drain(&mut on_event)?;
        }
        Ok(more)
    }

    /// Returns true if a session has detached and its events have been read.
    pub(crate) fn is_read(&self, session: &Session) -> bool {
        match &self.shared {
            Shared::Created(buffer) => buffer.is_read(session),
            _ => session.has_detached(),
        }
    }

    /// Returns the number of events in the shared buffer that came after one with a later time.
    pub(crate) fn out_of_order(&self) -> u64 {
        match &self.shared {
            Shared::Created(buffer) => buffer.out_of_order(),
            _ => 0,
        }
    }
}
