//! The command line of `usdt-attach`: commands, terminal and file formats, checks of this machine, the view of Go runtimes.

mod checks;
pub mod commands;
mod exit_code;
mod goview;
pub mod output;
mod overhead;
mod run_loop;
mod signals;
