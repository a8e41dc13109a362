//! A progress line for steps that may take seconds.

use cli_common::StatusLine;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the line is updated. Steps that are shorter show no line.
const UPDATE_INTERVAL: Duration = Duration::from_secs(1);

/// A line on standard error with the seconds that a step has taken; erased when dropped.
pub(crate) struct Progress {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts the line. Does nothing if standard error is not a terminal.
    pub(crate) fn start(step: &'static str) -> Progress {
        let hidden = Progress { end: None, thread: None };
        let Some(mut line) = StatusLine::new() else { return hidden };
        let (end, ended) = channel();
        let begin = Instant::now();
        let update = move || {
            while ended.recv_timeout(UPDATE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                line.show(&format!("{step} … {} s", begin.elapsed().as_secs()));
            }
        };
        match std::thread::Builder::new().name("progress".to_owned()).spawn(update) {
            Ok(thread) => Progress { end: Some(end), thread: Some(thread) },
            // The line is not worth failing for.
            Err(_) => hidden,
        }
    }
}

/// Returns true if standard error is a terminal, so that a user waits at it.
pub(crate) fn is_watched() -> bool {
    StatusLine::new().is_some()
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
