//! The implementation of the `usdt-gen` command: static probes (USDT) for Go.
//!
//! `usdt-gen` is a command-line tool. This library exists for its `main` function, the tests and
//! the fuzz targets of this repository; its API is not stable.
//!
//! * [`cli`] is the command line. The other modules do not print and do not exit.
//! * [`dlang`] parses a DTrace provider definition into a [`model::Model`], and formats
//!   definitions.
//! * [`golang`] generates the Go package of a model. The package puts a description of each probe,
//!   a *blob*, into the binaries that use it.
//! * [`seal`] turns the blobs of a binary into the ELF sections that tracers read. `toolexec` does
//!   so within `go build`.
//! * [`verify`] reports which tracers accept the probes of a binary.
//! * `overlay` adds probes to the Go runtime and standard library of a stock toolchain.
//! * `inject` adds probes to the functions of any package during its compilation.
//! * `packages` holds the ready-made Go packages, and writes them for the module of a user.
//! * `language_server` answers editors.
//! * `docgen` and `interface_diff` document and compare the probe interfaces of definitions and
//!   binaries.
// Files of other users are never mapped, which would be `unsafe`: a truncated one would end this
// process.
#![forbid(unsafe_code)]

pub(crate) mod cache;
pub mod cli;
pub mod dlang;
pub(crate) mod docgen;
pub mod golang;
pub(crate) mod inject;
pub(crate) mod language_server;
pub mod model;
pub(crate) mod overlay;
pub(crate) mod packages;
pub(crate) mod program_file;
pub mod seal;
pub(crate) mod toolexec;
pub mod verify;
