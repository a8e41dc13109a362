//! The spans of the exporter: queueing those that have ended, and sending them.

use super::Exporter;
use crate::job::Job;
use crate::otlp;
use crate::owner::Owner;
use crate::owners::Owners;
use crate::span::Span;
use std::sync::Arc;
use usdt_attach::error::Result;

impl Exporter<'_> {
    /// Drains events and queues the spans that they end. Returns whether there were events.
    pub(super) fn drain(&mut self) -> Result<bool> {
        let max_queued = self.settings.config.limits.queue;
        let mut had_events = false;
        self.owners.begin_round_for_spans();
        for job in &mut self.jobs {
            let Some(before) = job.pairing.as_ref().map(|p| p.counts().complete) else { continue };
            let (queue, discarded, owners) =
                (&mut self.span_queue, &mut self.discarded_spans, &mut self.owners);
            let more = job.drain(|span| queue_span(span, queue, max_queued, discarded, owners))?;
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
            let (queue, discarded, owners) =
                (&mut self.span_queue, &mut self.discarded_spans, &mut self.owners);
            job.discard_processes(&is_alive, |span| {
                queue_span(span, queue, max_queued, discarded, owners);
            });
        }
    }

    /// Stops jobs, and queues their last spans.
    pub(super) fn finish_spans(&mut self, jobs: &mut [Job]) -> Result<()> {
        Job::stop_all(jobs);
        let max_queued = self.settings.config.limits.queue;
        for job in jobs {
            let (queue, discarded, owners) =
                (&mut self.span_queue, &mut self.discarded_spans, &mut self.owners);
            let mut on_span = |span| queue_span(span, queue, max_queued, discarded, owners);
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
        for batch in std::mem::take(&mut self.span_queue).chunks(otlp::MAX_BATCH) {
            sender.send_spans(otlp::spans(batch, &otlp.resource), batch.len());
        }
    }
}

/// Queues a span to be sent, or discards it if the queue is full.
fn queue_span(
    span: Span,
    queue: &mut Vec<(Arc<Owner>, Span)>,
    max_queued: usize,
    discarded: &mut u64,
    owners: &mut Owners,
) {
    if queue.len() < max_queued {
        // If the process has ended unseen, the name of its thread has to do.
        let fallback = || Owner::of_file(span.comm.as_ref());
        queue.push((owners.owner_or_else(span.pid, fallback), span));
    } else {
        *discarded += 1;
    }
}
