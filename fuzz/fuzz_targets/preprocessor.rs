//! Definitions that include each other. The input has the main file and the files `a`, `b` and `c`,
//! separated by NULs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use usdt_fuzz::{lossy_string, with_memory_limit};
use usdt_gen::dlang::{Options, parse_with};

fuzz_target!(|data: &[u8]| {
    let files: Vec<String> = data.split(|b| *b == 0).map(lossy_string).collect();
    with_memory_limit(|| {
        let main = files.first().cloned().unwrap_or_default();
        let options = Options {
            defines: vec!["DEFINED=1".into()],
            read_file: Arc::new(move |path| {
                let at = ["a", "b", "c"].iter().position(|name| path.ends_with(name));
                let file =
                    at.and_then(|at| files.get(at + 1)).ok_or(std::io::ErrorKind::NotFound)?;
                Ok(file.clone().into_bytes())
            }),
            ..Options::default()
        };
        let _ = parse_with("main", &main, &options);
    });
});
