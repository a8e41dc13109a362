//! Entry points of the fuzz targets.

use crate::config::Config;
use crate::endpoint::{auth, duplex, web_config};
use crate::job::{Job, Scope, entries};
use crate::otlp::answer;

/// Sends a request to the endpoint, over a connection in memory.
///
/// # Panics
///
/// Panics if the endpoint answers with what is not HTTP.
pub fn endpoint(request: &[u8]) {
    let answer = duplex::exchange(request, web_config::Security::default());
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{answer:?}");
    let _ = auth::parse_credentials(request);
    let _ = web_config::is_valid(&String::from_utf8_lossy(request));
}

/// Interprets an answer of a collector: the first two bytes are its status, and the first line is
/// its header `Retry-After`.
pub fn otlp_answer(bytes: &[u8]) {
    let Some((status, rest)) = bytes.split_first_chunk() else { return };
    let line = rest.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (header, body) = rest.split_at(line);
    let header = String::from_utf8_lossy(header);
    let answer = answer::interpret(u16::from_be_bytes(*status), Some(&header), Some(&header), body);
    if let answer::Answer::Retryable { after: Some(after), .. } = answer {
        assert!(after <= answer::MAX_RETRY_AFTER);
    }
}

/// Reads a configuration. The jobs of a valid one can be created.
///
/// # Panics
///
/// Panics if a valid configuration has an entry of which no job can be created.
pub fn configuration(text: &str) {
    let Ok(config) = toml::from_str::<Config>(text) else { return };
    if config.check().is_err() {
        return;
    }
    let scope = Scope::new(&config.limits, true);
    for entry in entries(&config) {
        if let Err(error) = Job::new(entry, &scope) {
            panic!("{error:#}");
        }
    }
}
