//! The spans of the exporter: queueing those that have ended, and sending them.

use super::Exporter;
use crate::job::Job;
use crate::otlp;
use crate::span::Span;
use std::collections::HashMap;
use usdt_attach::error::Result;

impl Exporter<'_> {
    /// Drains events and queues the spans that they end. Returns whether there were events.
    pub(super) fn drain(&mut self) -> Result<bool> {
        let max_queued = self.settings.config.limits.queue;
        let mut had_events = false;
        for job in &mut self.jobs {
            let Some(before) = job.pairing.as_ref().map(|p| p.counts().complete) else { continue };
            let (queue, discarded, services) =
                (&mut self.span_queue, &mut self.discarded_spans, &mut self.services);
            let more =
                job.drain(|span| queue_span(span, queue, max_queued, discarded, services))?;
            had_events |=
                more || job.pairing.as_ref().is_some_and(|p| p.counts().complete > before);
        }
        Ok(had_events)
    }

    /// Gives up the open spans of processes that have ended, and queues those that other spans name
    /// as their parent.
    pub(super) fn discard_processes(&mut self, is_alive: impl Fn(u32) -> bool) {
        let max_queued = self.settings.config.limits.queue;
        for job in &mut self.jobs {
            let (queue, discarded, services) =
                (&mut self.span_queue, &mut self.discarded_spans, &mut self.services);
            job.discard_processes(&is_alive, |span| {
                queue_span(span, queue, max_queued, discarded, services);
            });
        }
    }

    /// Queues the spans of jobs that have been stopped.
    pub(super) fn finish_spans(&mut self, jobs: &mut [Job]) -> Result<()> {
        let max_queued = self.settings.config.limits.queue;
        for job in jobs {
            let (queue, discarded, services) =
                (&mut self.span_queue, &mut self.discarded_spans, &mut self.services);
            let mut on_span = |span| queue_span(span, queue, max_queued, discarded, services);
            while job.drain(&mut on_span)? {}
            job.discard_processes(|_| false, on_span);
        }
        Ok(())
    }

    /// Sends the queued spans.
    pub(super) fn send_spans(&mut self) {
        let (Some(sender), Some(otlp)) = (&self.otlp_sender, &self.settings.config.otlp) else {
            return;
        };
        let services = &self.services;
        // The name that the OpenTelemetry specification defines for an unknown service.
        let service_name =
            |pid: u32| services.get(&pid).cloned().unwrap_or_else(|| "unknown_service".to_owned());
        for batch in std::mem::take(&mut self.span_queue).chunks(otlp::MAX_BATCH) {
            sender.send_spans(otlp::spans(batch, &otlp.resource, service_name), batch.len());
        }
    }
}

/// Queues a span to be sent, or discards it if the queue is full.
fn queue_span(
    span: Span,
    queue: &mut Vec<Span>,
    max_queued: usize,
    discarded: &mut u64,
    services: &mut HashMap<u32, String>,
) {
    // If the process has ended, the name of its thread has to do.
    services
        .entry(span.pid)
        .or_insert_with(|| program_name(span.pid).unwrap_or_else(|| span.comm.clone()));
    if queue.len() < max_queued {
        queue.push(span);
    } else {
        *discarded += 1;
    }
}

/// The file name of a process's executable; `None` if the process has ended.
fn program_name(pid: u32) -> Option<String> {
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    Some(exe.file_name()?.to_string_lossy().trim_end_matches(" (deleted)").to_owned())
}
