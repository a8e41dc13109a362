//! Lines for a terminal. Strings of a target are escaped, as they may hold control sequences.

use cli_common::{escape, escape_into};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write as _;
use std::io::{self, Write};
use usdt_attach::discover::Source;
use usdt_attach::discover::select::Selected;
use usdt_attach::event::symbolize::Frame;
use usdt_attach::event::{Event, Value};
use usdt_attach::plan::{Method, Plan};
use usdt_attach::session::{MAX_NESTED_CALLS, Summary};

const BOLD: &str = "\x1b[1m";
const CYAN: &str = "\x1b[36m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// Writes events as lines: local time, process, goroutine or thread, probe, named arguments.
pub struct Lines {
    zone: TimeZone,
    color: bool,
    /// The line under construction, kept to reuse its memory.
    line: String,
    /// The time of day of `second`: the time zone is applied once per second, not once per event.
    clock: String,
    second: u64,
}

impl Lines {
    /// Creates a writer for the local time zone. `color` says whether to print color sequences.
    pub fn new(color: bool) -> Lines {
        Lines {
            zone: TimeZone::system(),
            color,
            line: String::new(),
            second: 0,
            clock: String::new(),
        }
    }

    /// Writes one event, and below it the frames of its stack, if it has one.
    ///
    /// # Errors
    ///
    /// Fails if `out` cannot be written to.
    pub fn event(
        &mut self,
        out: &mut impl Write,
        event: &Event<'_>,
        stack: &[Frame],
    ) -> io::Result<()> {
        let (second, rest) = (event.time_ns / 1_000_000_000, event.time_ns % 1_000_000_000);
        if second != self.second || self.clock.is_empty() {
            self.second = second;
            self.clock = time_of_day(second, self.zone.clone());
        }
        let (dim, bold, cyan, reset) =
            if self.color { (DIM, BOLD, CYAN, RESET) } else { ("", "", "", "") };
        let line = &mut self.line;
        line.clear();
        let mut digits = itoa::Buffer::new();
        line.extend([dim, &self.clock, "."]);
        // Adding a million keeps the leading zeros: the digits after the first are the
        // microseconds.
        line.push_str(digits.format(1_000_000 + rest / 1000).split_at(1).1);
        line.extend([reset, " ", digits.format(event.pid)]);
        match event.goid {
            Some(goid) => line.extend([" g", digits.format(goid), " ", bold]),
            None => line.extend([" t", digits.format(event.tid), " ", bold]),
        }
        escape_into(line, event.probe.provider.as_bytes());
        line.push(':');
        escape_into(line, event.probe.name.as_bytes());
        line.push_str(reset);
        for (name, value) in event.args() {
            line.push(' ');
            line.push_str(cyan);
            escape_into(line, name.as_bytes());
            line.push_str(reset);
            line.push('=');
            write_value(line, value);
        }
        line.push('\n');
        for frame in stack {
            line.push_str("    ");
            escape_into(line, frame.to_string().as_bytes());
            line.push('\n');
        }
        out.write_all(line.as_bytes())
    }
}

/// Appends a value as it is printed in an event.
pub(crate) fn write_value(line: &mut String, value: Value<'_>) {
    // Writing to a string cannot fail.
    let _ = match value {
        Value::Signed(n) => line.write_str(itoa::Buffer::new().format(n)),
        Value::Unsigned(n) => line.write_str(itoa::Buffer::new().format(n)),
        Value::Float(n) => write!(line, "{n}"),
        Value::Bool(b) => write!(line, "{b}"),
        Value::Pointer(p) => write!(line, "{p:#x}"),
        Value::Time(time) => write!(line, "{time}"),
        Value::String { bytes, truncated } => {
            line.push('"');
            escape_into(line, bytes);
            line.write_str(if truncated > 0 { "\"…" } else { "\"" })
        }
        Value::Wide(_) => line.write_str(&value.to_plain_string()),
        Value::Bytes { truncated, .. } => {
            if let Some(string) = value.printable() {
                return write_value(line, Value::String { bytes: string.as_bytes(), truncated });
            }
            line.push_str(&value.to_plain_string());
            line.write_str(if truncated > 0 { "…" } else { "" })
        }
        Value::Nil => line.write_str("nil"),
        Value::Missing => line.write_str("none"),
        // Unreadable, or a kind of value that this version does not know.
        _ => line.write_str("?"),
    };
}

/// The local time of day of a time in nanoseconds since 1970.
pub(crate) fn local_clock(time_ns: u64) -> String {
    time_of_day(time_ns / 1_000_000_000, TimeZone::system())
}

fn time_of_day(unix_second: u64, zone: TimeZone) -> String {
    let time = Timestamp::from_second(unix_second as i64).unwrap_or_default().to_zoned(zone);
    format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
}

/// Writes one line per probe.
///
/// The probes of several objects are grouped below the objects' paths. With `with_processes` the
/// path is written for a single object, too, and is followed by the processes that map it.
pub(crate) fn list(
    out: &mut impl Write,
    selected: &[Selected],
    with_processes: bool,
    color: bool,
) -> io::Result<()> {
    let (bold, reset) = if color { (BOLD, RESET) } else { ("", "") };
    let objects: Vec<&[Selected]> = selected.chunk_by(|a, b| a.object.id == b.object.id).collect();
    for sites in &objects {
        let mut indent = "";
        if let (Some(first), true) = (sites.first(), with_processes || objects.len() > 1) {
            let processes =
                if with_processes { format_processes(&first.pids) } else { String::new() };
            let path = escape(first.object.path.as_os_str().as_encoded_bytes());
            writeln!(out, "{path}{processes}")?;
            indent = "  ";
        }
        let mut last_line = String::new();
        for Selected { probe, .. } in *sites {
            let prototype = probe.prototype();
            let name = probe.full_name();
            let args = prototype.strip_prefix(&name).unwrap_or_default();
            let cost = match (&probe.injected, probe.is_single_stepped(), probe.source) {
                (Some(injected), ..) => format!("  injected {}", escape(injected.as_bytes())),
                (None, false, _) => String::new(),
                (None, true, Source::Function) => "  single-stepped".to_owned(),
                (None, true, _) => "  needs --single-step".to_owned(),
            };
            let line = format!(
                "{indent}{bold}{}{reset}{}{cost}",
                escape(name.as_bytes()),
                escape(args.as_bytes())
            );
            // The sites of one probe share a line if they have the same arguments.
            if line != last_line {
                writeln!(out, "{line}")?;
            }
            last_line = line;
        }
    }
    Ok(())
}

/// Formats processes as ` (process 12)`, ` (3 processes: 12, 13, 14)` or, above eight, ` (9
/// processes)`.
fn format_processes(pids: &[u32]) -> String {
    let list = || pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    match pids.len() {
        0 => String::new(),
        1 => format!(" (process {})", list()),
        n @ 2..=8 => format!(" ({n} processes: {})", list()),
        n => format!(" ({n} processes)"),
    }
}

/// Writes what a plan would attach to, for `--dry-run`.
pub(crate) fn plan(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    for object in plan.objects() {
        writeln!(out, "{}", escape(object.path.as_os_str().as_encoded_bytes()))?;
        for site in &object.sites {
            let Some(probe) = plan.probe(site) else { continue };
            let method = match site.method {
                Method::OptimizedNop10 | Method::OptimizedNop5 => "optimized NOP (call)",
                Method::Nop => "NOP (trap)",
                Method::Push => "PUSH, emulated by the kernel (trap)",
                Method::Branch => "branch, emulated by the kernel (trap)",
                Method::SingleStep => "other instruction (single-stepped)",
            };
            let semaphore = site.semaphore_offset.map_or("none".to_owned(), |s| format!("{s:#x}"));
            writeln!(
                out,
                "  {}:{}\n    at file offset {:#x}, {method}; semaphore {semaphore}; {}",
                escape(probe.provider.as_bytes()),
                escape(probe.name.as_bytes()),
                site.offset,
                plan.action(site)
            )?;
        }
    }
    Ok(())
}

/// Formats the hit counts of a session, in one line.
pub(crate) fn summary(summary: Summary) -> String {
    let mut out = format!(
        "{} hits: {} delivered, {} dropped, {} filtered",
        summary.hits, summary.delivered, summary.dropped, summary.filtered
    );
    if let Some(unpaired) = summary.unpaired {
        let (starts, ends) = (unpaired.unmatched_starts, unpaired.unmatched_ends);
        let _ = match unpaired.unwound {
            None => {
                let overwritten = unpaired.overwritten;
                write!(out, "; unmatched: {starts} starts, {ends} ends, {overwritten} overwritten")
            }
            Some(unwound) => write!(
                out,
                "; {unwound} calls unwound by a panic or Goexit, {starts} without a return so far, {ends} returns without an entry"
            ),
        };
        if unpaired.too_deep > 0 {
            let _ = write!(
                out,
                "; {} calls are not in the histogram: more than {MAX_NESTED_CALLS} were nested",
                unpaired.too_deep
            );
        }
    }
    if let Some(message) = children_left_out(summary.children_left_out) {
        let _ = write!(out, "; {message}");
    }
    if summary.out_of_order > 0 {
        let _ = write!(out, "; {} out of order", with_unit(summary.out_of_order, "event"));
    }
    if summary.outside > 0 {
        let _ = write!(
            out,
            "; left out {} hits by processes outside this PID namespace",
            summary.outside
        );
    }
    out
}

/// Says that children were not traced; `None` if there were none.
pub(crate) fn children_left_out(count: u64) -> Option<String> {
    match count {
        0 => None,
        1 => Some("left out 1 child process, which --children traces".to_owned()),
        n => Some(format!("left out {n} child processes, which --children traces")),
    }
}

/// Formats a count with its unit: `1 site`, `2 sites`.
pub(crate) fn with_unit(n: u64, unit: &str) -> String {
    format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_values() {
        fn formatted(value: Value<'_>) -> String {
            let mut line = String::new();
            write_value(&mut line, value);
            line
        }
        assert_eq!(formatted(Value::String { bytes: b"ab", truncated: 3 }), "\"ab\"…");
        assert_eq!(formatted(Value::Bytes { bytes: &[0, 255], truncated: 0 }), "00ff");
        assert_eq!(formatted(Value::Bytes { bytes: b"a.b\n", truncated: 2 }), "\"a.b\\n\"…");
        assert_eq!(formatted(Value::Bytes { bytes: b"", truncated: 0 }), "\"\"");
        assert_eq!(formatted(Value::Wide(1 << 64)), "0x00000000000000010000000000000000");
        assert_eq!(formatted(Value::Signed(-5)), "-5");
        assert_eq!(formatted(Value::Float(0.25)), "0.25");
        assert_eq!(formatted(Value::Nil), "nil");
    }
}
