//! The command line of `usdt-attach`: its commands, the output formats, the checks of `doctor` and
//! the view of Go runtimes.
//!
//! The library traces; this crate parses arguments, prints results and maps errors to exit codes.

mod checks;
pub mod commands;
mod drop_messages;
mod exit_code;
mod file_checks;
mod goview;
mod hit_costs;
pub mod output;
mod overhead;
mod privileges;
mod run_loop;
mod signals;
