//! Exports the hits of USDT probes: metrics for Prometheus, metrics and spans for OpenTelemetry
//! collectors.
//!
//! An [`Exporter`] runs a [`config::Config`]: it attaches to the probes of its target, follows new
//! files and processes, and serves or sends the results until [`ExporterHandle::stop`] is called.
//!
//! | module | contents |
//! | --- | --- |
//! | [`config`] | the configuration: what to export, of which target, and where to |
//! | [`span`] | spans, built from pairs of events |
//! | [`call_stack`] | the calls of a goroutine or thread that are open |
//! | [`pairs`] | the probes that are the start and the end of the same work |
//! | [`time`] | parsing of durations, the current time |
//! | `job` | one entry of the configuration, with its sessions and totals |
//! | `metric` | metrics, independent of their encoding |
//! | `prometheus`, `prometheus_proto` | the encodings of metrics for Prometheus |
//! | `endpoint` | the HTTP server that Prometheus scrapes |
//! | `owner`, `owners` | the services and containers whose numbers they are |
//! | `otlp` | the client of a collector, with the encoding of its requests |
//!
//! Metrics are aggregated in the kernel and read when they are scraped or sent. Only spans need
//! events, which are drained every few milliseconds.

pub mod call_stack;
pub mod config;
mod endpoint;
mod exporter;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod heartbeat;
mod job;
mod metric;
mod otlp;
mod owner;
mod owners;
pub mod pairs;
mod prometheus;
mod prometheus_proto;
mod self_metrics;
pub mod span;
pub mod time;

pub use exporter::{CommandLine, Exporter, ExporterHandle, Requests, Settings};
