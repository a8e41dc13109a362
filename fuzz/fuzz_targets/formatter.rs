//! Formatting of definitions: only white space changes, and formatting again changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usdt_fuzz::{lossy_string, with_memory_limit};
use usdt_gen::dlang::format;
use usdt_gen::dlang::source::Sources;

fn format_source(source: &str) -> Option<String> {
    let mut sources = Sources::default();
    let file = sources.add("fuzz.d", source);
    format(&sources, &file).ok()
}

/// Removes white space, line continuations and byte-order marks.
fn without_white_space(source: &str) -> String {
    // The formatter ends the last line.
    let source = format!("{source}\n").replace("\\\r\n", "").replace("\\\n", "");
    source.chars().filter(|c| !c.is_whitespace() && *c != '\u{feff}').collect()
}

fuzz_target!(|data: &[u8]| {
    let source = lossy_string(data);
    with_memory_limit(|| {
        let Some(once) = format_source(&source) else { return };
        assert_eq!(without_white_space(&once), without_white_space(&source), "{once}");
        assert_eq!(
            format_source(&once).as_deref(),
            Some(once.as_str()),
            "formatting again changes the result"
        );
    });
});
