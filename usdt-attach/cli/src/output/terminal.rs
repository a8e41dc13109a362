//! Results on standard output: events one by one, tables at the end, at intervals or redrawn in
//! place.

use crate::output::table::{PreviousRows, Style, table};
use crate::output::{json, text};
use crate::run_loop::{Output, OutputError};
use cli_common::{Color, Text, say};
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::time::Instant;
use usdt_attach::event::Event;
use usdt_attach::event::counts::{LabelValue, Row};
use usdt_attach::event::symbolize::Symbolizer;
use usdt_attach::session::Session;
use usdt_export::time::unix_nanos;

/// The columns and rows of a terminal that does not report its size.
const DEFAULT_SIZE: (usize, usize) = (80, 24);

/// Writes events and tables to standard output, as text or JSON.
pub(crate) struct TerminalOutput {
    out: BufWriter<StdoutLock<'static>>,
    json: bool,
    color: bool,
    lines: text::Lines,
    table: Option<IntervalTable>,
    symbols: Symbolizer,
}

/// A table of aggregated hits, printed at intervals and at the end.
pub(crate) struct IntervalTable {
    unit: Option<&'static str>,
    /// Whether the table is printed more than once, so that it has a time and rates.
    repeats: bool,
    max_rows: usize,
    screen: Screen,
    /// The rows printed last, from which rates are computed.
    last_rows: Vec<Row>,
    last_time: Instant,
}

/// Prints a view, repeatedly if it is refreshed.
///
/// A terminal is redrawn in place. Other outputs get one view after the other, each with a line
/// that holds the time before it.
pub(crate) struct Screen {
    repeats: bool,
    in_place: bool,
    /// The number of lines of the last view, which the cursor moves up to redraw it.
    drawn_lines: usize,
}

impl IntervalTable {
    /// Creates a table of at most `top` rows. `unit` is the unit of a histogram's values.
    pub(crate) fn new(
        unit: Option<&'static str>,
        repeats: bool,
        top: Option<u32>,
    ) -> IntervalTable {
        IntervalTable {
            unit,
            repeats,
            max_rows: top.map_or(usize::MAX, |n| n as usize),
            screen: Screen::new(repeats),
            last_rows: Vec::new(),
            last_time: Instant::now(),
        }
    }
}

impl TerminalOutput {
    /// Creates the output. `table` is set if hits are aggregated, and `None` if events are printed.
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
        let mut out = Text::new(&mut self.out, self.color);
        self.lines.event(&mut out, event, &stack.unwrap_or_default())
    }

    fn totals(&mut self, sessions: &[Session], is_last: bool) -> Result<(), OutputError> {
        let Some(table) = &mut self.table else { return Ok(()) };
        let mut rows = Session::merged_rows(sessions)?;
        if is_last {
            say_missing_strings(&rows);
        }
        if self.json {
            rows.truncate(table.max_rows);
            let time_ns = table.repeats.then(unix_nanos);
            return Ok(json::rows(&mut self.out, &rows, table.unit, time_ns)?);
        }
        table.draw(&mut Text::new(&mut self.out, self.color), &rows, self.color, is_last)?;
        table.last_rows = rows;
        table.last_time = Instant::now();
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Says how many hits have `nil` as a label. The kernel has one answer for all of its reasons.
fn say_missing_strings(rows: &[Row]) {
    let has_nil = |row: &&Row| row.labels.iter().any(|(_, value)| *value == LabelValue::Nil);
    let hits: u64 = rows.iter().filter(has_nil).map(|row| row.total.count()).sum();
    if hits > 0 {
        say(&format!(
            "{hits} hits have `nil` for a string: its pointer was null or invalid, or it was not in memory"
        ));
    }
}

impl IntervalTable {
    fn draw(
        &mut self,
        out: &mut Text<impl Write>,
        rows: &[Row],
        color: bool,
        is_last: bool,
    ) -> io::Result<()> {
        let style =
            Style { color, width: Screen::width(), unit: self.unit, max_rows: self.max_rows };
        let previous = self
            .repeats
            .then(|| PreviousRows { rows: &self.last_rows, age: self.last_time.elapsed() });
        self.screen.draw(out, &table(rows, previous, style), is_last)
    }
}

impl Screen {
    /// Creates a screen. `repeats` says whether more than one view is drawn.
    pub(crate) fn new(repeats: bool) -> Screen {
        Screen { repeats, in_place: repeats && io::stdout().is_terminal(), drawn_lines: 0 }
    }

    /// The lines and columns of a view that fits on the terminal; `None` without a terminal.
    pub(crate) fn lines_and_columns(&self) -> Option<(usize, usize)> {
        let (columns, lines) = terminal_size();
        // The cursor stands in the line after the view.
        self.in_place.then(|| (lines.saturating_sub(1), columns))
    }

    /// The number of columns of the terminal.
    pub(crate) fn width() -> usize {
        terminal_size().0
    }

    /// Draws a view. On a terminal it replaces the last one.
    pub(crate) fn draw(
        &mut self,
        out: &mut Text<impl Write>,
        view: &str,
        is_last: bool,
    ) -> io::Result<()> {
        let (width, height) = terminal_size();
        if !self.in_place {
            if self.repeats {
                writeln!(out, "{}", text::local_clock(unix_nanos()))?;
            }
            return out.write_all(view.as_bytes());
        }
        if self.drawn_lines > 0 {
            out.erase_lines(self.drawn_lines)?;
        }
        // A view that is taller than the terminal would scroll, and its upper lines could not be
        // redrawn. The last view is not redrawn, so it may scroll.
        let max_lines = if is_last { usize::MAX } else { height.saturating_sub(1).max(1) };
        self.drawn_lines = 0;
        for line in view.lines().take(max_lines) {
            writeln!(out, "{}", truncate_to_width(line, width))?;
            self.drawn_lines += 1;
        }
        Ok(())
    }
}

/// Truncates a line to the columns of a terminal. Color sequences take no columns, and those after
/// the cut are kept so that a color is reset.
fn truncate_to_width(line: &str, width: usize) -> String {
    let mut out = String::new();
    let (mut columns_left, mut in_sequence) = (width, false);
    for c in line.chars() {
        if c == '\x1b' {
            in_sequence = true;
        } else if in_sequence {
            in_sequence = c != 'm';
        } else if columns_left == 0 {
            continue;
        } else {
            columns_left -= 1;
        }
        out.push(c);
    }
    out
}

/// The columns and rows of the terminal.
fn terminal_size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => DEFAULT_SIZE,
    }
}

#[cfg(test)]
mod tests {
    use super::truncate_to_width;

    #[test]
    fn color_sequences_take_no_columns() {
        assert_eq!(truncate_to_width("abc", 2), "ab");
        assert_eq!(truncate_to_width("\x1b[1mabc\x1b[0mde", 4), "\x1b[1mabc\x1b[0md");
        assert_eq!(
            truncate_to_width("\x1b[1mabc\x1b[0m", 1),
            "\x1b[1ma\x1b[0m",
            "the color is reset"
        );
    }
}
