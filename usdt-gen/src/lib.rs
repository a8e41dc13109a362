//! Static probes for Go from DTrace provider definitions.
//!
//! [`dlang`] reads a definition into a [`provider::Model`]; [`golang`] writes the Go package; [`seal`] turns the
//! blobs that package leaves in a binary into the sections tracers look for; [`toolexec`] does so inside
//! `go build`. [`docgen`] and [`diff`] work from the interface alone, a definition's or a binary's. Nothing here prints or exits: the command line ([`cli`]) is one more caller.

pub mod cli;
pub mod diagnostic;
pub mod diff;
pub mod dlang;
pub mod docgen;
pub mod golang;
pub mod output;
pub mod overlay;
pub mod provider;
pub mod seal;
pub mod source;
pub mod toolexec;
pub mod verify;
