//! Writes results: `docs/benchmarks.json`, the tables of `docs/benchmarks.md` and of README, and
//! `docs/plots`.

use crate::format::number;
use crate::harness::write;
use crate::median::{Median, spread};
use crate::plot;
use crate::results::{self, Plot, Section, Table};
use crate::summary;
use std::fmt::Write as _;
use std::path::PathBuf;
use usdt_e2e::{replace_between, root};

/// Replaces the recorded results of a part on this processor and regenerates the pages.
pub(crate) fn record(measured: Section) -> Result<(), String> {
    // The file does not exist before the first run.
    let mut all = if data().exists() { recorded()? } else { Vec::new() };
    results::record(&mut all, measured);
    let json = serde_json::to_string(&all).map_err(|e| e.to_string())?;
    // One line per benchmark keeps diffs readable.
    write(&data(), &(json.replace("{\"name\"", "\n{\"name\"") + "\n"))?;
    render(&all)
}

/// Regenerates the page and the plots from the recorded results.
pub(crate) fn render_recorded() -> Result<(), String> {
    render(&recorded()?)
}

fn data() -> PathBuf {
    root().join("docs/benchmarks.json")
}

pub(crate) fn recorded() -> Result<Vec<Section>, String> {
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", data().display());
    let json = std::fs::read(data()).map_err(|e| failed(&e))?;
    serde_json::from_slice(&json).map_err(|e| failed(&e))
}

fn render(all: &[Section]) -> Result<(), String> {
    for (path, content) in pages(all)? {
        write(&path, &content)?;
    }
    for section in results::references(all) {
        for table in &section.tables {
            if let Some(drawing) = plot::draw(table)? {
                write(&root().join("docs").join(plot_file(section, table)), &drawing)?;
            }
        }
    }
    Ok(())
}

/// Returns the pages that show results, with their new content.
pub(crate) fn pages(all: &[Section]) -> Result<[(PathBuf, String); 2], String> {
    let read = |path: PathBuf| match std::fs::read_to_string(&path) {
        Ok(content) => Ok((path, content)),
        Err(error) => Err(format!("{}: {error}", path.display())),
    };
    let (page, mut content) = read(root().join("docs/benchmarks.md"))?;
    for section in results::references(all) {
        content = insert(&content, section)?;
    }
    content = summary::insert_processors(&content, all)?;
    let (readme, summary) = read(root().join("README.md"))?;
    Ok([(page, content), (readme, summary::insert(&summary, all)?)])
}

/// Returns the path of a table's plot, relative to the page.
fn plot_file(section: &Section, table: &Table) -> String {
    let letters = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = table.title.chars().map(letters).collect();
    let name = name.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    format!("plots/{}-{name}.svg", section.name)
}

/// Inserts a section's tables between its markers.
fn insert(page: &str, section: &Section) -> Result<String, String> {
    let [begin, end] =
        [format!("<!-- bench {} -->\n", section.name), format!("<!-- /bench {} -->", section.name)];
    let mut tables = format!("`cargo xtask bench {}` on {}.\n\n", section.name, section.machine);
    for table in &section.tables {
        // One sentence per line, like the rest of the page.
        let how = table.how.replace(". ", ".\n");
        let _ = write!(tables, "### {}\n\n{how}\n\n{}\n", table.title, markdown(table));
        if table.plot != Plot::None {
            let _ = write!(tables, "![{}]({})\n\n", table.title, plot_file(section, table));
        }
    }
    replace_between(page, &begin, &end, &tables)
        .ok_or_else(|| format!("docs/benchmarks.md has no markers for {:?}", section.name))
}

/// Renders medians with their intervals. The first column also gets its spread, and every column
/// its ratio to the base row.
fn markdown(table: &Table) -> String {
    let mut out = "|".to_owned();
    let base = table.base.and_then(|base| table.rows.get(base));
    for (index, column) in table.columns.iter().enumerate() {
        let _ = write!(out, " | {}, {}", column.name, column.unit);
        if index == 0 {
            out.push_str(" | spread");
        }
        if base.is_some() {
            let _ = write!(out, " | ratio");
        }
    }
    let columns = out.matches(" | ").count();
    let _ = write!(out, " |\n| ---{} |\n", " | ---".repeat(columns));
    for (number, row) in table.rows.iter().enumerate() {
        let _ = write!(out, "| {}", row.name);
        for index in 0..table.columns.len() {
            let cell = table
                .cell(number, index)
                .map_or_else(|| "–".to_owned(), |median| format_median(median, ""));
            let _ = write!(out, " | {cell}");
            if index == 0 {
                let spread = row.samples.first().map_or(f64::NAN, |samples| spread(samples));
                let _ = write!(out, " | ±{:.0} %", 100.0 * spread);
            }
            if base.is_some() {
                let ratio = table
                    .ratio(number, index)
                    .map_or_else(String::new, |ratio| format_median(ratio, "×"));
                let _ = write!(out, " | {ratio}");
            }
        }
        out.push_str(" |\n");
    }
    let rounds =
        table.rows.iter().filter_map(|row| row.samples.first()).map(Vec::len).max().unwrap_or(0);
    let _ = write!(
        out,
        "\nMedians of {rounds} rounds, each of which measures every row once, with 95 % confidence intervals"
    );
    if let Some(base) = base {
        let _ = write!(out, "; ratios are per round, relative to “{}”", base.name);
    }
    out.push_str(".\n");
    out
}

fn format_median(value: Median, prefix: &str) -> String {
    let Median { median, low, high } = value;
    // Nearly equal values differ in their fourth digit only.
    let digits = if (0.9..1.1).contains(&median) && !prefix.is_empty() { 4 } else { 3 };
    format!("{prefix}{} ({}–{})", number(median, digits), number(low, digits), number(high, digits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Column, Row};

    fn table() -> Table {
        let row = |name: &str, samples: &[f64]| Row {
            name: name.to_owned(),
            size: None,
            samples: vec![samples.to_vec()],
        };
        Table {
            title: "A probe, off".to_owned(),
            how: "In a loop.".to_owned(),
            columns: vec![Column::new("time", "ns")],
            rows: vec![row("empty", &[1.0, 1.0, 2.0]), row("probe", &[2.0, 3.0, 4.0])],
            base: Some(0),
            plot: Plot::Bars,
        }
    }

    #[test]
    fn renders_a_table() {
        let text = markdown(&table());
        assert!(
            text.starts_with("| | time, ns | spread | ratio |\n| --- | --- | --- | --- |\n"),
            "{text}"
        );
        assert!(
            text.contains("| probe | 3.00 (2.00–4.00) | ±33 % | ×2.00 (2.00–3.00) |"),
            "{text}"
        );
        assert!(
            text.contains("Medians of 3 rounds") && text.contains("relative to “empty”"),
            "{text}"
        );
    }

    #[test]
    fn replaces_the_tables_between_the_markers() {
        let section =
            Section { name: "off".to_owned(), machine: "m".to_owned(), tables: vec![table()] };
        let page = "before\n<!-- bench off -->\nold\n<!-- /bench off -->\nafter";
        let written = insert(page, &section).unwrap();
        assert!(
            written.starts_with("before\n<!-- bench off -->\n`cargo xtask bench off` on m.\n"),
            "{written}"
        );
        assert!(written.contains("![A probe, off](plots/off-a-probe-off.svg)"), "{written}");
        assert!(
            written.ends_with("<!-- /bench off -->\nafter") && !written.contains("old"),
            "{written}"
        );
        assert_eq!(insert(&written, &section).unwrap(), written);
        assert!(insert("nothing", &section).is_err());
    }
}
