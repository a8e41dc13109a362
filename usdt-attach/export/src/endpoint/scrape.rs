//! Scrapes: requests the metrics from the exporter's loop, and renders pages.
//!
//! Clients share the work. While the loop collects, further scrapes wait for the next collection,
//! which serves all of them. Collecting takes at most half of the time, so that clients that
//! scrape without a pause do not keep the loop from its other work.
//!
//! A loop that attaches to many files, or detaches from them, may not answer for a while. Scrapes
//! then get the snapshot that it has published last, with its age, so that none waits for long. If
//! the loop hangs, they fail.

use super::connections::{MIN_ANSWER_TIME, Slot, lock};
use crate::heartbeat::{Heartbeat, MAX_SILENCE};
use crate::metric::Family;
use crate::{prometheus, prometheus_proto};
use bytes::Bytes;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

/// How long a scrape waits for its page.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the loop may take to answer before scrapes get its last snapshot.
const COLLECT_TIMEOUT: Duration = Duration::from_millis(300);
/// The maximum number of scrapes that wait.
const MAX_WAITING: usize = 256;
/// The maximum pause after a collection.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// The size in bytes of the pages that clients may hold by reading slowly. Above it, the clients of
/// the oldest page are disconnected. One page is always possible.
const MAX_PAGE_BYTES: usize = 8 << 20;

/// Where the metrics of one scrape are sent.
pub(crate) type Responder = oneshot::Sender<Arc<Vec<Family>>>;

/// Requests the metrics from the exporter's loop.
pub(crate) type Request = Box<dyn Fn(Responder) + Send>;

/// The last metrics that the loop has collected, as a page of text: it takes less memory than the
/// metrics, and clients that prefer another format accept it.
#[derive(Default)]
pub(crate) struct Snapshot(Mutex<Option<(Instant, Bytes)>>);

impl Snapshot {
    pub(crate) fn publish(&self, families: &[Family]) {
        self.set(Format::Text.render(families).into());
    }

    fn set(&self, page: Bytes) {
        *lock(&self.0) = Some((Instant::now(), page));
    }

    /// The time since the metrics were collected; `None` if they never were.
    pub(crate) fn age(&self) -> Option<Duration> {
        lock(&self.0).as_ref().map(|(collected, _)| collected.elapsed())
    }

    fn get(&self) -> Option<(Duration, Bytes)> {
        lock(&self.0).as_ref().map(|(collected, page)| (collected.elapsed(), page.clone()))
    }
}

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
    /// The age of the snapshot; `None` if the loop has answered.
    age: Option<Duration>,
    format: Format,
    body: Bytes,
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

/// The answer to a scrape.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) format: Format,
    pub(crate) page: Bytes,
    /// The age of the snapshot that the page shows; `None` if it shows all hits up to now.
    pub(crate) age: Option<Duration>,
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
    pub(crate) fn new(
        request: Request,
        snapshot: Arc<Snapshot>,
        heartbeat: Arc<Heartbeat>,
    ) -> (Scraper, impl Future<Output = ()> + Send) {
        let (sender, waiters) = mpsc::channel(MAX_WAITING);
        let collector = Collector { request, snapshot, heartbeat, waiters, pages: Vec::new() };
        (Scraper(sender), collector.run())
    }

    /// Returns a page; `None` if there is none in time. The connection of `slot` is closed if it
    /// receives the page too slowly.
    pub(crate) async fn scrape(&self, format: Format, slot: &Arc<Slot>) -> Option<Answer> {
        let (sender, page) = oneshot::channel();
        self.0.try_send(Waiter { format, page: sender }).ok()?;
        let page = timeout(SCRAPE_TIMEOUT, page).await.ok()?.ok()?;
        lock(&page.readers).push(Arc::downgrade(slot));
        Some(Answer { format: page.format, age: page.age, page: Bytes::from_owner(Lease(page)) })
    }
}

/// The task that serves a [`Scraper`].
struct Collector {
    request: Request,
    snapshot: Arc<Snapshot>,
    heartbeat: Arc<Heartbeat>,
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
            let families = match timeout(COLLECT_TIMEOUT, families).await {
                Ok(Ok(families)) => families,
                Ok(Err(_)) => return,
                // The loop ignores the request later, because its receiver is dropped.
                Err(_) => {
                    self.answer_from_snapshot(waiters);
                    continue;
                }
            };
            waiters.retain(|waiter| !waiter.page.is_closed());
            page_size = 0;
            for format in [Format::Text, Format::Protobuf] {
                let mut readers = waiters.extract_if(.., |w| w.format == format).peekable();
                if readers.peek().is_none() {
                    continue;
                }
                let body = Bytes::from(format.render(&families));
                page_size += body.len();
                if format == Format::Text {
                    self.snapshot.set(body.clone());
                }
                self.send(readers, format, body, None);
            }
            drop(families);
            sleep(start.elapsed().min(MAX_PAUSE)).await;
        }
    }

    /// Answers with the last snapshot, unless there is none or the loop hangs.
    fn answer_from_snapshot(&mut self, waiters: Vec<Waiter>) {
        if let Some((age, body)) = self.snapshot.get()
            && self.heartbeat.silence() < MAX_SILENCE
        {
            self.send(waiters, Format::Text, body, Some(age));
        }
    }

    fn send(
        &mut self,
        waiters: impl IntoIterator<Item = Waiter>,
        format: Format,
        body: Bytes,
        age: Option<Duration>,
    ) {
        let readers = Mutex::default();
        let page = Arc::new(Page { rendered: Instant::now(), age, format, body, readers });
        self.pages.push(Arc::downgrade(&page));
        for waiter in waiters {
            // Fails if the client has disconnected.
            let _ = waiter.page.send(Arc::clone(&page));
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

    fn families(label: &str) -> Arc<Vec<Family>> {
        Arc::new(vec![Family {
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
        }])
    }

    fn scraper(request: Request) -> (Scraper, impl Future<Output = ()> + Send) {
        Scraper::new(request, Arc::default(), Arc::new(Heartbeat::new()))
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
            let (scraper, task) = scraper(request);
            tokio::spawn(task);
            let all: Vec<_> = (0..20)
                .map(|_| {
                    let scraper = scraper.clone();
                    tokio::spawn(async move { scraper.scrape(Format::Text, &slot()).await })
                })
                .collect();
            for one in all {
                let page = one.await.unwrap().unwrap();
                assert_eq!(page.age, None);
                assert!(page.page.ends_with(b"a{l=\"x\"} 1\n"), "{page:?}");
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
            let (scraper, task) = scraper(request);
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
            let (scraper, task) = scraper(Box::new(drop));
            tokio::spawn(task);
            assert_eq!(scraper.scrape(Format::Text, &slot()).await, None);
        });
    }

    #[test]
    fn scrapes_get_the_last_snapshot_while_the_loop_is_busy() {
        let (requests, received) = std::sync::mpsc::channel::<Responder>();
        let request: Request = Box::new(move |responder| requests.send(responder).unwrap());
        let snapshot = Arc::<Snapshot>::default();
        run(async {
            let (scraper, task) =
                Scraper::new(request, Arc::clone(&snapshot), Arc::new(Heartbeat::new()));
            tokio::spawn(task);
            assert_eq!(scraper.scrape(Format::Text, &slot()).await, None, "no snapshot yet");
            assert!(received.recv().unwrap().is_closed());
            snapshot.publish(&families("old"));
            let old = scraper.scrape(Format::Text, &slot()).await.unwrap();
            assert!(old.age.is_some() && old.page.ends_with(b"a{l=\"old\"} 1\n"), "{old:?}");
            assert!(received.recv().unwrap().is_closed());
            let waiting = tokio::spawn({
                let scraper = scraper.clone();
                async move { scraper.scrape(Format::Text, &slot()).await }
            });
            let responder = loop {
                match received.try_recv() {
                    Ok(responder) => break responder,
                    Err(_) => sleep(Duration::from_millis(1)).await,
                }
            };
            responder.send(families("new")).unwrap();
            let new = waiting.await.unwrap().unwrap();
            assert!(new.age.is_none() && new.page.ends_with(b"a{l=\"new\"} 1\n"), "{new:?}");
        });
    }

    #[test]
    fn scrapes_fail_when_the_loop_hangs() {
        let requests = Mutex::new(Vec::new());
        let snapshot = Arc::<Snapshot>::default();
        snapshot.publish(&families("old"));
        let heartbeat = Arc::new(Heartbeat::silent_since(MAX_SILENCE));
        run(async {
            let request: Request = Box::new(move |responder| lock(&requests).push(responder));
            let (scraper, task) = Scraper::new(request, snapshot, heartbeat);
            tokio::spawn(task);
            assert_eq!(scraper.scrape(Format::Text, &slot()).await, None);
        });
    }
}
