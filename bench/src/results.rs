//! The recorded results: `docs/benchmarks.json`.

use crate::median::Median;
use crate::median::{median_of, ratios};
use serde::{Deserialize, Serialize};

/// The tables of a section.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Section {
    /// Name of the part that measures it.
    pub(crate) name: String,
    pub(crate) machine: String,
    pub(crate) tables: Vec<Table>,
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
