//! `usdt-attach-bcc` compiles C to BPF instructions with libbcc, in a process of its own.
//!
//! `usdt-attach run FILE.c` and `usdt-attach --backend bcc` start it. libbcc maps LLVM and clang (66 MiB), so the
//! program that traces does not link it.
//!
//! The source comes on standard input, up to its end. The answer is one JSON document on standard output; [`protocol`]
//! describes it. Standard error has what the compiler says. The exit status is 0 for an answer with instructions, 1 for
//! an answer with an error, and 2 for bad usage.

mod compile;
mod headers;
mod protocol;

use protocol::{Answer, Failure};
use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;

const USAGE: &str = "\
Compiles C to BPF instructions with libbcc, for usdt-attach.

Usage: usdt-attach-bcc [FUNCTION...] < SOURCE
       usdt-attach-bcc --check

Without FUNCTION, the answer has all functions and all tables of the source.
With FUNCTION, it has these functions only; the source declares no tables.

Options:
      --check    Compile nothing, check that there are kernel headers
  -h, --help     Print help
  -V, --version  Print version
";

/// Bytes of the longest source.
const LONGEST_SOURCE: u64 = 64 << 20;

/// What the command line asks for.
enum Request {
    Check,
    /// All functions and tables.
    Everything,
    Functions(Vec<String>),
}

fn main() -> ExitCode {
    let request = match std::env::args_os().skip(1).map(std::ffi::OsString::into_string).collect() {
        Ok(args) => request(args),
        Err(_) => Err(usage()),
    };
    match request.map(|request| reply(&request)) {
        Err(code) => code,
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::from(1),
        Ok(Err(error)) => {
            // Nobody is left to read what a closed standard error cannot take.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(1)
        }
    }
}

fn request(args: Vec<String>) -> Result<Request, ExitCode> {
    let printed = |text: &str| match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(1),
    };
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Ok(Request::Everything),
        ["--check"] => Ok(Request::Check),
        ["-h" | "--help"] => Err(printed(USAGE)),
        ["-V" | "--version"] => {
            Err(printed(concat!("usdt-attach-bcc ", env!("CARGO_PKG_VERSION"), "\n")))
        }
        names if names.iter().any(|name| name.starts_with('-')) => Err(usage()),
        _ => Ok(Request::Functions(args)),
    }
}

fn usage() -> ExitCode {
    let _ = io::stderr().write_all(USAGE.as_bytes());
    ExitCode::from(2)
}

/// Writes the answer; returns whether it is one with instructions.
fn reply(request: &Request) -> io::Result<bool> {
    // A compiler that never ends must not outlive the process that started it.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // libbcc may print on standard output, which would end up in the answer.
    let mut out = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?);
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    let answer = answer(request)?;
    out.write_all(&serde_json::to_vec(&answer)?)?;
    Ok(answer.error.is_none())
}

fn answer(request: &Request) -> io::Result<Answer> {
    if let Err(folder) = headers::find() {
        return Ok(Failure::Headers { path: folder.to_string_lossy().into_owned() }.into());
    }
    let compiled = match request {
        Request::Check => Ok(Answer::default()),
        Request::Everything => source().and_then(|source| compile::everything(&source)),
        Request::Functions(names) => source().and_then(|source| compile::functions(&source, names)),
    };
    Ok(compiled.unwrap_or_else(Answer::from))
}

fn source() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let unusable = |problem: String| Failure::Source { problem };
    io::stdin()
        .take(LONGEST_SOURCE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unusable(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > LONGEST_SOURCE {
        return Err(unusable(format!("has more than {LONGEST_SOURCE} bytes")));
    }
    if bytes.contains(&0) {
        return Err(unusable("contains a NUL".to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| unusable("is not UTF-8".to_owned()))
}
