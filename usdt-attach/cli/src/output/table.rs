//! Tables and histograms for a terminal.

use super::text::write_value;
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
    /// Whether to print color sequences.
    pub(crate) color: bool,
    /// The number of columns of the terminal.
    pub(crate) width: usize,
    /// The unit of a histogram's values as a UCUM code, such as `ns`; `None` for plain numbers.
    pub(crate) unit: Option<&'static str>,
    /// The maximum number of rows.
    pub(crate) max_rows: usize,
}

/// The rows of the table that was printed before, from which rates are computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PreviousRows<'a> {
    pub(crate) rows: &'a [Row],
    /// The time since they were printed.
    pub(crate) age: Duration,
}

/// Formats a table of counts or histograms. Counts have rates if there are `previous` rows.
pub(crate) fn table(rows: &[Row], previous: Option<PreviousRows<'_>>, style: Style) -> String {
    let mut out = String::new();
    let has_histograms = rows.iter().any(|row| matches!(row.total, Total::Histogram(_)));
    if !has_histograms && !rows.is_empty() {
        let rate = if previous.is_some() { "      PER SEC" } else { "" };
        let _ = writeln!(out, "       COUNT{rate}  PROBE");
    }
    let previous_counts: HashMap<String, u64> = previous
        .iter()
        .flat_map(|previous| previous.rows)
        .map(|row| (row_id(row), row.total.count()))
        .collect();
    for row in rows.iter().take(style.max_rows) {
        match &row.total {
            Total::Count(count) => {
                let _ = write!(out, "{count:>12}");
                if let Some(PreviousRows { age, .. }) = previous {
                    let before = previous_counts.get(&row_id(row)).copied().unwrap_or(0);
                    let new_hits = count.saturating_sub(before);
                    let rate = new_hits as f64 / age.as_secs_f64().max(1e-9);
                    let _ = write!(out, "  {rate:>11.1}");
                }
                out.push_str("  ");
                write_labels(&mut out, row, style.color);
                out.push('\n');
            }
            Total::Histogram(histogram) => {
                write_labels(&mut out, row, style.color);
                out.push('\n');
                write_histogram(&mut out, histogram, style);
            }
        }
    }
    let omitted = rows.len().saturating_sub(style.max_rows);
    if omitted > 0 {
        let _ = writeln!(out, "... and {omitted} more");
    }
    out
}

/// Identifies a row across reports. Keys are compared as text, because NaN does not equal itself.
fn row_id(row: &Row) -> String {
    format!("{:?}{:?}", row.probe, row.labels)
}

/// Writes the probe and the values that its hits are grouped by.
fn write_labels(out: &mut String, row: &Row, color: bool) {
    let (bold, cyan, reset) = if color { (BOLD, CYAN, RESET) } else { ("", "", "") };
    let probe = format!("{}:{}", row.probe.provider, row.probe.name);
    let _ = write!(out, "{bold}{}{reset}", escape(probe.as_bytes()));
    for (name, value) in &row.labels {
        let _ = write!(out, " {cyan}{}{reset}=", escape(name.as_bytes()));
        write_value(out, value.value());
    }
}

/// Writes a bar for each bucket from the first to the last that is not empty, and a summary line.
pub(crate) fn write_histogram(out: &mut String, histogram: &Histogram, style: Style) {
    /// The width of a line without its bar.
    const LABEL_COLUMNS: usize = 38;
    let unit = style.unit;
    let bar_columns = style.width.saturating_sub(LABEL_COLUMNS).clamp(10, 60);
    let max_count = histogram.counts.iter().copied().max().unwrap_or(0).max(1);
    let is_used = |count: &u64| *count > 0;
    let first = histogram.counts.iter().position(is_used);
    let last = histogram.counts.iter().rposition(is_used);
    let (Some(first), Some(last)) = (first, last) else { return };
    for index in first..=last {
        let count = histogram.counts.get(index).copied().unwrap_or(0);
        let length = (count as f64 / max_count as f64 * bar_columns as f64).round() as usize;
        let label = bucket_label(histogram.buckets, index, unit);
        let _ = writeln!(out, "  {label:<22}{count:>10} |{:<bar_columns$}|", "@".repeat(length));
    }
    let number = |n: i128| format_in_unit(n, unit).unwrap_or_else(|| n.to_string());
    let count = histogram.count();
    let average = histogram.sum as f64 / count.max(1) as f64;
    let average = format_in_unit(average as i128, unit).unwrap_or_else(|| format!("{average:.1}"));
    let _ = writeln!(
        out,
        "  {count} values, min {}, avg {average}, p50 <= {}, p99 <= {}, max {}",
        number(histogram.min),
        number(histogram.quantile(0.5)),
        number(histogram.quantile(0.99)),
        number(histogram.max)
    );
}

/// The bounds of a bucket: `[4, 8)`, `[-7, -3)`, `(.., 10)` or `[90, ..)`. The upper bound is the
/// lower bound of the next bucket.
fn bucket_label(buckets: Buckets, index: usize, unit: Option<&str>) -> String {
    let number = |n: i128| format_in_unit(n, unit).unwrap_or_else(|| format_integer(n));
    match buckets.bounds(index) {
        (Some(low), Some(high)) if low == high => number(low),
        (Some(low), Some(high)) => format!("[{}, {})", number(low), number(high + 1)),
        (None, Some(high)) => format!("(.., {})", number(high + 1)),
        (Some(low), None) => format!("[{}, ..)", number(low)),
        (None, None) => String::new(),
    }
}

/// Formats a number in a unit, given as a UCUM code; `None` without a unit.
fn format_in_unit(n: i128, unit: Option<&str>) -> Option<String> {
    let ns_per_unit = match unit? {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "By" => return Some(format_bytes(n)),
        _ => return None,
    };
    Some(format_time(n.saturating_mul(ns_per_unit)))
}

/// Formats a number of bytes with up to three significant digits and a binary prefix.
fn format_bytes(bytes: i128) -> String {
    let n = bytes as f64;
    let (value, unit) = match n.abs() {
        a if a < 1024.0 => return format!("{bytes}B"),
        a if a < 1024f64.powi(2) => (n / 1024.0, "KiB"),
        a if a < 1024f64.powi(3) => (n / 1024f64.powi(2), "MiB"),
        a if a < 1024f64.powi(4) => (n / 1024f64.powi(3), "GiB"),
        _ => (n / 1024f64.powi(4), "TiB"),
    };
    let digits = match value.abs() {
        a if a.fract() == 0.0 || a >= 100.0 => 0,
        a if a < 10.0 => 2,
        _ => 1,
    };
    format!("{value:.digits$}{unit}")
}

/// Formats an integer, multiples of powers of two with a binary prefix: `4K` is 4096.
fn format_integer(n: i128) -> String {
    let prefixes = [
        (1i128 << 60, "E"),
        (1 << 50, "P"),
        (1 << 40, "T"),
        (1 << 30, "G"),
        (1 << 20, "M"),
        (1 << 10, "K"),
    ];
    for (size, prefix) in prefixes {
        if n != 0 && n % size == 0 {
            return format!("{}{prefix}", n / size);
        }
    }
    n.to_string()
}

/// Formats a time with three significant digits and a unit from `ns` to `s`.
pub(crate) fn format_time(ns: i128) -> String {
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
        Style { color: false, width: 80, unit: None, max_rows: 10 }
    }

    fn row(name: &str, key: LabelValue, total: Total) -> Row {
        let probe = PlannedProbe { provider: "app".into(), name: name.into() };
        Row { probe, labels: vec![("m".into(), key)], total }
    }

    #[test]
    fn prints_counts_and_rates_up_to_the_maximum_of_rows() {
        let now = [
            row("hit", LabelValue::String(b"GET\x1b".to_vec(), false), Total::Count(30)),
            row("hit", LabelValue::Nil, Total::Count(4)),
        ];
        let before = [row("hit", LabelValue::Nil, Total::Count(2))];
        let previous = PreviousRows { rows: &before, age: Duration::from_secs(2) };
        assert_eq!(
            table(&now, Some(previous), style()),
            "       COUNT      PER SEC  PROBE\n          30         15.0  app:hit m=\"GET\\u{1b}\"\n           4          1.0  app:hit m=nil\n"
        );
        let one = Style { max_rows: 1, ..style() };
        assert!(table(&now, None, one).ends_with("\"\n... and 1 more\n"));
    }

    #[test]
    fn scales_bars_to_the_width_of_the_terminal() {
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
    fn formats_numbers_in_few_digits() {
        assert_eq!(
            [0, 1000, 4096, -8192, 1 << 62].map(format_integer),
            ["0", "1000", "4K", "-8K", "4E"]
        );
        assert_eq!(
            [0, 999, 1024, 65536, -1_500_000, 2_000_000_000].map(format_time),
            ["0ns", "999ns", "1.02us", "65.5us", "-1.50ms", "2.00s"]
        );
        assert_eq!(
            [0, 1023, 1024, 1536, -20_000, 1 << 20, 3 << 39].map(format_bytes),
            ["0B", "1023B", "1KiB", "1.50KiB", "-19.5KiB", "1MiB", "1.50TiB"]
        );
        assert_eq!(format_in_unit(1500, Some("us")).as_deref(), Some("1.50ms"));
        assert_eq!(format_in_unit(2, Some("s")).as_deref(), Some("2.00s"));
        assert_eq!(format_in_unit(i128::MAX, Some("s")).map(|text| text.is_empty()), Some(false));
        assert_eq!(format_in_unit(2, None), None);
    }
}
