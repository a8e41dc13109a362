//! `usdt-attach record`: writes events to a file.

use super::attach::attach;
use super::trace::TraceArgs;
use crate::output::chrome::ChromeWriter;
use crate::output::csv::CsvWriter;
use crate::output::json;
use crate::privileges::Needs;
use crate::run_loop::{Output, OutputError};
use clap::{Args, ValueEnum};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use usdt_attach::error::{Error, Escaped, Result};
use usdt_attach::event::Event;
use usdt_attach::event::symbolize::Symbolizer;
use usdt_attach::plan::Plan;
use usdt_attach::session::Session;
use usdt_files::open_output;

#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// File to write, or `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// File format; chrome is for ui.perfetto.dev [default: chrome for *.json, csv for *.csv, else
    /// jsonl; names such as *.pftrace are an error]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    trace: TraceArgs,
}

// The variants have no doc comments, because these would switch `--help` to its long form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    // Trace Event Format, for Perfetto and chrome://tracing: goroutines are tracks, and pairs of
    // starts and ends are slices.
    Chrome,
    // One column per argument.
    Csv,
    // The events of `trace --json`.
    Jsonl,
}

impl RecordArgs {
    /// See [`HitArgs::needs`](super::args::HitArgs::needs).
    pub(crate) fn needs(&self) -> Option<Needs> {
        self.trace.needs().map(|needs| Needs { output_file: true, ..needs })
    }
}

pub(crate) fn record(args: &RecordArgs) -> Result<()> {
    let format = args.format.map_or_else(|| format_of(&args.output), Ok)?;
    if args.trace.stack.is_some() && format != Format::Jsonl {
        return Err(Error::usage(
            "--stack needs --format jsonl: the other formats have no place for stacks",
        ));
    }
    let mut request = args.trace.request();
    // Pairs the entry and the return of a function.
    request.options.call_frames = format == Format::Chrome;
    attach(request, |plan, symbols| {
        let cannot_write = |source| Error::open(args.output.clone(), source);
        let out: Box<dyn Write> = if args.output == Path::new("-") {
            Box::new(io::stdout().lock())
        } else {
            Box::new(open_output(&args.output).map_err(|error| cannot_write(error.source))?)
        };
        Recorder::new(format, BufWriter::with_capacity(1 << 16, out), plan, symbols)
            .map_err(cannot_write)
    })
}

/// The format that a file name stands for. A name that promises another format is an error: the
/// program that reads such files would reject it.
fn format_of(output: &Path) -> Result<Format> {
    let extension = output.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    let program = match extension.as_deref() {
        Some("json") => return Ok(Format::Chrome),
        Some("csv") => return Ok(Format::Csv),
        Some("pftrace" | "perfetto-trace" | "perfetto" | "proto" | "pb") => "a Perfetto protobuf",
        Some("ctf") => "a Common Trace Format",
        Some("parquet" | "arrow") => "a columnar",
        Some("gz" | "zst" | "xz") => "a compressed",
        Some("trace") => "a binary trace",
        _ => return Ok(Format::Jsonl),
    };
    let json = output.with_extension("json");
    Err(Error::usage(format!(
        "cannot write {program} file: `record` writes chrome (*.json, which ui.perfetto.dev opens), csv and jsonl; pass -o {}, or --format to keep the name",
        Escaped::new(&json)
    )))
}

/// Writes events in one of the formats.
struct Recorder {
    writer: Writer,
    symbols: Symbolizer,
}

enum Writer {
    Chrome(Box<ChromeWriter<Out>>),
    Csv(Box<CsvWriter<Out>>),
    Jsonl(Out),
}

type Out = BufWriter<Box<dyn Write>>;

impl Recorder {
    fn new(format: Format, out: Out, plan: &Plan, symbols: Symbolizer) -> io::Result<Recorder> {
        let writer = match format {
            Format::Chrome => Writer::Chrome(Box::new(ChromeWriter::new(out)?)),
            Format::Csv => Writer::Csv(Box::new(CsvWriter::new(out, plan)?)),
            Format::Jsonl => Writer::Jsonl(out),
        };
        Ok(Recorder { writer, symbols })
    }
}

impl Output for Recorder {
    fn attached(&mut self, plan: &Plan) {
        if let Writer::Chrome(chrome) = &mut self.writer {
            chrome.add_probes(plan);
        }
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        match &mut self.writer {
            Writer::Chrome(chrome) => chrome.event(event),
            Writer::Csv(csv) => csv.event(event),
            Writer::Jsonl(out) => {
                let stack = event.stack().map(|_| self.symbols.stack(event));
                json::event(out, event, stack.as_deref())
            }
        }
    }

    fn totals(&mut self, _: &[Session], is_last: bool) -> std::result::Result<(), OutputError> {
        if is_last && let Writer::Chrome(chrome) = &mut self.writer {
            chrome.finish()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.writer {
            Writer::Chrome(chrome) => chrome.flush(),
            Writer::Csv(csv) => csv.flush(),
            Writer::Jsonl(out) => out.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_format_from_the_file_name() {
        let format = |name: &str| format_of(Path::new(name));
        assert_eq!(format("a.json").unwrap(), Format::Chrome);
        assert_eq!(format("a.JSON").unwrap(), Format::Chrome);
        assert_eq!(format("a.csv").unwrap(), Format::Csv);
        for name in ["a.jsonl", "a", "-", "a.log", "pftrace"] {
            assert_eq!(format(name).unwrap(), Format::Jsonl, "{name}");
        }
        for name in ["x.pftrace", "x.perfetto-trace", "x.json.gz", "x.trace"] {
            let error = format(name).unwrap_err().to_string();
            assert!(error.contains("pass -o x.json"), "{error}");
        }
    }
}
