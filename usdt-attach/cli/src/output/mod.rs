//! Events and probes for people ([`text`]) and for programs ([`json`], [`csv`], [`chrome`]).

pub mod chrome;
pub mod csv;
pub mod json;
pub mod overview;
pub mod table;
pub mod text;
