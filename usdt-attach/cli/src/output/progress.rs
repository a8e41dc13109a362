//! A line that says that something still goes on, where somebody watches.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is done within this time needs no word.
const PATIENCE: Duration = Duration::from_secs(1);

/// Erased when it is dropped.
pub(crate) struct Progress {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// From here on, on a terminal.
    pub(crate) fn of(what: &'static str) -> Progress {
        let none = Progress { end: None, thread: None };
        if !io::stderr().is_terminal() {
            return none;
        }
        let (end, ended) = channel();
        let begin = Instant::now();
        let show = move || {
            let mut shown = false;
            while ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // Nobody can be told that standard error is closed.
                let _ = write!(io::stderr(), "\r{what} … {} s", begin.elapsed().as_secs());
                shown = true;
            }
            if shown {
                let _ = write!(io::stderr(), "\r\x1b[K");
            }
        };
        match std::thread::Builder::new().name("progress".to_owned()).spawn(show) {
            Ok(thread) => Progress { end: Some(end), thread: Some(thread) },
            // It is only a word.
            Err(_) => none,
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
