//! What is kept of a run: `docs/benchmarks.json`.

use crate::median::Median;
use crate::median::{median_of, ratios};
use serde::{Deserialize, Serialize};

/// Tables by their section.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Section {
    /// The part of the command.
    pub(crate) name: String,
    pub(crate) machine: String,
    pub(crate) tables: Vec<Table>,
}

/// Benchmarks measured by turns.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// How it was measured.
    pub(crate) how: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
    /// The row that the others are compared with.
    pub(crate) base: Option<usize>,
    pub(crate) plot: Plot,
}

/// A quantity.
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

/// A benchmark.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// How much of what it had to do, where that is what the table is about.
    pub(crate) size: Option<f64>,
    /// Values of each column, by rounds.
    pub(crate) samples: Vec<Vec<f64>>,
}

/// How the first column is drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Plot {
    #[default]
    None,
    /// A bar for each row.
    Bars,
    /// A line for each name, over sizes of this.
    Lines(String),
}

impl Table {
    /// A quantity of a row.
    pub(crate) fn cell(&self, row: usize, column: usize) -> Option<Median> {
        median_of(self.rows.get(row)?.samples.get(column)?)
    }

    /// The same by the row that it is compared with.
    pub(crate) fn ratio(&self, row: usize, column: usize) -> Option<Median> {
        let base = self.base.filter(|base| *base != row)?;
        let of = |row: usize| self.rows.get(row)?.samples.get(column);
        median_of(&ratios(of(row)?, of(base)?))
    }
}
