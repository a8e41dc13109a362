//! The recorded results: `docs/benchmarks.json`.

use crate::median::Median;
use crate::median::{median_of, ratios};
use serde::{Deserialize, Serialize};

/// The tables of a part, measured on one machine. There is one section per part and processor; the
/// first one of a part is its reference, which the page shows in full.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Section {
    /// Name of the part that measures it.
    pub(crate) name: String,
    /// What the figures depend on. Begins with the processor, up to a comma.
    pub(crate) machine: String,
    pub(crate) tables: Vec<Table>,
}

impl Section {
    /// Returns the name of the processor, such as `Intel Xeon`.
    pub(crate) fn processor(&self) -> String {
        let model = self.machine.split(',').next().unwrap_or_default();
        let model = model.replace("(R)", "").replace("(TM)", "");
        let model = model.split(" CPU").next().unwrap_or_default();
        model.trim().trim_end_matches(" Processor").to_owned()
    }

    /// Returns true if a new measurement of `other` replaces this section.
    fn is_measured_again_by(&self, other: &Section) -> bool {
        self.name == other.name && self.processor() == other.processor()
    }
}

/// Adds a section. It replaces that of the same part and processor.
pub(crate) fn record(all: &mut Vec<Section>, measured: Section) {
    if let Some(known) = all.iter_mut().find(|known| known.is_measured_again_by(&measured)) {
        *known = measured;
        return;
    }
    let last = all.iter().rposition(|known| known.name == measured.name);
    all.insert(last.map_or(all.len(), |last| last + 1), measured);
}

/// Returns the reference section of each part.
pub(crate) fn references(all: &[Section]) -> impl Iterator<Item = &Section> {
    let is_first = |(index, section): &(usize, &Section)| {
        all.iter().position(|known| known.name == section.name) == Some(*index)
    };
    all.iter().enumerate().filter(is_first).map(|(_, section)| section)
}

/// Benchmarks that were measured in turn.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// How it was measured, in one or more sentences.
    pub(crate) how: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
    /// Index of the row that the others are compared with.
    pub(crate) base: Option<usize>,
    pub(crate) plot: Plot,
}

/// A measured quantity.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) unit: String,
}

impl Column {
    pub(crate) fn new(name: &str, unit: &str) -> Column {
        Column { name: name.to_owned(), unit: unit.to_owned() }
    }
}

/// A benchmark and its samples.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Position on the x axis of a line plot.
    pub(crate) size: Option<f64>,
    /// Samples of each column, in the order of the rounds.
    pub(crate) samples: Vec<Vec<f64>>,
}

/// How the first column is drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Plot {
    #[default]
    None,
    /// A bar for each row.
    Bars,
    /// A line for each series, with this label on the x axis. A series is the row name up to the
    /// first comma.
    Lines(String),
}

impl Table {
    /// Returns the median of a cell.
    pub(crate) fn cell(&self, row: usize, column: usize) -> Option<Median> {
        median_of(self.rows.get(row)?.samples.get(column)?)
    }

    /// Returns the ratio of a cell to the base row; `None` for the base row.
    pub(crate) fn ratio(&self, row: usize, column: usize) -> Option<Median> {
        let base = self.base.filter(|base| *base != row)?;
        let samples = |row: usize| self.rows.get(row)?.samples.get(column);
        median_of(&ratios(samples(row)?, samples(base)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(name: &str, machine: &str) -> Section {
        Section { name: name.to_owned(), machine: machine.to_owned(), tables: Vec::new() }
    }

    #[test]
    fn a_processor_has_a_short_name() {
        for (machine, expected) in [
            ("AMD EPYC, 2 cores", "AMD EPYC"),
            ("Intel(R) Xeon(R) Processor, 2 cores", "Intel Xeon"),
            ("Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz, 6 cores", "Intel Core i7-8700"),
        ] {
            assert_eq!(section("off", machine).processor(), expected);
        }
    }

    #[test]
    fn results_are_kept_per_processor() {
        let mut all = vec![section("off", "A, 1"), section("on", "A, 1")];
        record(&mut all, section("off", "B, 1"));
        record(&mut all, section("off", "A, 2"));
        record(&mut all, section("agent", "B, 1"));
        let all_names = all.iter().map(|s| format!("{} {}", s.name, s.machine));
        assert_eq!(
            all_names.collect::<Vec<_>>(),
            ["off A, 2", "off B, 1", "on A, 1", "agent B, 1"]
        );
        let references = references(&all).map(|s| format!("{} {}", s.name, s.machine));
        assert_eq!(references.collect::<Vec<_>>(), ["off A, 2", "on A, 1", "agent B, 1"]);
    }
}
