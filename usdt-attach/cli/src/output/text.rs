//! Lines for a terminal. What comes from a target is escaped first: it may hold control sequences.

use cli_common::{escape, escape_into};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write as _;
use std::io::{self, Write};
use usdt_attach::discover::select::Selected;
use usdt_attach::event::symbolize::Frame;
use usdt_attach::event::{Event, Value};
use usdt_attach::plan::{Method, Plan};
use usdt_attach::session::Summary;

const BOLD: &str = "\x1b[1m";
const CYAN: &str = "\x1b[36m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

/// Writes events as lines: local time, process, goroutine, probe, named arguments.
pub struct Lines {
    zone: TimeZone,
    color: bool,
    line: String,
    /// The second that `clock` shows: time zones are looked up once a second, not once an event.
    second: u64,
    clock: String,
}

impl Lines {
    /// With or without colors.
    pub fn new(color: bool) -> Lines {
        Lines {
            zone: TimeZone::system(),
            color,
            line: String::new(),
            second: 0,
            clock: String::new(),
        }
    }

    /// Writes one event, and its stack under it.
    pub fn event(
        &mut self,
        out: &mut impl Write,
        event: &Event<'_>,
        stack: &[Frame],
    ) -> io::Result<()> {
        let (second, rest) = (event.time_ns / 1_000_000_000, event.time_ns % 1_000_000_000);
        if second != self.second || self.clock.is_empty() {
            self.second = second;
            let stamp = Timestamp::from_second(second as i64)
                .unwrap_or_default()
                .to_zoned(self.zone.clone());
            self.clock = format!("{:02}:{:02}:{:02}", stamp.hour(), stamp.minute(), stamp.second());
        }
        let (dim, bold, cyan, reset) =
            if self.color { (DIM, BOLD, CYAN, RESET) } else { ("", "", "", "") };
        let line = &mut self.line;
        line.clear();
        let mut digits = itoa::Buffer::new();
        line.extend([dim, &self.clock, "."]);
        // A million more has one digit more: those behind it are the microseconds, with their zeros.
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
            show(line, value);
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

/// Appends a value as it reads in an event.
pub(crate) fn show(line: &mut String, value: Value<'_>) {
    // Writing to a string has no failing case.
    let _ = match value {
        Value::Signed(n) => line.write_str(itoa::Buffer::new().format(n)),
        Value::Unsigned(n) => line.write_str(itoa::Buffer::new().format(n)),
        Value::Float(n) => write!(line, "{n}"),
        Value::Bool(b) => write!(line, "{b}"),
        Value::Pointer(p) => write!(line, "{p:#x}"),
        Value::String { bytes, truncated } => {
            line.push('"');
            escape_into(line, bytes);
            line.write_str(if truncated > 0 { "\"…" } else { "\"" })
        }
        Value::Bytes { truncated, .. } => {
            line.push_str(&value.to_plain_string());
            line.write_str(if truncated > 0 { "…" } else { "" })
        }
        Value::Nil => line.write_str("nil"),
        // Also a kind of value that this version does not know.
        _ => line.write_str("?"),
    };
}

/// The local time of day.
pub(crate) fn clock(time_ns: u64) -> String {
    let stamp = Timestamp::from_second((time_ns / 1_000_000_000) as i64).unwrap_or_default();
    let stamp = stamp.to_zoned(TimeZone::system());
    format!("{:02}:{:02}:{:02}", stamp.hour(), stamp.minute(), stamp.second())
}

/// Writes a probe a line; with more than one object, each under its name. With `processes`, each is under its name
/// and the processes that map it, also where there is only one.
pub fn list(
    out: &mut impl Write,
    chosen: &[Selected],
    processes: bool,
    color: bool,
) -> io::Result<()> {
    let (bold, reset) = if color { (BOLD, RESET) } else { ("", "") };
    let objects: Vec<&[Selected]> = chosen.chunk_by(|a, b| a.object.id == b.object.id).collect();
    for sites in &objects {
        let mut indent = "";
        if let (Some(first), true) = (sites.first(), processes || objects.len() > 1) {
            let users = if processes { users(&first.pids) } else { String::new() };
            writeln!(out, "{}{users}", escape(first.object.path.as_os_str().as_encoded_bytes()))?;
            indent = "  ";
        }
        let mut last = String::new();
        for Selected { probe, .. } in *sites {
            let prototype = probe.prototype();
            let (name, args) = prototype.split_once('(').unwrap_or((prototype.as_str(), ""));
            let line = format!(
                "{indent}{bold}{}{reset}({}",
                escape(name.as_bytes()),
                escape(args.as_bytes())
            );
            // Several sites of one probe are one line as long as they look the same.
            if line != last {
                writeln!(out, "{line}")?;
            }
            last = line;
        }
    }
    Ok(())
}

/// ` (process 12)`, ` (3 processes: 12, 13, 14)`; many are counted only.
fn users(pids: &[u32]) -> String {
    let list = || pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    match pids.len() {
        0 => String::new(),
        1 => format!(" (process {})", list()),
        n @ 2..=8 => format!(" ({n} processes: {})", list()),
        n => format!(" ({n} processes)"),
    }
}

/// Writes what would be attached.
pub fn plan(out: &mut impl Write, plan: &Plan) -> io::Result<()> {
    for object in plan.objects() {
        writeln!(out, "{}", escape(object.path.as_os_str().as_encoded_bytes()))?;
        for site in &object.sites {
            let Some(probe) = plan.probe(site) else { continue };
            let method = match site.method {
                Method::OptimizedNop10 | Method::OptimizedNop5 => "optimized NOP (call)",
                Method::Nop => "NOP (trap)",
                Method::Push => "push, done by the kernel (trap)",
                Method::Branch => "branch, done by the kernel (trap)",
                Method::SingleStep => "single step",
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

/// The account of a session, one line.
pub fn summary(summary: Summary) -> String {
    let mut out = format!(
        "{} hits: {} delivered, {} dropped, {} filtered",
        summary.hits, summary.delivered, summary.dropped, summary.filtered
    );
    if let Some(unpaired) = summary.unpaired {
        let _ = write!(
            out,
            "; unmatched: {} starts, {} ends, {} overwritten",
            unpaired.unmatched_starts, unpaired.unmatched_ends, unpaired.overwritten
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_a_target_reaches_the_terminal_raw() {
        assert_eq!(escape(b"plain \xc3\xa9"), "plain \u{e9}");
        assert_eq!(escape(b"\x1b[31m\"x\"\n\xff"), "\\u{1b}[31m\\\"x\\\"\\n\\xff");
        assert_eq!(escape("\u{202e}".as_bytes()), "\\u{202e}");
    }

    #[test]
    fn values() {
        let show = |value| {
            let mut line = String::new();
            show(&mut line, value);
            line
        };
        assert_eq!(show(Value::String { bytes: b"ab", truncated: 3 }), "\"ab\"…");
        assert_eq!(show(Value::Bytes { bytes: &[0, 255], truncated: 0 }), "00ff");
        assert_eq!(show(Value::Signed(-5)), "-5");
        assert_eq!(show(Value::Float(0.25)), "0.25");
        assert_eq!(show(Value::Nil), "nil");
    }
}
