//! Static probes for Go from DTrace provider definitions.
//!
//! [`dlang`] reads a definition into a [`model::Model`]; [`golang`] writes the Go package; [`seal`] turns the
//! blobs that package leaves in a binary into the sections tracers look for; [`toolexec`] does so inside
//! `go build`. [`docgen`] and [`model::interface_diff`] work from the interface alone, a definition's or a
//! binary's. Nothing here prints or exits: the command line ([`cli`]) is one more caller.

pub mod atomic_write;
pub mod cli;
pub mod dlang;
pub mod docgen;
pub mod golang;
pub mod model;
pub mod overlay;
pub mod seal;
pub mod toolexec;
pub mod verify;
