//! `usdt-attach record`: events into a file.

use super::attach::attach;
use super::trace::TraceArgs;
use crate::output::chrome::Chrome;
use crate::output::csv::Csv;
use crate::output::json;
use crate::run_loop::Output;
use clap::{Args, ValueEnum};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use usdt_attach::error::{Error, Result};
use usdt_attach::event::Event;
use usdt_attach::event::symbolize::Symbolizer;
use usdt_attach::plan::Plan;
use usdt_attach::session::Session;

#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// File to write; `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Format [default: by the file's name: .json chrome, .csv csv, anything else jsonl]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    trace: TraceArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Trace Event Format, for Perfetto (ui.perfetto.dev) and chrome://tracing: goroutines as tracks, starts and ends as slices
    Chrome,
    /// Comma-separated values, a column for each argument
    Csv,
    /// JSON objects, one a line, as `trace --json` has them
    Jsonl,
}

pub(crate) fn record(args: &RecordArgs) -> Result<()> {
    let format =
        args.format.unwrap_or_else(|| match args.output.extension().and_then(|e| e.to_str()) {
            Some("json") => Format::Chrome,
            Some("csv") => Format::Csv,
            _ => Format::Jsonl,
        });
    if args.trace.stack.is_some() && !matches!(format, Format::Jsonl) {
        return Err(Error::usage("stacks have a place in JSON lines only: --format jsonl"));
    }
    attach(args.trace.request(), |plan, symbols| {
        let failed = |source| Error::open(args.output.clone(), source);
        let out: Box<dyn Write> = if args.output == Path::new("-") {
            Box::new(io::stdout().lock())
        } else {
            Box::new(File::create(&args.output).map_err(failed)?)
        };
        Recorder::new(format, BufWriter::with_capacity(1 << 16, out), plan, symbols).map_err(failed)
    })
}

/// What writes the file.
pub(crate) struct Recorder {
    writer: Writer,
    symbols: Symbolizer,
}

enum Writer {
    Chrome(Box<Chrome<Out>>),
    Csv(Box<Csv<Out>>),
    Jsonl(Out),
}

type Out = BufWriter<Box<dyn Write>>;

impl Recorder {
    fn new(format: Format, out: Out, plan: &Plan, symbols: Symbolizer) -> io::Result<Recorder> {
        let writer = match format {
            Format::Chrome => Writer::Chrome(Box::new(Chrome::new(out, plan)?)),
            Format::Csv => Writer::Csv(Box::new(Csv::new(out, plan)?)),
            Format::Jsonl => Writer::Jsonl(out),
        };
        Ok(Recorder { writer, symbols })
    }
}

impl Output for Recorder {
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

    fn counted(&mut self, _: &[Session], last: bool) -> Result<io::Result<()>> {
        match &mut self.writer {
            Writer::Chrome(chrome) if last => Ok(chrome.finish()),
            _ => Ok(Ok(())),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.writer {
            Writer::Chrome(chrome) => chrome.flush(),
            Writer::Csv(csv) => csv.flush(),
            Writer::Jsonl(out) => out.flush(),
        }
    }
}
