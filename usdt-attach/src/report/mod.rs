//! Events and probes for people ([`text`]) and for programs ([`json`]).

pub mod json;
pub mod overview;
pub mod table;
pub mod text;
