//! The client of an OpenTelemetry collector: OTLP over HTTP in its JSON encoding.
//!
//! The collector is untrusted: its answers are limited in size, it cannot redirect requests, and it
//! delays neither the exporter's loop nor its end.

pub(crate) mod answer;
mod client;
mod encode;
mod queue;

pub(crate) use client::{RequestCounts, Sender};
pub(crate) use encode::{Period, metrics, spans};

/// The maximum number of spans in a request.
pub(crate) const MAX_BATCH: usize = 512;
