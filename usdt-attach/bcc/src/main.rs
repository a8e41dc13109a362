//! `usdt-attach-bcc` compiles C to BPF instructions with libbcc, in a process of its own.
//!
//! `usdt-attach run FILE.c` and `usdt-attach --backend bcc` start it. libbcc maps LLVM and clang
//! (66 MiB), so `usdt-attach` does not link it.
//!
//! The program reads the source from standard input, and writes its answer, one JSON document, to
//! standard output; [`protocol`] describes it. The compiler's messages go to standard error. The exit
//! status is 0 for an answer with instructions, 1 for an answer with an error, and 2 for invalid
//! arguments.
#![allow(clippy::disallowed_methods)] // the library escapes the diagnostics that it gets from here

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
With FUNCTION, it has only these functions; the source must declare no tables.

Options:
      --check    Check that there are kernel headers, without compiling
  -h, --help     Print help
  -V, --version  Print version
";

/// The maximum length of a source in bytes.
const MAX_SOURCE: u64 = 64 << 20;

/// What the command line requests.
enum Request {
    /// A check of the kernel headers.
    Check,
    /// All functions and tables.
    All,
    /// The functions with these names.
    Functions(Vec<String>),
}

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1).map(std::ffi::OsString::into_string).collect();
    let request = match args {
        Ok(args) => parse_request(args),
        Err(_) => Err(usage_error()),
    };
    match request.map(|request| reply(&request)) {
        Err(exit_code) => exit_code,
        Ok(Ok(has_instructions)) => ExitCode::from(u8::from(!has_instructions)),
        Ok(Err(error)) => {
            // If standard error is closed, the exit status has to do.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(1)
        }
    }
}

/// Parses the arguments. Fails with the exit code after printing help, the version or an error.
fn parse_request(args: Vec<String>) -> Result<Request, ExitCode> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Ok(Request::All),
        ["--check"] => Ok(Request::Check),
        ["-h" | "--help"] => Err(print(USAGE)),
        ["-V" | "--version"] => {
            Err(print(concat!("usdt-attach-bcc ", env!("CARGO_PKG_VERSION"), "\n")))
        }
        names if names.iter().any(|name| name.starts_with('-')) => Err(usage_error()),
        _ => Ok(Request::Functions(args)),
    }
}

fn print(output: &str) -> ExitCode {
    match io::stdout().write_all(output.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(1),
    }
}

fn usage_error() -> ExitCode {
    let _ = io::stderr().write_all(USAGE.as_bytes());
    ExitCode::from(2)
}

/// Writes the answer. Returns true if it has instructions.
fn reply(request: &Request) -> io::Result<bool> {
    // A compiler that never ends must not outlive the process that started it.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // libbcc may print to standard output, which must not become part of the answer.
    let mut out = File::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?);
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    let answer = answer(request);
    out.write_all(&serde_json::to_vec(&answer)?)?;
    Ok(answer.error.is_none())
}

fn answer(request: &Request) -> Answer {
    if let Err(folder) = headers::find() {
        return Failure::Headers { path: folder.to_string_lossy().into_owned() }.into();
    }
    let compiled = match request {
        Request::Check => Ok(Answer::default()),
        Request::All => read_source().and_then(|source| compile::compile_all(&source)),
        Request::Functions(names) => {
            read_source().and_then(|source| compile::compile_functions(&source, names))
        }
    };
    compiled.unwrap_or_else(Answer::from)
}

fn read_source() -> Result<String, Failure> {
    let unusable = |problem: String| Failure::Source { problem };
    let mut bytes = Vec::new();
    io::stdin()
        .take(MAX_SOURCE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unusable(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_SOURCE {
        return Err(unusable(format!("has more than {MAX_SOURCE} bytes")));
    }
    if bytes.contains(&0) {
        return Err(unusable("contains a NUL".to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| unusable("is not UTF-8".to_owned()))
}
