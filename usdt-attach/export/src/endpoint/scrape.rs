//! Scrapes: requests the metrics from the exporter's loop, and renders pages.
//!
//! Clients share the work. While the loop collects, further scrapes wait for the next collection,
//! which serves all of them. Collecting takes at most half of the time, so that clients that
//! scrape without a pause do not keep the loop from its other work.

use super::connections::{MIN_ANSWER_TIME, Slot, lock};
use crate::metric::Family;
use crate::{prometheus, prometheus_proto};
use bytes::Bytes;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

/// How long a scrape waits for the exporter to collect the metrics.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum number of scrapes that wait.
const MAX_WAITING: usize = 256;
/// The maximum pause after a collection.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// The size in bytes of the pages that clients may hold by reading slowly. Above it, the clients of
/// the oldest page are disconnected. One page is always possible.
const MAX_PAGE_BYTES: usize = 8 << 20;

/// Where the metrics of one scrape are sent.
pub(crate) type Responder = oneshot::Sender<Vec<Family>>;

/// Requests the metrics from the exporter's loop.
pub(crate) type Request = Box<dyn Fn(Responder) + Send>;

/// The encoding of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Protobuf,
}

impl Format {
    /// Chooses by the `Accept` header of a request.
    pub(crate) fn accepted_by(accept: Option<&str>) -> Format {
        match accept {
            Some(accept) if prometheus::prefers_protobuf(accept) => Format::Protobuf,
            _ => Format::Text,
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Text => prometheus::CONTENT_TYPE,
            Format::Protobuf => prometheus_proto::CONTENT_TYPE,
        }
    }

    fn render(self, families: &[Family]) -> Vec<u8> {
        match self {
            Format::Text => prometheus::render_text(families).into_bytes(),
            Format::Protobuf => prometheus_proto::render(families),
        }
    }
}

/// A rendered page, and the connections that receive it.
struct Page {
    rendered: Instant,
    body: Vec<u8>,
    readers: Mutex<Vec<Weak<Slot>>>,
}

impl Page {
    fn disconnect_readers(&self) {
        for slot in lock(&self.readers).iter().filter_map(Weak::upgrade) {
            slot.close();
        }
    }
}

/// Keeps a page in memory until its connection has sent it.
struct Lease(Arc<Page>);

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        &self.0.body
    }
}

/// A scrape that waits for its page.
struct Waiter {
    format: Format,
    page: oneshot::Sender<Arc<Page>>,
}

/// Requests pages, on behalf of connections.
#[derive(Clone)]
pub(crate) struct Scraper(mpsc::Sender<Waiter>);

impl Scraper {
    /// Returns a scraper, and the task that serves it until the scraper is dropped.
    pub(crate) fn new(request: Request) -> (Scraper, impl Future<Output = ()> + Send) {
        let (sender, waiters) = mpsc::channel(MAX_WAITING);
        (Scraper(sender), Collector { request, waiters, pages: Vec::new() }.run())
    }

    /// Returns a page with all hits up to now; `None` if the exporter does not answer in time. The
    /// connection of `slot` is closed if it receives the page too slowly.
    pub(crate) async fn scrape(&self, format: Format, slot: &Arc<Slot>) -> Option<Bytes> {
        let (sender, page) = oneshot::channel();
        self.0.try_send(Waiter { format, page: sender }).ok()?;
        let page = timeout(SCRAPE_TIMEOUT, page).await.ok()?.ok()?;
        lock(&page.readers).push(Arc::downgrade(slot));
        Some(Bytes::from_owner(Lease(page)))
    }
}

/// The task that serves a [`Scraper`].
struct Collector {
    request: Request,
    waiters: mpsc::Receiver<Waiter>,
    /// Pages that clients may still be receiving, by age.
    pages: Vec<Weak<Page>>,
}

impl Collector {
    async fn run(mut self) {
        let mut page_size = 0;
        while let Some(first) = self.waiters.recv().await {
            self.reserve(page_size).await;
            let start = Instant::now();
            let mut waiters = vec![first];
            while let Ok(waiter) = self.waiters.try_recv() {
                waiters.push(waiter);
            }
            let (responder, families) = oneshot::channel();
            (self.request)(responder);
            // There is no deadline: the loop gets no further request before it answers this one.
            // Each waiter has a deadline of its own.
            let Ok(families) = families.await else { return };
            waiters.retain(|waiter| !waiter.page.is_closed());
            page_size = 0;
            for format in [Format::Text, Format::Protobuf] {
                let mut readers = waiters.extract_if(.., |w| w.format == format).peekable();
                if readers.peek().is_none() {
                    continue;
                }
                let body = format.render(&families);
                page_size += body.len();
                let page =
                    Arc::new(Page { rendered: Instant::now(), body, readers: Mutex::default() });
                self.pages.push(Arc::downgrade(&page));
                for waiter in readers {
                    // Fails if the client has disconnected.
                    let _ = waiter.page.send(Arc::clone(&page));
                }
            }
            drop(families);
            sleep(start.elapsed().min(MAX_PAUSE)).await;
        }
    }

    /// Waits until there is room for a page of `size` bytes, and disconnects slow clients if there
    /// is none.
    async fn reserve(&mut self, size: usize) {
        loop {
            self.pages.retain(|page| page.strong_count() > 0);
            let held: Vec<Arc<Page>> = self.pages.iter().filter_map(Weak::upgrade).collect();
            let bytes: usize = held.iter().map(|page| page.body.len()).sum();
            let Some(oldest) = held.first().filter(|_| bytes + size > MAX_PAGE_BYTES) else {
                return;
            };
            let pause = MIN_ANSWER_TIME.saturating_sub(oldest.rendered.elapsed());
            if pause.is_zero() {
                oldest.disconnect_readers();
            }
            drop(held);
            // Lets the connections end.
            sleep(pause.max(Duration::from_millis(1))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Unit;
    use crate::metric::{Kind, Series, SeriesValue};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    fn families(label: &str) -> Vec<Family> {
        vec![Family {
            name: "a".to_owned(),
            help: String::new(),
            unit: Unit::None,
            ucum: "",
            kind: Kind::Gauge,
            series: vec![Series {
                owner: None,
                labels: vec![("l".to_owned(), label.to_owned())],
                value: SeriesValue::Number(1),
            }],
        }]
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test)
    }

    fn slot() -> Arc<Slot> {
        let connections = Arc::new(super::super::connections::Connections::new());
        Arc::clone(&connections.admit().unwrap().slot)
    }

    #[test]
    fn concurrent_scrapes_share_a_collection() {
        let collections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&collections);
        let request: Request = Box::new(move |responder| {
            count.fetch_add(1, Relaxed);
            let _ = responder.send(families("x"));
        });
        run(async {
            let (scraper, task) = Scraper::new(request);
            tokio::spawn(task);
            let all: Vec<_> = (0..20)
                .map(|_| {
                    let scraper = scraper.clone();
                    tokio::spawn(async move { scraper.scrape(Format::Text, &slot()).await })
                })
                .collect();
            for one in all {
                let page = one.await.unwrap().unwrap();
                assert!(page.ends_with(b"a{l=\"x\"} 1\n"), "{page:?}");
            }
        });
        assert!(collections.load(Relaxed) <= 2, "{collections:?}");
    }

    #[test]
    fn clients_that_hold_pages_are_disconnected() {
        let request: Request = Box::new(|responder| {
            let _ = responder.send(families(&"x".repeat(MAX_PAGE_BYTES / 2)));
        });
        run(async {
            let (scraper, task) = Scraper::new(request);
            tokio::spawn(task);
            let slow = slot();
            let held = scraper.scrape(Format::Text, &slow).await.unwrap();
            let disconnected = tokio::spawn(async move {
                slow.closed().await;
                drop(held);
            });
            let other = slot();
            let _second = scraper.scrape(Format::Text, &other).await.unwrap();
            timeout(Duration::from_secs(5), disconnected).await.unwrap().unwrap();
        });
    }

    #[test]
    fn scrapes_fail_when_the_exporter_has_ended() {
        run(async {
            let (scraper, task) = Scraper::new(Box::new(drop));
            tokio::spawn(task);
            assert_eq!(scraper.scrape(Format::Text, &slot()).await, None);
        });
    }
}
