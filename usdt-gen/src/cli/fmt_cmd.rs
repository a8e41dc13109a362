//! `usdt-gen fmt`.

use super::generate_cmd::difference;
use super::language_args::read;
use super::{BAD_INPUT, FINDINGS, Failure, OK, REFUSED, print, say};
use crate::atomic_write::write_if_changed;
use crate::dlang;
use crate::dlang::source::Sources;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Formats each file. One that cannot be formatted is said so and stays as it is; the others are done.
pub(super) fn run(files: &[PathBuf], check: bool, color: bool) -> Result<i32, Failure> {
    let (mut code, mut stale) = (OK, Vec::new());
    for path in files {
        let name =
            if path == Path::new("-") { "<stdin>".to_owned() } else { path.display().to_string() };
        let old = if path == Path::new("-") { standard_input()? } else { read(path)? };
        let mut sources = Sources::default();
        let file = sources.add(&name, &old);
        let new = match dlang::format(&sources, &file) {
            Ok(new) => new,
            Err(diagnostic) => {
                say(&format!("{}\n", diagnostic.render(&sources, color)));
                code = BAD_INPUT;
                continue;
            }
        };
        if check {
            if old != new {
                difference(&name, "formatted", &old, &new)?;
                stale.push(name);
            }
        } else if path == Path::new("-") {
            print(&new)?;
        } else {
            write_if_changed(path, new.as_bytes()).map_err(|e| Failure(REFUSED, e.to_string()))?;
        }
    }
    if !stale.is_empty() {
        say(&format!(
            "not in canonical form: {}; run usdt-gen fmt without --check",
            stale.join(", ")
        ));
        code = code.max(FINDINGS);
    }
    Ok(code)
}

fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|e| Failure(BAD_INPUT, format!("cannot read standard input: {e}")))?;
    Ok(text)
}
