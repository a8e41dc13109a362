//! Events and probes for people (`text`, `table`) and for programs (`json`, `csv`, `chrome`).

pub(crate) mod chrome;
pub(crate) mod csv;
pub mod json;
pub(crate) mod progress;
pub(crate) mod sink;
pub(crate) mod table;
pub mod text;
