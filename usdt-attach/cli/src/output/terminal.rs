//! Results on standard output: events as they come, tables at the end, at intervals, or in place.

use crate::output::table::{Style, table};
use crate::output::{json, text};
use crate::run_loop::Output;
use cli_common::Color;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::time::Instant;
use usdt_attach::error::Result;
use usdt_attach::event::Event;
use usdt_attach::event::counts::Row;
use usdt_attach::event::symbolize::Symbolizer;
use usdt_attach::session::Session;
use usdt_export::time::unix_nanos;

/// A terminal that does not say how large it is, is this large.
const USUAL: (usize, usize) = (80, 24);

/// Writes events and tables to standard output, as text or JSON.
pub(crate) struct TerminalOutput {
    out: BufWriter<StdoutLock<'static>>,
    json: bool,
    color: bool,
    lines: text::Lines,
    table: Option<IntervalTable>,
    symbols: Symbolizer,
}

/// The table of what is counted in the kernel, printed at intervals and at the end.
pub(crate) struct IntervalTable {
    unit: Option<&'static str>,
    intervals: bool,
    top: usize,
    screen: Screen,
    /// The rows printed last, for rates.
    before: Vec<Row>,
    at: Instant,
}

/// What is drawn again and again: on a terminal in place, else one after the other with the time in front.
pub(crate) struct Screen {
    repeated: bool,
    /// Redrawn in place.
    in_place: bool,
    /// Lines to go up for that.
    drawn: usize,
}

impl IntervalTable {
    pub(crate) fn new(
        unit: Option<&'static str>,
        intervals: bool,
        top: Option<u32>,
    ) -> IntervalTable {
        IntervalTable {
            unit,
            intervals,
            top: top.map_or(usize::MAX, |n| n as usize),
            screen: Screen::new(intervals),
            before: Vec::new(),
            at: Instant::now(),
        }
    }
}

impl TerminalOutput {
    pub(crate) fn new(
        json: bool,
        color: Color,
        table: Option<IntervalTable>,
        symbols: Symbolizer,
    ) -> TerminalOutput {
        let color = color.enabled(&io::stdout());
        TerminalOutput {
            out: BufWriter::with_capacity(1 << 16, io::stdout().lock()),
            json,
            color,
            lines: text::Lines::new(color),
            table,
            symbols,
        }
    }
}

impl Output for TerminalOutput {
    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let stack = event.stack().map(|_| self.symbols.stack(event));
        if self.json {
            return json::event(&mut self.out, event, stack.as_deref());
        }
        self.lines.event(&mut self.out, event, &stack.unwrap_or_default())
    }

    fn counted(&mut self, sessions: &[Session], last: bool) -> Result<io::Result<()>> {
        let Some(interval_table) = &mut self.table else { return Ok(Ok(())) };
        let mut rows = Session::merged_rows(sessions)?;
        if self.json {
            rows.truncate(interval_table.top);
            let stamp = interval_table.intervals.then(unix_nanos);
            return Ok(json::rows(&mut self.out, &rows, interval_table.unit, stamp));
        }
        let result = interval_table.draw(&mut self.out, &rows, self.color, last);
        interval_table.before = rows;
        interval_table.at = Instant::now();
        Ok(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl IntervalTable {
    fn draw(
        &mut self,
        out: &mut impl Write,
        rows: &[Row],
        color: bool,
        last: bool,
    ) -> io::Result<()> {
        let style = Style { color, width: Screen::width(), unit: self.unit, top: self.top };
        let before = self.intervals.then(|| (self.before.as_slice(), self.at.elapsed()));
        self.screen.draw(out, &table(rows, before, style), last)
    }
}

impl Screen {
    pub(crate) fn new(repeated: bool) -> Screen {
        Screen { repeated, in_place: repeated && io::stdout().is_terminal(), drawn: 0 }
    }

    pub(crate) fn width() -> usize {
        size().0
    }

    pub(crate) fn draw(&mut self, out: &mut impl Write, text: &str, last: bool) -> io::Result<()> {
        let (width, height) = size();
        if !self.in_place {
            if self.repeated {
                writeln!(out, "{}", text::clock(unix_nanos()))?;
            }
            return out.write_all(text.as_bytes());
        }
        if self.drawn > 0 {
            write!(out, "\x1b[{}A\x1b[J", self.drawn)?;
        }
        // What does not fit would scroll away and leave its upper part behind; at the end it may.
        let fitting = if last { usize::MAX } else { height.saturating_sub(1).max(1) };
        self.drawn = 0;
        for line in text.lines().take(fitting) {
            writeln!(out, "{}", cut(line, width))?;
            self.drawn += 1;
        }
        Ok(())
    }
}

/// The beginning of a line that a terminal shows in one row; sequences for colors take no room.
fn cut(line: &str, width: usize) -> String {
    let mut out = String::new();
    let (mut room, mut sequence) = (width, false);
    for c in line.chars() {
        if c == '\x1b' {
            sequence = true;
        } else if sequence {
            sequence = c != 'm';
        } else if room == 0 {
            continue;
        } else {
            room -= 1;
        }
        out.push(c);
    }
    out
}

fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => USUAL,
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn colors_take_no_room() {
        assert_eq!(cut("abc", 2), "ab");
        assert_eq!(cut("\x1b[1mabc\x1b[0mde", 4), "\x1b[1mabc\x1b[0md");
        assert_eq!(
            cut("\x1b[1mabc\x1b[0m", 1),
            "\x1b[1ma\x1b[0m",
            "a color that is begun is ended"
        );
    }
}
