//! The endpoint that Prometheus scrapes: an HTTP server in a thread of its own.
//!
//! Clients are untrusted. The server is hyper on a single-threaded runtime, so a client that hangs
//! delays nobody; the modules bound what one may use:
//!
//! | module | bounds |
//! | --- | --- |
//! | [`connections`] | the number of connections |
//! | [`http`] | the size of a request, and the time of each phase of a connection |
//! | [`scrape`] | the work of the exporter's loop, and the pages that slow clients hold |
//! | [`auth`] | the CPU time for checking passwords |
//!
//! [`address`] parses and binds addresses, [`web_config`] and [`tls`] read the file with the
//! certificates and users.

pub(crate) mod address;
pub(crate) mod auth;
mod connections;
#[cfg(any(test, fuzzing))]
pub(crate) mod duplex;
mod http;
pub(crate) mod scrape;
mod tls;
pub(crate) mod web_config;

use crate::heartbeat::Heartbeat;
use address::ListenAddress;
use connections::{Connections, Refusal};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use usdt_attach::error::{Error, Result};
use web_config::Security;

/// The pause after a connection could not be accepted, usually because file descriptors are used
/// up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the endpoint needs of the exporter.
pub(crate) struct Exports {
    /// Requests the metrics from the exporter's loop.
    pub(crate) scrape: scrape::Request,
    /// What scrapes get while the loop is busy.
    pub(crate) snapshot: Arc<scrape::Snapshot>,
    pub(crate) heartbeat: Arc<Heartbeat>,
    /// Receives messages for the user.
    pub(crate) report: Box<dyn Fn(String) + Send + Sync>,
}

/// An HTTP server that answers until it is dropped.
pub(crate) struct Endpoint {
    address: ListenAddress,
    /// Those of the sockets.
    addresses: Vec<SocketAddr>,
    security: Arc<RwLock<Arc<Security>>>,
    /// Stops the thread when it is dropped.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Listens at an address and answers.
    ///
    /// # Errors
    ///
    /// Fails if the address is in use or not one of this host, or if the process has too few file
    /// descriptors or threads left.
    pub(crate) fn open(
        address: ListenAddress,
        security: Arc<Security>,
        exports: Exports,
    ) -> Result<Endpoint> {
        let listeners = address.bind()?;
        let failed = |source: io::Error| Error::io("cannot start the endpoint", source);
        let addresses: io::Result<_> =
            listeners.iter().map(std::net::TcpListener::local_addr).collect();
        let addresses = addresses.map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // For checks of passwords, which take turns.
            .max_blocking_threads(1)
            .build()
            .map_err(failed)?;
        let security = Arc::new(RwLock::new(security));
        let (stop, stopped) = oneshot::channel();
        let server = Server {
            listeners: {
                let _context = runtime.enter();
                let listeners: io::Result<_> =
                    listeners.into_iter().map(TcpListener::from_std).collect();
                listeners.map_err(failed)?
            },
            security: Arc::clone(&security),
            exports,
        };
        let thread = std::thread::Builder::new()
            .name("prometheus".to_owned())
            .spawn(move || server.run(runtime, stopped))
            .map_err(failed)?;
        Ok(Endpoint { address, addresses, security, stop: Some(stop), thread: Some(thread) })
    }

    /// The address as it was requested.
    pub(crate) fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The URL of the metrics, at the first of the sockets.
    pub(crate) fn metrics_url(&self) -> Option<String> {
        let scheme = if self.security().tls.is_some() { "https" } else { "http" };
        self.addresses.first().map(|address| format!("{scheme}://{address}/metrics"))
    }

    /// The addresses and ports of the sockets. The ports are the assigned ones if port 0 was requested.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The TLS configuration and the users of new connections.
    pub(crate) fn security(&self) -> Arc<Security> {
        Arc::clone(&self.security.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the TLS configuration and the users. Connections that are open keep theirs.
    pub(crate) fn set_security(&self, new: Arc<Security>) {
        let mut security = self.security.write().unwrap_or_else(PoisonError::into_inner);
        if let (Some(new), Some(old)) = (&new.users, &security.users) {
            new.adopt(old);
        }
        *security = new;
    }
}

impl Drop for Endpoint {
    /// Closes all connections.
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The state of the endpoint's thread.
struct Server {
    listeners: Vec<TcpListener>,
    security: Arc<RwLock<Arc<Security>>>,
    exports: Exports,
}

impl Server {
    fn run(self, runtime: Runtime, stopped: oneshot::Receiver<()>) {
        let (scraper, collector) = scrape::Scraper::new(
            self.exports.scrape,
            self.exports.snapshot,
            Arc::clone(&self.exports.heartbeat),
        );
        let context = http::Context { scraper, heartbeat: self.exports.heartbeat };
        let report: Arc<dyn Fn(String) + Send + Sync> = self.exports.report.into();
        let connections = Arc::new(Connections::new());
        runtime.spawn(collector);
        for listener in self.listeners {
            runtime.spawn(accept(
                listener,
                Arc::clone(&connections),
                context.clone(),
                Arc::clone(&self.security),
                Arc::clone(&report),
            ));
        }
        // Fails, because the sender only drops its end.
        let _ = runtime.block_on(stopped);
        // Does not wait for the check of a password.
        runtime.shutdown_background();
    }
}

/// Accepts connections for ever. A failure to accept never ends it.
async fn accept(
    listener: TcpListener,
    connections: Arc<Connections>,
    context: http::Context,
    security: Arc<RwLock<Arc<Security>>>,
    report: Arc<dyn Fn(String) + Send + Sync>,
) {
    let mut has_failed = false;
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // The client has disconnected already.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                if !has_failed {
                    report(format!(
                        "the endpoint cannot accept connections: {error}; trying again"
                    ));
                }
                has_failed = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        has_failed = false;
        let admission = loop {
            match connections.admit() {
                Ok(admission) => break Some(admission),
                Err(Refusal::TooNew(pause)) => tokio::time::sleep(pause).await,
                Err(Refusal::Answering) => break None,
            }
        };
        // Without admission, the connection is closed.
        let Some(admission) = admission else { continue };
        let security = Arc::clone(&security.read().unwrap_or_else(PoisonError::into_inner));
        let context = context.clone();
        tokio::spawn(async move {
            let slot = Arc::clone(&admission.slot);
            http::serve(stream, slot, context, security).await;
            drop(admission);
        });
    }
}
