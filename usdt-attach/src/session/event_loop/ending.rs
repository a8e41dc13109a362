//! The end of a loop and of single sessions: when they detach, and what they leave behind.

use super::{EventLoop, LIMIT_CHECK_INTERVAL, State};
use crate::error::{Error, Result};
use crate::session::following::buffer_sizes;
use crate::session::{Session, Summary};
use std::time::Instant;

impl EventLoop {
    /// Detaches every session, which takes 25 to 50 ms. Events that are already in the buffers can
    /// still be polled.
    pub fn detach(&mut self) {
        if matches!(self.state, State::Running | State::Detaching) {
            self.release_processes();
            Session::detach_all(&mut self.sessions);
            self.state = State::Draining;
            self.may_have_more = true;
        }
    }

    /// Begins to detach every session in the background. [`EventLoop::poll`] goes on to return events,
    /// and returns `None` once the sessions have detached and every event is read. So the buffers do
    /// not fill up while the kernel detaches.
    pub fn start_detaching(&mut self) {
        if self.state == State::Running {
            self.release_processes();
            Session::start_detaching(&mut self.sessions);
            self.state = State::Detaching;
        }
    }

    fn release_processes(&mut self) {
        if let Some(following) = &mut self.following {
            following.follower.release_processes();
        }
    }

    /// Goes on to draining once every session has detached. Waits for that if there are no events to
    /// read meanwhile.
    pub(super) fn finish_detaching(&mut self) {
        let is_done = |session: &Session| session.fd().is_none() || session.has_detached();
        if self.state == State::Detaching && self.sessions.iter().all(is_done) {
            self.detach();
        }
    }

    /// The sum of the hit counts of all sessions.
    ///
    /// # Errors
    ///
    /// Fails when a map cannot be read.
    pub fn summary(&self) -> Result<Summary> {
        let mut summary = self
            .sessions
            .iter()
            .try_fold(self.retained, |total, session| Ok::<_, Error>(total + session.summary()?))?;
        if let Some(children) = &self.left_out {
            summary.children_left_out = children.count()?;
        }
        Ok(summary)
    }

    /// The number of events that the caller has read.
    fn delivered(&self) -> u64 {
        self.retained.delivered + self.sessions.iter().map(Session::delivered).sum::<u64>()
    }

    /// Begins to detach if the processes have exited or the limit is reached. Otherwise attaches to new
    /// objects.
    pub(super) fn detach_or_follow(&mut self) -> Result<()> {
        if self.has_ended()? {
            self.start_detaching();
            return Ok(());
        }
        let remaining = self.limit.map(|limit| limit.saturating_sub(self.delivered()));
        let Some(following) = &mut self.following else { return Ok(()) };
        let used = buffer_sizes(&self.sessions);
        let sessions = following.attach_new(remaining, used, &mut self.warnings)?;
        let executables = following.follower.take_executables();
        for session in sessions {
            self.register_session(&session)?;
            self.sessions.push(session);
        }
        for session in &self.sessions {
            session.change_executables(&executables)?;
        }
        self.drop_stale_sessions()
    }

    /// Begins to detach from files that no process maps any more. A session that has no other files is
    /// dropped at the next clean-up, when its events are read. Its rows go to another session.
    fn drop_stale_sessions(&mut self) -> Result<()> {
        let Some(following) = &mut self.following else { return Ok(()) };
        let Some(live) = following.live_objects(&self.sessions)? else { return Ok(()) };
        let was_detached: Vec<bool> = self.sessions.iter().map(Session::has_detached).collect();
        Session::start_detaching_stale(&mut self.sessions, &live);
        let mut index = 0;
        for was_detached in was_detached {
            let Some(session) = self.sessions.get(index) else { break };
            if was_detached && !self.may_have_more && self.sessions.len() > 1 {
                self.retained = self.retained + session.summary()?;
                let aggregates = !session.plan().records();
                let rows = if aggregates { session.rows()? } else { Vec::new() };
                self.sessions.remove(index);
                self.announced -= usize::from(index < self.announced);
                if index < self.heads.len() {
                    self.heads.remove(index);
                }
                if let Some(first) = self.sessions.first_mut() {
                    first.retain_rows(rows);
                }
            } else {
                index += 1;
            }
        }
        Ok(())
    }

    fn has_ended(&mut self) -> Result<bool> {
        if !self.processes.is_empty() && self.processes.iter().all(Option::is_none) {
            return Ok(true);
        }
        if let Some(children) = &self.children
            && (children.has_changed()? || !self.has_checked_children)
        {
            self.has_checked_children = true;
            if children.processes()?.is_empty() {
                return Ok(true);
            }
        }
        let Some(limit) = self.limit else { return Ok(false) };
        if self.delivered() >= limit {
            return Ok(true);
        }
        // Aggregated hits and dropped events count towards the limit, too.
        if self.limit_checked.elapsed() < LIMIT_CHECK_INTERVAL {
            return Ok(false);
        }
        self.limit_checked = Instant::now();
        let summary = self.summary()?;
        Ok(summary.delivered + summary.dropped >= limit)
    }
}
