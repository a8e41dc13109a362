//! Detaching sessions: one after the other, together, or in the background.

use super::Session;
use crate::discover::ObjectId;
use crate::kernel::Closing;
use crate::own_probes;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

impl Session {
    /// Detaches. Events that are already in the buffer can still be drained, and rows and counts can
    /// still be read.
    pub fn detach(&mut self) {
        if std::mem::replace(&mut self.is_detached, true) {
            return;
        }
        let attached_for = *self.attached_for.get_or_insert_with(|| self.attached_at.elapsed());
        if let Some(closing) = self.closing.take() {
            closing.wait();
        }
        self.attachment.detach();
        let detaching = self.attached_at.elapsed().saturating_sub(attached_for);
        own_probes::detach(self.receiver.delivered, attached_for, detaching);
    }

    /// Detaches several sessions at once, which takes little longer than detaching one.
    pub fn detach_all<'s>(sessions: impl IntoIterator<Item = &'s mut Session>) {
        let mut sessions: Vec<&mut Session> = sessions.into_iter().collect();
        if sessions.len() > 1 {
            Session::start_detaching(sessions.iter_mut().map(|session| &mut **session));
        }
        sessions.into_iter().for_each(Session::detach);
    }

    /// Begins to detach several sessions in the background, which takes 25 to 50 ms. Their events can
    /// be drained meanwhile. Call [`Session::detach`] to wait until no more hits are counted.
    pub fn start_detaching<'s>(sessions: impl IntoIterator<Item = &'s mut Session>) {
        Session::close_links(sessions, |_| true);
    }

    /// Begins to close the links to the objects for which `is_closed` returns true.
    fn close_links<'s>(
        sessions: impl IntoIterator<Item = &'s mut Session>,
        is_closed: impl Fn(ObjectId) -> bool,
    ) {
        let (mut links, mut closed) = (Vec::new(), Vec::new());
        for session in sessions {
            if session.attached_for.is_some() {
                continue;
            }
            let is_closed: Vec<bool> =
                session.plan.objects.iter().map(|object| is_closed(object.id)).collect();
            let is_over = is_closed.iter().all(|is_closed| *is_closed);
            if is_over {
                session.attached_for = Some(session.attached_at.elapsed());
            } else if !is_closed.contains(&true) {
                continue;
            }
            let is_taken = |index: usize| is_closed.get(index).is_none_or(|is_closed| *is_closed);
            links.extend(session.attachment.take_links(&is_taken));
            closed.push(session);
        }
        if !closed.is_empty() {
            let closing = Arc::new(Closing::start(links));
            closed.into_iter().for_each(|session| session.closing = Some(Arc::clone(&closing)));
        }
    }

    /// Returns true once no more hits are counted, after [`Session::start_detaching`] or
    /// [`Session::detach`].
    pub fn has_detached(&self) -> bool {
        !self.is_attached() && self.closing.as_ref().is_none_or(|closing| closing.is_done())
    }

    /// How long the session has been attached, or was until it detached.
    #[doc(hidden)]
    pub fn attached_for(&self) -> Duration {
        self.attached_for.unwrap_or_else(|| self.attached_at.elapsed())
    }

    /// True until the session begins to detach.
    #[doc(hidden)]
    pub fn is_attached(&self) -> bool {
        self.attached_for.is_none()
    }

    /// Begins to detach from the files that are not `live`. A session of which no file is live
    /// detaches.
    #[doc(hidden)]
    pub fn start_detaching_stale<'s>(
        sessions: impl IntoIterator<Item = &'s mut Session>,
        live: &HashSet<ObjectId>,
    ) {
        Session::close_links(sessions, |id| !live.contains(&id));
    }
}
