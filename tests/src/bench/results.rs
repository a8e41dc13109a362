//! What is kept of a run: `docs/benchmarks.json`.

use super::sample::Middle;
use super::sample::{middle, ratios};
use serde::{Deserialize, Serialize};

/// Tables by their section.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Section {
    /// The part of the command.
    pub(super) name: String,
    pub(super) machine: String,
    pub(super) tables: Vec<Table>,
}

/// Contestants measured by turns.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Table {
    pub(super) title: String,
    /// How it was measured.
    pub(super) how: String,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
    /// The row that the others are compared with.
    pub(super) base: Option<usize>,
    pub(super) plot: Plot,
}

/// A quantity.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) unit: String,
}

impl Column {
    pub(super) fn new(name: &str, unit: &str) -> Column {
        Column { name: name.to_owned(), unit: unit.to_owned() }
    }
}

/// A contestant.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) name: String,
    /// How much of what it had to do, where that is what the table is about.
    pub(super) size: Option<f64>,
    /// Values of each column, by rounds.
    pub(super) samples: Vec<Vec<f64>>,
}

/// How the first column is drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Plot {
    #[default]
    None,
    /// A bar for each row.
    Bars,
    /// A line for each name, over sizes of this.
    Lines(String),
}

impl Table {
    /// A quantity of a row.
    pub(super) fn cell(&self, row: usize, column: usize) -> Option<Middle> {
        middle(self.rows.get(row)?.samples.get(column)?)
    }

    /// The same by the row that it is compared with.
    pub(super) fn ratio(&self, row: usize, column: usize) -> Option<Middle> {
        let base = self.base.filter(|base| *base != row)?;
        let of = |row: usize| self.rows.get(row)?.samples.get(column);
        middle(&ratios(of(row)?, of(base)?))
    }
}
