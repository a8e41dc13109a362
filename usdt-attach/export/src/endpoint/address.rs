//! The addresses that the endpoint listens at.

use rustix::net::sockopt;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::mpsc;
use std::time::Duration;
use usdt_attach::error::{Error, Result};

/// How long looking up a host name may take.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);
/// The size of the send buffer of a connection, in bytes. Without a limit, the kernel buffers up to
/// 4 MiB for each client that reads slowly.
const SEND_BUFFER: usize = 256 << 10;

/// What `listen` in `[prometheus]` and `--prometheus` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    /// `9464`: the loopback interface, with IPv4 and IPv6.
    Loopback(u16),
    /// `:9464`: all interfaces, with IPv4 and IPv6.
    All(u16),
    /// `127.0.0.1:9464`, `[::1]:9464`.
    Ip(SocketAddr),
    /// `localhost:9464`.
    Name(String, u16),
}

impl ListenAddress {
    /// Parses an address; fails with a message for the user.
    pub(crate) fn parse(text: &str) -> std::result::Result<ListenAddress, String> {
        let invalid = || {
            format!(
                "`{text}` is not an address: use HOST:PORT such as `127.0.0.1:9464`, `PORT` for the loopback interface, or `:PORT` for all interfaces"
            )
        };
        // The parser of numbers accepts a sign.
        let port = |digits: &str| {
            let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            if is_number { digits.parse().ok() } else { None }
        };
        if let Some(port) = port(text) {
            return Ok(ListenAddress::Loopback(port));
        }
        if let Ok(address) = text.parse() {
            return Ok(ListenAddress::Ip(address));
        }
        let (host, number) = text.rsplit_once(':').ok_or_else(invalid)?;
        let port = port(number).ok_or_else(invalid)?;
        if host.is_empty() {
            return Ok(ListenAddress::All(port));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        // A name of digits and dots is a mistyped IPv4 address.
        if host.len() > 253
            || !host.chars().all(is_name)
            || host.chars().all(|c| c.is_ascii_digit() || c == '.')
        {
            return Err(invalid());
        }
        Ok(ListenAddress::Name(host.to_owned(), port))
    }

    /// Opens the sockets: one, or one for each version of IP.
    ///
    /// # Errors
    ///
    /// Fails if the name is unknown, or if the address is in use or not one of this host. A host
    /// without IPv6 is no error, unless the address is one of IPv6.
    pub(crate) fn bind(&self) -> Result<Vec<TcpListener>> {
        let failed = |source: io::Error| Error::io(format!("cannot listen at {self}"), source);
        let listeners = match self {
            ListenAddress::Ip(address) => TcpListener::bind(address).map(|one| vec![one]),
            ListenAddress::Loopback(port) => bind_loopback(*port),
            ListenAddress::All(port) => bind_all(*port),
            ListenAddress::Name(host, port) => {
                lookup(host, *port).and_then(|all| TcpListener::bind(&*all)).map(|one| vec![one])
            }
        };
        let listeners = listeners.map_err(failed)?;
        for listener in &listeners {
            listener.set_nonblocking(true).map_err(failed)?;
            // Accepted connections inherit it. It only saves memory of the kernel.
            let _ = sockopt::set_socket_send_buffer_size(listener, SEND_BUFFER);
        }
        Ok(listeners)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Loopback(port) => write!(f, "127.0.0.1:{port}"),
            ListenAddress::All(port) => write!(f, ":{port}"),
            ListenAddress::Ip(address) => address.fmt(f),
            ListenAddress::Name(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

fn bind_loopback(port: u16) -> io::Result<Vec<TcpListener>> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let port = first.local_addr()?.port();
    let mut listeners = vec![first];
    listeners.extend(if_available(TcpListener::bind((Ipv6Addr::LOCALHOST, port)))?);
    Ok(listeners)
}

fn bind_all(port: u16) -> io::Result<Vec<TcpListener>> {
    let Some(first) = if_available(TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))? else {
        return TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map(|one| vec![one]);
    };
    // A socket of IPv6 serves IPv4, too, unless `net.ipv6.bindv6only` is set.
    let only_v6 = sockopt::ipv6_v6only(&first).unwrap_or(false);
    let port = first.local_addr()?.port();
    let mut listeners = vec![first];
    if only_v6 {
        listeners.push(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?);
    }
    Ok(listeners)
}

/// Returns `None` if the host has no such address, for example because IPv6 is disabled.
fn if_available(result: io::Result<TcpListener>) -> io::Result<Option<TcpListener>> {
    const EAFNOSUPPORT: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    match result {
        Ok(listener) => Ok(Some(listener)),
        Err(error)
            if error.kind() == io::ErrorKind::AddrNotAvailable
                || error.raw_os_error() == Some(EAFNOSUPPORT) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Looks up a name in a thread of its own, which is abandoned if no name server answers.
fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let (sender, receiver) = mpsc::channel();
    let name = (host.to_owned(), port);
    std::thread::Builder::new().name("lookup".to_owned()).spawn(move || {
        let addresses = name.to_socket_addrs().map(Iterator::collect);
        // Fails if the time is over.
        let _ = sender.send(addresses);
    })?;
    receiver.recv_timeout(LOOKUP_TIMEOUT).unwrap_or_else(|_| {
        Err(io::Error::new(io::ErrorKind::TimedOut, "no name server answers; use an IP address"))
    })
}

/// Whether clients on other hosts can reach an address.
pub(crate) fn is_exposed(address: &SocketAddr) -> bool {
    let ip = match address.ip() {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 => v4,
    };
    !ip.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_port_is_the_loopback_interface() {
        let parse = ListenAddress::parse;
        assert_eq!(parse("9464"), Ok(ListenAddress::Loopback(9464)));
        assert_eq!(parse(":9464"), Ok(ListenAddress::All(9464)));
        let ip = |text: &str| Ok(ListenAddress::Ip(text.parse().unwrap()));
        assert_eq!(parse("0.0.0.0:9464"), ip("0.0.0.0:9464"));
        assert_eq!(parse("[::1]:9464"), ip("[::1]:9464"));
        assert_eq!(parse("localhost:9464"), Ok(ListenAddress::Name("localhost".into(), 9464)));
    }

    #[test]
    fn rejects_what_is_not_an_address() {
        for text in [
            "",
            ":",
            "localhost",
            "127.0.0.1",
            "70000",
            "+80",
            ":+80",
            "127.0.0.1:",
            "1.2.3:80",
            "1.2.3.4.5:80",
            "::1",
            "http://127.0.0.1:80",
            "a b:80",
            "host:-1",
            "host:80/metrics",
        ] {
            let error = ListenAddress::parse(text).unwrap_err();
            assert!(error.contains("HOST:PORT"), "{text}: {error}");
        }
    }

    #[test]
    fn only_loopback_addresses_are_not_exposed() {
        for (text, exposed) in [
            ("127.0.0.1:1", false),
            ("127.9.9.9:1", false),
            ("[::1]:1", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("10.0.0.1:1", true),
        ] {
            assert_eq!(is_exposed(&text.parse().unwrap()), exposed, "{text}");
        }
    }

    #[test]
    fn binds_both_versions_of_ip() {
        let loopback = ListenAddress::Loopback(0).bind().unwrap();
        let ports: Vec<u16> = loopback.iter().map(|l| l.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
        assert!(loopback.iter().all(|l| l.local_addr().unwrap().ip().is_loopback()));
        let all = ListenAddress::All(0).bind().unwrap();
        let port = all[0].local_addr().unwrap().port();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}
