//! End-to-end tests: Go programs built by the real toolchain, traced on the real kernel, seen by real tracers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod aggregate;
mod arguments;
mod backends;
mod bcc_helper;
mod bridge;
mod build;
mod consumers;
mod cost;
mod discovery;
mod docs;
mod emitters;
mod errors;
mod export;
mod follow;
mod foreign;
mod generate;
mod hostile;
mod instructions;
mod interface;
mod language;
mod library;
mod operands;
mod packages;
mod run;
mod seal;
mod session;
mod trace;
mod verify;
