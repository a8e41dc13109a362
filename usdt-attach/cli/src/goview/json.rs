//! Prints the view of a Go runtime as JSON.

use super::GoroutineChange;
use super::render::{Place, View};
use crate::output::json::{self, NanosHistogram};
use serde::Serialize;
use std::io::{self, Write};

impl View<'_> {
    /// Writes one object with all metrics; `time_ns` is the time in nanoseconds since 1970.
    pub(crate) fn json(&self, out: &mut impl Write, time_ns: u64) -> io::Result<()> {
        let now = self.now;
        let GoroutineChange { total, waiting, in_calls } = now.change();
        let http = now.routes.iter().map(|(key, route)| RouteObject {
            method: &key.method,
            path: (!key.is_route).then_some(&key.place),
            route: key.is_route.then_some(&key.place),
            requests: route.requests,
            errors: route.times.as_ref().map(|_| route.errors),
            times: route.times.as_ref().map(NanosHistogram),
        });
        let object = OverviewObject {
            time_ns,
            goroutines: GoroutinesObject {
                created: now.created(),
                ended: now.ended,
                change: total,
                waiting,
                in_calls,
                live: self.live(),
                creators: self.creators(),
            },
            blocked: self.reasons(),
            latency: now.latency.as_ref().map(NanosHistogram),
            pauses: now.pauses.as_ref().map(NanosHistogram),
            allocated: now.allocated,
            collections: now.hits.get("gc__end").copied(),
            panics: now.hits.get("panic").copied(),
            http: http.collect(),
        };
        json::write_line(out, &object)
    }
}

#[derive(Serialize)]
struct OverviewObject<'a> {
    time_ns: u64,
    goroutines: GoroutinesObject,
    blocked: Vec<Blocked<'a>>,
    latency: Option<NanosHistogram<'a>>,
    pauses: Option<NanosHistogram<'a>>,
    allocated: Option<u64>,
    collections: Option<u64>,
    panics: Option<u64>,
    http: Vec<RouteObject<'a>>,
}

#[derive(Serialize)]
struct GoroutinesObject {
    created: u64,
    ended: u64,
    change: i64,
    waiting: Option<i64>,
    in_calls: Option<i64>,
    live: Option<Live>,
    creators: Vec<Creator>,
}

/// The current goroutines by status.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Live {
    pub(super) count: u64,
    pub(super) waiting: u64,
    pub(super) in_calls: u64,
    pub(super) running: u64,
    pub(super) runnable: u64,
    /// Goroutines of the runtime itself, which `count` does not include.
    #[serde(rename = "own")]
    pub(super) runtime: u64,
}

/// A go statement and its goroutines.
#[derive(Serialize)]
pub(super) struct Creator {
    #[serde(flatten)]
    pub(super) place: Place,
    /// `None` if neither a snapshot nor the probes tell.
    pub(super) live: Option<u64>,
    pub(super) created: u64,
    /// `None` if not measured.
    pub(super) ended: Option<u64>,
    /// True if the goroutines belong to the runtime itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) runtime: bool,
}

/// A reason for which goroutines block.
#[derive(Serialize)]
pub(super) struct Blocked<'a> {
    /// `None` if only the number is known.
    pub(super) reason: Option<&'a str>,
    /// How often goroutines have blocked since the probes were attached.
    pub(super) count: u64,
    /// The number of goroutines that are blocked now; `None` without a snapshot.
    pub(super) now: Option<u64>,
}

#[derive(Serialize)]
struct RouteObject<'a> {
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a String>,
    requests: u64,
    errors: Option<u64>,
    times: Option<NanosHistogram<'a>>,
}
