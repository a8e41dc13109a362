//! The programs that are compared, and the clients of their servers.

use super::{Drive, Program, Source};
use gobinary::supported_releases::{TESTED, TESTED_UNMODIFIED};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const NEWEST: &str = TESTED[TESTED.len() - 1];
const GO_1_19: &str = TESTED_UNMODIFIED[2];

/// Parameters and results of many types, in a program of ours.
const VALUES: Program = Program {
    name: "values",
    release: NEWEST,
    source: Source::Own { module: "functions", package: "./values" },
    args: &[],
    drive: Drive::RunsToEnd,
    functions: &[
        "main.integers",
        "main.words",
        "main.joined",
        "main.failures",
        "main.named",
        "main.deferred",
        "main.mixed",
        "main.spilled",
        "main.structs",
        "main.(*point).Move",
        "main.point.Sum",
        "main.variadic",
        "main.constants",
        "main.recursive",
        "main.padded",
        "main.empty",
        "main.captures.func1",
        "main.keep[go.shape.int]",
        "main.keep[go.shape.string]",
        "main.times",
    ],
    paths: &[],
};

const PATHS: Program = Program {
    name: "paths",
    functions: &["main.paths"],
    paths: &[
        "main.paths o.name",
        "main.paths o.inner.count",
        "main.paths o.pointer.name",
        "main.paths o.pointer.inner.flag",
        "main.paths o.list[2]",
        "main.paths o.grid[1][0]",
        "main.paths len(o.names)",
        "main.paths cap(o.names)",
        "main.paths len(o.table)",
        "main.paths o.err",
        "main.paths o.wait",
        "main.paths o.Embedded.depth",
        "main.paths *o.number",
        "main.paths len(text)",
        "main.paths value.name",
        "main.paths value.inner.small",
    ],
    ..VALUES
};

/// Elements of slices, and what interfaces hold. Delve and `usdt-attach` have the same syntax.
const REACHED: Program = Program {
    name: "reached",
    functions: &["main.reached"],
    paths: &[
        "main.reached r.when",
        "main.reached r.names[1]",
        "main.reached r.names[2]",
        "main.reached r.items[0].second",
        "main.reached r.items[0].n",
        "main.reached r.text[1]",
        "main.reached items[0].count",
        "main.reached v.(*main.point).y",
        "main.reached r.any.(main.level)",
        "main.reached r.any.(*main.pair).first",
        "main.reached cause.(*fs.PathError).Path",
        "main.reached r.cause.(*fs.PathError).Op",
    ],
    ..VALUES
};

/// A web server: `present` of `golang.org/x/tools`.
const HTTP: Program = Program {
    name: "http-server",
    release: NEWEST,
    source: Source::Module("golang.org/x/tools/cmd/present@v0.48.0"),
    args: &["-http=127.0.0.1:PORT", "-play=false", "-content=FOLDER"],
    drive: Drive::Client(http),
    functions: &[
        "net/http.parseRequestLine",
        "net/http.ParseHTTPVersion",
        "net/http.cleanPath",
        "net/http.(*response).WriteHeader",
        "net/http.readRequestLimit",
        "net/http.fixLength",
        "net/http.stripHostPort",
        "net/url.parse",
        "net/url.(*URL).setPath",
        "net/url.getScheme",
        "net/url.unescape",
        "net/textproto.canonicalMIMEHeaderKey",
        "path.Clean",
    ],
    paths: &[],
};

const HTTP_PATHS: Program = Program {
    name: "http-server-paths",
    functions: &["net/http.(*ServeMux).ServeHTTP"],
    paths: &[
        "net/http.(*ServeMux).ServeHTTP r.Method",
        "net/http.(*ServeMux).ServeHTTP r.URL.Path",
        "net/http.(*ServeMux).ServeHTTP r.URL.RawQuery",
        "net/http.(*ServeMux).ServeHTTP r.Proto",
        "net/http.(*ServeMux).ServeHTTP r.ProtoMinor",
        "net/http.(*ServeMux).ServeHTTP r.Host",
        "net/http.(*ServeMux).ServeHTTP r.ContentLength",
        "net/http.(*ServeMux).ServeHTTP len(r.Header)",
    ],
    ..HTTP
};

/// A key-value store: a server of `github.com/alicebob/miniredis`.
const STORE: Program = Program {
    name: "key-value-store",
    release: TESTED[TESTED.len() - 2],
    source: Source::Own { module: "oracle", package: "./store" },
    args: &["127.0.0.1:PORT"],
    drive: Drive::Client(redis),
    functions: &[
        "github.com/alicebob/miniredis/v2.(*RedisDB).stringSet",
        "github.com/alicebob/miniredis/v2.(*RedisDB).stringIncr",
        "github.com/alicebob/miniredis/v2.(*RedisDB).del",
        "github.com/alicebob/miniredis/v2.(*RedisDB).hashIncr",
        "github.com/alicebob/miniredis/v2.(*RedisDB).hashSet",
        "github.com/alicebob/miniredis/v2.(*RedisDB).listLpush",
        "github.com/alicebob/miniredis/v2.(*RedisDB).listLpop",
        "github.com/alicebob/miniredis/v2.(*RedisDB).setAdd",
        "github.com/alicebob/miniredis/v2.(*RedisDB).ssetAdd",
        "github.com/alicebob/miniredis/v2.(*Miniredis).db",
        "github.com/alicebob/miniredis/v2/server.readString",
        "github.com/alicebob/miniredis/v2/server.(*Writer).WriteInt",
    ],
    paths: &[],
};

/// `bbolt bench` of an old release, built with Go 1.19. It writes a number of keys, and then reads
/// for a second, so that only functions that it needs for writing are called as often each time.
const OLD: Program = Program {
    name: "bbolt",
    release: GO_1_19,
    source: Source::Module("go.etcd.io/bbolt/cmd/bbolt@v1.3.7"),
    args: &["bench", "-count=40", "-batch-size=10", "-no-sync", "-path=FOLDER/db"],
    drive: Drive::RunsToEnd,
    functions: &[
        "go.etcd.io/bbolt.(*DB).beginRWTx",
        "go.etcd.io/bbolt.(*DB).mmap",
        "go.etcd.io/bbolt.(*DB).mmapSize",
        "go.etcd.io/bbolt.(*DB).allocate",
        "go.etcd.io/bbolt.(*DB).grow",
        "go.etcd.io/bbolt.(*Bucket).Put",
        "go.etcd.io/bbolt.(*Bucket).CreateBucketIfNotExists",
        "go.etcd.io/bbolt.(*Bucket).node",
        "go.etcd.io/bbolt.(*Bucket).spill",
        "go.etcd.io/bbolt.(*freelist).arrayAllocate",
        "go.etcd.io/bbolt.(*freelist).free",
        "go.etcd.io/bbolt.(*freelist).releaseRange",
        "go.etcd.io/bbolt.(*node).put",
    ],
    paths: &[],
};

/// Every program.
pub const PROGRAMS: [Program; 7] = [VALUES, PATHS, REACHED, HTTP, HTTP_PATHS, STORE, OLD];

/// The programs of ours.
pub fn own() -> [Program; 3] {
    [VALUES, PATHS, REACHED]
}

/// A third-party program that is small, so that it builds in seconds.
pub fn third_party() -> Program {
    OLD
}

/// Connects to a server, which may still start.
fn connect(port: u16) -> Result<TcpStream, String> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => {
                // A debugger takes its time.
                let limit = Some(Duration::from_secs(60));
                stream.set_read_timeout(limit).map_err(|e| e.to_string())?;
                return Ok(stream);
            }
            Err(error) if Instant::now() > end => return Err(format!("the server: {error}")),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Requests pages, existing ones and others, each on a connection of its own.
fn http(port: u16) -> Result<(), String> {
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/static/styles.css?v=1"),
        ("HEAD", "/a%20b/../c//d"),
        ("GET", "/missing.slide"),
        ("POST", "/x?y=z&q=%41"),
    ] {
        let mut stream = connect(port)?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: example.com\r\nx-test-header: 1\r\nConnection: close\r\n\
             Content-Length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).map_err(|e| e.to_string())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(|e| format!("{method} {path}: {e}"))?;
        if !answer.starts_with(b"HTTP/1.1 ") {
            return Err(format!("{method} {path}: not an HTTP response"));
        }
    }
    Ok(())
}

/// Sends commands, each after the answer to the one before.
fn redis(port: u16) -> Result<(), String> {
    const COMMANDS: [&str; 24] = [
        "SET first one",
        "GET first",
        "GET missing",
        "SET number 41",
        "INCR number",
        "INCRBY number -100",
        "INCR first",
        "DEL first",
        "HSET h field 7",
        "HGET h field",
        "HGET h other",
        "HINCRBY h field 5",
        "HSET h text abc",
        "HINCRBY h text 1",
        "LPUSH l a b c",
        "LPOP l",
        "LRANGE l 0 -1",
        "LRANGE l -100 1",
        "SADD s x y",
        "SISMEMBER s x",
        "SISMEMBER s z",
        "ZADD z 1.5 m",
        "ZADD z 2.5 m",
        "GETRANGE number 0 1",
    ];
    let mut stream = connect(port)?;
    for command in COMMANDS {
        let words: Vec<&str> = command.split(' ').collect();
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request += &format!("${}\r\n{word}\r\n", word.len());
        }
        stream.write_all(request.as_bytes()).map_err(|e| e.to_string())?;
        // Answers are short, and arrive as a whole.
        let mut answer = [0; 512];
        let len = stream.read(&mut answer).map_err(|e| format!("{command}: {e}"))?;
        if len == 0 {
            return Err(format!("{command}: no answer"));
        }
    }
    Ok(())
}
