//! Tables and bars for a terminal.

use super::text::show;
use cli_common::escape;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;
use usdt_attach::event::counts::{Histogram, Row, Total};
use usdt_attach::plan::Buckets;

const BOLD: &str = "\x1b[1m";
const CYAN: &str = "\x1b[36m";
const RESET: &str = "\x1b[0m";

/// How a table looks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// With colors.
    pub color: bool,
    /// Columns of the terminal.
    pub width: usize,
    /// What values are measured in.
    pub unit: Option<&'static str>,
    /// Most rows.
    pub top: usize,
}

/// The rows of a table. `before` has the counts of an earlier one, so long ago: rates are shown then.
pub(crate) fn table(rows: &[Row], before: Option<(&[Row], Duration)>, style: Style) -> String {
    let mut out = String::new();
    let histograms = rows.iter().any(|r| matches!(r.total, Total::Histogram(_)));
    if !histograms && !rows.is_empty() {
        let rate = if before.is_some() { "      PER SEC" } else { "" };
        let _ = writeln!(out, "       COUNT{rate}  PROBE");
    }
    // Not a number is not itself, but the same key.
    let id = |row: &Row| format!("{:?}{:?}", row.probe, row.labels);
    let earlier: HashMap<String, u64> =
        before.iter().flat_map(|(rows, _)| *rows).map(|r| (id(r), r.total.count())).collect();
    let rate = |row: &Row| {
        let (_, ago) = before?;
        let new = row.total.count().saturating_sub(earlier.get(&id(row)).copied().unwrap_or(0));
        Some(new as f64 / ago.as_secs_f64().max(1e-9))
    };
    for row in rows.iter().take(style.top) {
        match &row.total {
            Total::Count(count) => {
                let _ = write!(out, "{count:>12}");
                if let Some(rate) = rate(row) {
                    let _ = write!(out, "  {rate:>11.1}");
                }
                out.push_str("  ");
                name(&mut out, row, style.color);
                out.push('\n');
            }
            Total::Histogram(histogram) => {
                name(&mut out, row, style.color);
                out.push('\n');
                bars(&mut out, histogram, style);
            }
        }
    }
    let more = rows.len().saturating_sub(style.top);
    if more > 0 {
        let _ = writeln!(out, "... and {more} more");
    }
    out
}

fn name(out: &mut String, row: &Row, color: bool) {
    let (bold, cyan, reset) = if color { (BOLD, CYAN, RESET) } else { ("", "", "") };
    let probe = format!("{}:{}", row.probe.provider, row.probe.name);
    let _ = write!(out, "{bold}{}{reset}", escape(probe.as_bytes()));
    for (name, value) in &row.labels {
        let _ = write!(out, " {cyan}{}{reset}=", escape(name.as_bytes()));
        show(out, value.value());
    }
}

/// A line for each bucket between the first and the last that has values, and one for the whole.
pub(crate) fn bars(out: &mut String, histogram: &Histogram, style: Style) {
    const BEFORE: usize = 38;
    let ns = style.unit == Some("ns");
    let room = style.width.saturating_sub(BEFORE).clamp(10, 60);
    let most = histogram.counts.iter().copied().max().unwrap_or(0).max(1);
    let used = |i: &usize| histogram.counts.get(*i).is_some_and(|n| *n > 0);
    let indices = 0..histogram.counts.len();
    let (Some(first), Some(last)) = (indices.clone().find(used), indices.rev().find(used)) else {
        return;
    };
    for index in first..=last {
        let count = histogram.counts.get(index).copied().unwrap_or(0);
        let length = (count as f64 / most as f64 * room as f64).round() as usize;
        let label = bounds(histogram.buckets, index, ns);
        let _ = writeln!(out, "  {label:<22}{count:>10} |{:<room$}|", "@".repeat(length));
    }
    let number = |n: i128| if ns { time(n) } else { n.to_string() };
    let count = histogram.count();
    let average = histogram.sum as f64 / count.max(1) as f64;
    let average = if ns { time(average as i128) } else { format!("{average:.1}") };
    let _ = writeln!(
        out,
        "  {count} values, min {}, avg {average}, p50 <= {}, p99 <= {}, max {}",
        number(histogram.min),
        number(histogram.quantile(0.5)),
        number(histogram.quantile(0.99)),
        number(histogram.max)
    );
}

/// `[4, 8)`, `[-7, -3)`, `(.., 10)`, `[90, ..)`: the upper bound is the next bucket's lower one.
fn bounds(buckets: Buckets, index: usize, ns: bool) -> String {
    let number = |n: i128| if ns { time(n) } else { short(n) };
    match buckets.bounds(index) {
        (Some(low), Some(high)) if low == high => number(low),
        (Some(low), Some(high)) => format!("[{}, {})", number(low), number(high + 1)),
        (None, Some(high)) => format!("(.., {})", number(high + 1)),
        (Some(low), None) => format!("[{}, ..)", number(low)),
        (None, None) => String::new(),
    }
}

/// Powers of two with their letters: `4K` is 4096.
fn short(n: i128) -> String {
    let letters = [
        (1i128 << 60, "E"),
        (1 << 50, "P"),
        (1 << 40, "T"),
        (1 << 30, "G"),
        (1 << 20, "M"),
        (1 << 10, "K"),
    ];
    for (size, letter) in letters {
        if n != 0 && n % size == 0 {
            return format!("{}{letter}", n / size);
        }
    }
    n.to_string()
}

/// Nanoseconds as a person reads them: three digits and a unit.
pub(crate) fn time(ns: i128) -> String {
    let n = ns as f64;
    let (value, unit) = match n.abs() {
        n if n < 1e3 => return format!("{ns}ns"),
        a if a < 1e6 => (n / 1e3, "us"),
        a if a < 1e9 => (n / 1e6, "ms"),
        _ => (n / 1e9, "s"),
    };
    let digits = if value.abs() < 10.0 { 2 } else { usize::from(value.abs() < 100.0) };
    format!("{value:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use usdt_attach::event::counts::LabelValue;
    use usdt_attach::plan::PlannedProbe;

    fn style() -> Style {
        Style { color: false, width: 80, unit: None, top: 10 }
    }

    fn row(name: &str, key: LabelValue, total: Total) -> Row {
        let probe = PlannedProbe { provider: "app".into(), name: name.into() };
        Row { probe, labels: vec![("m".into(), key)], total }
    }

    #[test]
    fn counts_and_rates() {
        let now = [
            row("hit", LabelValue::String(b"GET\x1b".to_vec(), false), Total::Count(30)),
            row("hit", LabelValue::Nil, Total::Count(4)),
        ];
        let before = [row("hit", LabelValue::Nil, Total::Count(2))];
        assert_eq!(
            table(&now, Some((&before, Duration::from_secs(2))), style()),
            "       COUNT      PER SEC  PROBE\n          30         15.0  app:hit m=\"GET\\u{1b}\"\n           4          1.0  app:hit m=nil\n"
        );
        let one = Style { top: 1, ..style() };
        assert!(table(&now, None, one).ends_with("\"\n... and 1 more\n"));
    }

    #[test]
    fn bars_fit_the_terminal() {
        let buckets = Buckets::Log2 { signed: false };
        let mut counts = vec![0; buckets.count()];
        (counts[3], counts[5]) = (10, 5);
        let histogram = Histogram { buckets, counts, sum: 150, min: 4, max: 31 };
        let text = table(
            &[row("hit", LabelValue::Unsigned(1), Total::Histogram(histogram))],
            None,
            style(),
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "app:hit m=1");
        assert_eq!(lines[1], format!("  [4, 8)                        10 |{}|", "@".repeat(42)));
        assert!(lines[2].starts_with("  [8, 16)                        0 |   "));
        assert_eq!(lines[4], "  15 values, min 4, avg 10.0, p50 <= 7, p99 <= 31, max 31");
        assert!(lines.iter().all(|l| l.len() <= 80), "{text}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [short(0), short(1000), short(4096), short(-8192), short(1 << 62)],
            ["0", "1000", "4K", "-8K", "4E"]
        );
        assert_eq!(
            [time(0), time(999), time(1024), time(65536), time(-1_500_000), time(2_000_000_000)],
            ["0ns", "999ns", "1.02us", "65.5us", "-1.50ms", "2.00s"]
        );
    }
}
