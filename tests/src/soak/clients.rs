//! Clients of the exporter's endpoint, and a collector that never answers.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time after which a scrape is given up.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(20);

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Slow clients in several threads.
pub(super) struct SlowClients {
    stop: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl SlowClients {
    const THREADS: usize = 4;

    pub(super) fn start(port: u16, count: usize) -> SlowClients {
        let (stop, connections) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let threads = (0..Self::THREADS).map(|_| {
            let (stop, connections) = (Arc::clone(&stop), Arc::clone(&connections));
            let count = count / Self::THREADS;
            std::thread::spawn(move || keep_connected(port, count, &stop, &connections))
        });
        let threads = threads.collect();
        SlowClients { stop, connections, threads }
    }

    /// Returns how often the clients have connected.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Relaxed)
    }
}

impl Drop for SlowClients {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Gives each client a turn per second: it connects, or sends one more byte.
fn keep_connected(port: u16, count: usize, stop: &AtomicBool, connections: &AtomicU64) {
    let mut clients: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
    let pause = Duration::from_secs(1) / u32::try_from(count).unwrap_or(1).max(1);
    while !stop.load(Relaxed) {
        for (kind, client) in clients.iter_mut().enumerate() {
            if stop.load(Relaxed) {
                return;
            }
            if client.as_ref().is_none_or(|stream| send_byte(stream).is_err()) {
                *client = connect(port, kind).ok();
                connections.fetch_add(u64::from(client.is_some()), Relaxed);
            }
            std::thread::sleep(pause);
        }
    }
}

/// Connects and sends a part of a request, or a request whose answer is never read.
fn connect(port: u16, kind: usize) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address(port), Duration::from_secs(1))?;
    stream.set_nonblocking(true)?;
    let start = match kind % 5 {
        0 => "",
        1 => "GET /metrics HTTP/1.1\r\nX: ",
        2 => "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        3 => "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000000\r\n\r\n",
        _ => "GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    stream.write_all(start.as_bytes())?;
    Ok(stream)
}

/// Sends one byte. Fails if the connection is closed.
fn send_byte(mut stream: &TcpStream) -> io::Result<()> {
    match stream.write(b"x") {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(()),
    }
}

/// A collector that accepts connections and never answers. Its thread ends with this process.
pub(super) fn silent_collector() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            open.push(stream);
        }
    });
    Ok(port)
}

/// The answer to a scrape.
pub(super) struct Scrape {
    pub(super) page: String,
    /// The time from the first attempt to the end of the answer.
    pub(super) time: Duration,
    /// Attempts whose connection was closed without an answer, because all places were taken.
    pub(super) refused: u64,
}

/// Fetches the metrics.
pub(super) fn scrape(port: u16) -> Result<Scrape, String> {
    let start = Instant::now();
    let mut refused = 0;
    loop {
        let answer = request(port);
        let time = start.elapsed();
        match answer {
            Ok(answer) => {
                let (head, page) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
                if !head.starts_with("HTTP/1.") || !head.contains(" 200 ") {
                    return Err(format!("answer after {time:?}: {head}"));
                }
                return Ok(Scrape { page: page.to_owned(), time, refused });
            }
            Err(error) if is_refusal(&error) && time < SCRAPE_TIMEOUT => refused += 1,
            Err(error) => return Err(format!("no answer after {time:?}: {error}")),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// Sends one request and reads its answer. Fails with `UnexpectedEof` if the connection is closed
/// without one.
fn request(port: u16) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address(port), SCRAPE_TIMEOUT)?;
    stream.set_read_timeout(Some(SCRAPE_TIMEOUT))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        // A connection that is closed within its answer was not refused.
        Err(error) if !answer.is_empty() => Err(io::Error::other(error)),
        result => result.map(|_| answer),
    }
}

/// Returns the sum of a metric's series, or of one of them with its labels; `None` if there are
/// none.
pub(super) fn metric(page: &str, name: &str) -> Option<u64> {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let is_name = rest.starts_with([' ', '{']);
        let value = rest.rsplit_once(' ').filter(|_| is_name)?.1;
        value.parse::<u64>().ok()
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0) + value))
}
