//! Formatting a definition: nothing but white space changes, and a second time nothing does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use usdt_fuzz::{metered, text};
use usdt_gen::dlang::format;
use usdt_gen::dlang::source::Sources;

fn formatted(source: &str) -> Option<String> {
    let mut sources = Sources::default();
    let file = sources.add("fuzz.d", source);
    format(&sources, &file).ok()
}

/// Without what stands between tokens: white space, continued lines, byte-order marks.
fn bare(source: &str) -> String {
    // A file's last line ends, too.
    let source = format!("{source}\n").replace("\\\r\n", "").replace("\\\n", "");
    source.chars().filter(|c| !c.is_whitespace() && *c != '\u{feff}').collect()
}

fuzz_target!(|data: &[u8]| {
    let source = text(data);
    metered(|| {
        let Some(once) = formatted(&source) else { return };
        assert_eq!(bare(&once), bare(&source), "{once}");
        assert_eq!(formatted(&once).as_deref(), Some(once.as_str()), "a second time");
    });
});
