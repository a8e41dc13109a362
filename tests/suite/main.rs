//! End-to-end tests: Go programs built by the real toolchain and traced on the real kernel.
//!
//! Other tracers (bpftrace, perf, gdb, bcc, libbpf, SystemTap) read the same binaries as a
//! cross-check.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod added_packages;
mod aggregation;
mod arguments;
mod backends;
mod bcc_helper;
mod bcc_programs;
mod builds;
mod c_probes;
mod children;
mod consumers;
mod cost;
mod definition_commands;
mod definitions;
mod discovery;
mod doc_comments;
mod docs;
mod errors;
mod export;
mod function_values;
mod generated_code;
mod go_runtime;
mod hostile_files;
mod instruction_counts;
mod known_providers;
mod library;
mod loaded_libraries;
mod malformed_files;
mod nested_calls;
mod operands;
mod other_architectures;
mod overlay_mounts;
mod packages;
mod pid_namespaces;
mod preemption;
mod process_following;
mod process_states;
mod resource_limits;
mod safe_files;
mod sandbox;
mod sealing;
mod session;
mod site_nops;
mod targets;
mod terminal_escapes;
mod third_party_probes;
mod third_party_values;
mod trace;
mod verification;
