//! Exports what probes report: metrics for Prometheus, metrics and spans for OpenTelemetry collectors.
//!
//! `config` says what to export and from whom; `job` carries out one entry of it; `metric` and `span` are the results, which
//! `prometheus` and `otlp` encode. An [`Exporter`] runs until it is told to stop: it follows its target, attaches to new files
//! and detaches from those that no process runs any more.

pub mod config;
mod exporter;
mod job;
pub mod metric;
pub mod otlp;
pub mod pairs;
pub mod prometheus;
mod prometheus_proto;
mod self_metrics;
pub mod span;
pub mod time;

pub use exporter::{Exporter, Message, Settings};
