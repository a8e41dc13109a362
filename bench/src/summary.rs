//! The headline figures: a short table of the recorded results, for README and by processor.

use crate::format::number;
use crate::results::{Section, Table};
use std::fmt::Write as _;
use usdt_e2e::replace_between;

/// How a figure is computed from a row.
enum Figure {
    /// The median, with a unit after a space.
    Median(&'static str),
    /// The ratio to the base row, as a difference in percent.
    AddedPercent,
}

/// A line of the table.
struct Line {
    label: &'static str,
    section: &'static str,
    table: &'static str,
    row: &'static str,
    /// Index of the column.
    column: usize,
    figure: Figure,
    /// The name of what it is compared with, and its row.
    compared_with: (&'static str, &'static str),
}

const LINES: [Line; 6] = [
    Line {
        label: "loop with a disabled probe, per iteration",
        section: "off",
        table: "Disabled probe",
        row: "disabled probe, three arguments, one a string",
        column: 0,
        figure: Figure::Median(" ns"),
        compared_with: ("cgo and `sdt.h`", "`sdt.h` probe through cgo"),
    },
    Line {
        label: "hit, counted in the kernel",
        section: "on",
        table: "Cost per hit, by tracer",
        row: "`usdt-attach count`",
        column: 0,
        figure: Figure::Median(" ns"),
        compared_with: ("bpftrace", "bpftrace, count"),
    },
    Line {
        label: "hit, three arguments recorded",
        section: "on",
        table: "Cost per hit, by tracer",
        row: "`usdt-attach trace`",
        column: 0,
        figure: Figure::Median(" ns"),
        compared_with: ("bpftrace", "bpftrace, printf of all arguments"),
    },
    Line {
        label: "start to first event",
        section: "attacher",
        table: "Start to first event",
        row: "`usdt-attach trace`",
        column: 0,
        figure: Figure::Median(" ms"),
        compared_with: ("bpftrace", "bpftrace"),
    },
    Line {
        label: "attach to 100 sites and detach",
        section: "attacher",
        table: "Attaching and detaching, by sites",
        row: "usdt-attach, 100 sites",
        column: 0,
        figure: Figure::Median(" ms"),
        compared_with: ("bpftrace", "bpftrace, 100 sites"),
    },
    Line {
        label: "CPU per request, each request traced",
        section: "service",
        table: "A small service",
        row: "probes, every request traced with arguments",
        column: 1,
        figure: Figure::AddedPercent,
        compared_with: ("OpenTelemetry SDK", "OpenTelemetry SDK, one span per request"),
    },
];

/// A figure of this project and of what it is compared with, on one processor.
#[derive(Clone, Copy)]
struct Values {
    own: f64,
    other: f64,
}

/// Replaces the table between the markers of README: each figure with its range over processors.
pub(crate) fn insert(readme: &str, all: &[Section]) -> Result<String, String> {
    let mut block = "| | this project | for comparison |\n| --- | --- | --- |\n".to_owned();
    for line in &LINES {
        let values: Vec<Values> =
            processors(all).iter().filter_map(|name| line.values(all, name)).collect();
        if values.is_empty() {
            return Err(line.missing());
        }
        let own = range(values.iter().map(|values| values.own), |value| line.number(value));
        let own = own + line.unit();
        let other = range(values.iter().map(|values| line.relative(*values)), |value| {
            line.relative_number(value)
        });
        let other = format!("{}: {other}{}", line.compared_with.0, line.relative_unit());
        let _ = writeln!(block, "| {} | {own} | {other} |", line.label);
    }
    let _ = write!(
        block,
        "\nThese are medians; ranges are over {}.\nA × is the ratio to this project's figure.\n",
        processors(all).join(" and ")
    );
    replace(readme, "summary", "README.md", &block)
}

/// Replaces the table between the markers of the page: each figure by processor.
pub(crate) fn insert_processors(page: &str, all: &[Section]) -> Result<String, String> {
    let processors = processors(all);
    let mut block = format!("| | {} |\n", processors.join(" | "));
    let _ = writeln!(block, "| ---{} |", " | ---".repeat(processors.len()));
    for line in &LINES {
        let _ = write!(block, "| {}; {}", line.label, line.compared_with.0);
        for processor in &processors {
            let cell = line.values(all, processor).map_or_else(
                || "–".to_owned(),
                |values| {
                    let relative = line.relative_number(line.relative(values));
                    let (own, unit) = (line.number(values.own), line.unit());
                    format!("{own}{unit}; {relative}{}", line.relative_unit())
                },
            );
            let _ = write!(block, " | {cell}");
        }
        block.push_str(" |\n");
    }
    replace(page, "processors", "docs/benchmarks.md", &block)
}

fn replace(page: &str, marker: &str, name: &str, block: &str) -> Result<String, String> {
    let [begin, end] = [format!("<!-- bench {marker} -->\n"), format!("<!-- /bench {marker} -->")];
    replace_between(page, &begin, &end, block)
        .ok_or_else(|| format!("{name} has no markers `bench {marker}`"))
}

/// Returns the processors of all results, that of the first section first.
fn processors(all: &[Section]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in all.iter().map(Section::processor) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Formats the least and the greatest value, or one of them if they look the same.
fn range(values: impl Iterator<Item = f64> + Clone, format: impl Fn(f64) -> String) -> String {
    let least = format(values.clone().fold(f64::INFINITY, f64::min));
    let greatest = format(values.fold(f64::NEG_INFINITY, f64::max));
    if least == greatest { least } else { format!("{least} to {greatest}") }
}

impl Line {
    fn missing(&self) -> String {
        format!("no result `{}` in `{}` of `{}`", self.row, self.table, self.section)
    }

    /// Returns the figures on a processor; `None` if they have not been measured there.
    fn values(&self, all: &[Section], processor: &str) -> Option<Values> {
        let is_wanted =
            |section: &&Section| section.name == self.section && section.processor() == processor;
        let section = all.iter().find(is_wanted)?;
        let table = section.tables.iter().find(|table| table.title == self.table)?;
        Some(Values {
            own: self.value(table, self.row)?,
            other: self.value(table, self.compared_with.1)?,
        })
    }

    fn value(&self, table: &Table, row: &str) -> Option<f64> {
        let index = table.rows.iter().position(|known| known.name == row)?;
        let median = |index| table.cell(index, self.column).map(|cell| cell.median);
        match self.figure {
            Figure::Median(_) => median(index),
            Figure::AddedPercent => Some(100.0 * (table.ratio(index, self.column)?.median - 1.0)),
        }
    }

    fn number(&self, value: f64) -> String {
        match self.figure {
            Figure::Median(_) => number(value, 3),
            Figure::AddedPercent => format!("{value:+.0}"),
        }
    }

    fn unit(&self) -> &'static str {
        match self.figure {
            Figure::Median(unit) => unit,
            Figure::AddedPercent => " %",
        }
    }

    /// Returns the figure for comparison, as a ratio to that of this project. Percentages stay.
    fn relative(&self, values: Values) -> f64 {
        match self.figure {
            Figure::Median(_) => values.other / values.own,
            Figure::AddedPercent => values.other,
        }
    }

    fn relative_number(&self, value: f64) -> String {
        match self.figure {
            Figure::Median(_) => format!("×{}", number(value, 2)),
            Figure::AddedPercent => self.number(value),
        }
    }

    fn relative_unit(&self) -> &'static str {
        match self.figure {
            Figure::Median(_) => "",
            Figure::AddedPercent => self.unit(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::report;

    #[test]
    fn readme_and_page_show_the_recorded_figures() {
        for (path, rendered) in report::pages(&report::recorded().unwrap()).unwrap() {
            let known = std::fs::read_to_string(&path).unwrap();
            assert!(known == rendered, "{} is stale: usdt-bench --render", path.display());
        }
    }
}
