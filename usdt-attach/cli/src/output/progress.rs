//! A progress line for steps that may take seconds.

use std::io::{self, IsTerminal, Write};
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
        if !io::stderr().is_terminal() {
            return hidden;
        }
        let (end, ended) = channel();
        let begin = Instant::now();
        let update = move || {
            let mut is_shown = false;
            while ended.recv_timeout(UPDATE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                // If standard error is closed, there is nowhere to report it.
                let _ = write!(io::stderr(), "\r{step} … {} s", begin.elapsed().as_secs());
                is_shown = true;
            }
            if is_shown {
                let _ = write!(io::stderr(), "\r\x1b[K");
            }
        };
        match std::thread::Builder::new().name("progress".to_owned()).spawn(update) {
            Ok(thread) => Progress { end: Some(end), thread: Some(thread) },
            // The line is not worth failing for.
            Err(_) => hidden,
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
