//! The figures in README: a short table of the recorded results.

use crate::format::number;
use crate::results::{Section, Table};
use usdt_e2e::replace_between;

const BEGIN: &str = "<!-- bench summary -->\n";
const END: &str = "<!-- /bench summary -->";

/// How a figure is computed from a row.
enum Figure {
    /// The median, with a unit.
    Median(&'static str),
    /// The difference to the first row of the table, with a unit.
    Added(&'static str),
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
    /// A row for comparison, with its name in README.
    compared_with: Option<(&'static str, &'static str)>,
}

const LINES: [Line; 6] = [
    Line {
        label: "disabled probe",
        section: "off",
        table: "Disabled probe",
        row: "disabled probe, three arguments, one a string",
        column: 0,
        figure: Figure::Added("ns"),
        compared_with: Some(("cgo and `sdt.h`", "`sdt.h` probe through cgo")),
    },
    Line {
        label: "hit, counted in the kernel",
        section: "on",
        table: "Cost per hit, by tracer",
        row: "`usdt-attach count`",
        column: 0,
        figure: Figure::Median("ns"),
        compared_with: Some(("bpftrace", "bpftrace, count")),
    },
    Line {
        label: "hit, three arguments recorded",
        section: "on",
        table: "Cost per hit, by tracer",
        row: "`usdt-attach trace`",
        column: 0,
        figure: Figure::Median("ns"),
        compared_with: Some(("bpftrace", "bpftrace, printf of all arguments")),
    },
    Line {
        label: "start to first event",
        section: "attacher",
        table: "Start to first event",
        row: "`usdt-attach trace`",
        column: 0,
        figure: Figure::Median("ms"),
        compared_with: Some(("bpftrace", "bpftrace")),
    },
    Line {
        label: "attach to 100 sites and detach",
        section: "attacher",
        table: "Attaching and detaching, by sites",
        row: "usdt-attach, 100 sites",
        column: 0,
        figure: Figure::Median("ms"),
        compared_with: Some(("bpftrace", "bpftrace, 100 sites")),
    },
    Line {
        label: "CPU per request, each request traced",
        section: "service",
        table: "A small service",
        row: "probes, every request traced with arguments",
        column: 1,
        figure: Figure::AddedPercent,
        compared_with: Some(("OpenTelemetry SDK", "OpenTelemetry SDK, one span per request")),
    },
];

/// Replaces the table between the markers of README.
pub(crate) fn insert(readme: &str, all: &[Section]) -> Result<String, String> {
    let mut table = "| | this project | for comparison |\n| --- | --- | --- |\n".to_owned();
    for line in &LINES {
        let figure = line.figure(all, line.row)?;
        let comparison = match line.compared_with {
            Some((name, row)) => format!("{name}: {}", line.figure(all, row)?),
            None => String::new(),
        };
        table += &format!("| {} | {figure} | {comparison} |\n", line.label);
    }
    replace_between(readme, BEGIN, END, &table).ok_or_else(|| {
        let missing = if readme.contains(BEGIN) { "end marker" } else { "bench markers" };
        format!("README.md has no {missing}")
    })
}

impl Line {
    fn figure(&self, all: &[Section], row: &str) -> Result<String, String> {
        let missing = || format!("no result `{row}` in `{}` of `{}`", self.table, self.section);
        let section = all.iter().find(|section| section.name == self.section);
        let table = section.and_then(|s| s.tables.iter().find(|table| table.title == self.table));
        let table: &Table = table.ok_or_else(missing)?;
        let index = table.rows.iter().position(|known| known.name == row).ok_or_else(missing)?;
        let median = |index| table.cell(index, self.column).map(|cell| cell.median);
        let value = median(index).ok_or_else(missing)?;
        Ok(match self.figure {
            Figure::Median(unit) => format!("{} {unit}", number(value, 3)),
            Figure::Added(unit) => {
                let first = median(0).ok_or_else(missing)?;
                format!("+{} {unit}", number(value - first, 2))
            }
            Figure::AddedPercent => {
                let ratio = table.ratio(index, self.column).ok_or_else(missing)?.median;
                format!("{:+.0} %", 100.0 * (ratio - 1.0))
            }
        })
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
