//! JSON, one object per line.
//!
//! What a terminal would obey in a string is written as a `\u` escape, so strings keep their value.
//! Bytes of strings that are not UTF-8 are replaced, and byte slices are hexadecimal. Nil,
//! unreadable values and floats that JSON cannot express (infinities, NaN) are `null`. Events list
//! the names of unreadable and truncated arguments, which distinguishes them from nil and from
//! whole strings.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use stapsdt::schema;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use usdt_attach::discover::select::Selected;
use usdt_attach::discover::{SchemaSource, Source, namespace_ids};
use usdt_attach::event::counts::{Histogram, LabelValue, Row, Total};
use usdt_attach::event::symbolize::Frame;
use usdt_attach::event::{Event, Value};
use usdt_attach::session::Summary;

/// Writes an event as one line. `stack` is the symbolized user stack, innermost frame first; `None`
/// if stacks are not recorded.
///
/// # Errors
///
/// Fails if `out` cannot be written to.
pub fn event(out: &mut impl Write, event: &Event<'_>, stack: Option<&[Frame]>) -> io::Result<()> {
    write_line(out, &EventLine { event, stack })
}

/// Writes the hit counts, the last line of a stream.
pub(crate) fn summary(out: &mut impl Write, summary: Summary) -> io::Result<()> {
    #[derive(Serialize)]
    struct SummaryLine {
        summary: Summary,
    }
    write_line(out, &SummaryLine { summary })
}

/// Writes one object per probe site.
pub(crate) fn list(out: &mut impl Write, selected: &[Selected]) -> io::Result<()> {
    #[derive(Serialize)]
    struct Site<'a> {
        object: Cow<'a, str>,
        provider: &'a str,
        probe: &'a str,
        address: u64,
        semaphore: Option<u64>,
        args: &'a str,
        source: Source,
        #[serde(skip_serializing_if = "Option::is_none")]
        injected: Option<&'a str>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        single_step: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        architecture: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        schema: Option<&'a schema::Probe>,
        #[serde(skip_serializing_if = "Option::is_none")]
        schema_source: Option<SchemaSource>,
        #[serde(skip_serializing_if = "<[u32]>::is_empty")]
        pids: &'a [u32],
        /// The ids of each process in a nested PID namespace, from this namespace to its own.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        nspid: Vec<&'a [u32]>,
    }
    let mut ids: HashMap<u32, Vec<u32>> = HashMap::new();
    for pid in selected.iter().flat_map(|one| one.pids.iter()) {
        ids.entry(*pid).or_insert_with(|| namespace_ids(*pid));
    }
    for Selected { object, probe, pids } in selected {
        let site = Site {
            object: object.path.to_string_lossy(),
            provider: &probe.provider,
            probe: &probe.name,
            address: probe.address,
            semaphore: probe.semaphore,
            args: &probe.args,
            source: probe.source,
            injected: probe.injected.as_deref(),
            architecture: probe.foreign_architecture(),
            single_step: probe.is_single_stepped(),
            schema: probe.schema.as_ref(),
            schema_source: probe.schema_source,
            pids,
            nspid: pids
                .iter()
                .filter_map(|pid| ids.get(pid).map(Vec::as_slice))
                .filter(|ids| ids.len() > 1)
                .collect(),
        };
        write_line(out, &site)?;
    }
    Ok(())
}

/// Writes the totals of an aggregation, one row per line. `time_ns` is the time of a report that is
/// not the only one; `None` leaves it out.
pub(crate) fn rows(
    out: &mut impl Write,
    rows: &[Row],
    unit: Option<&'static str>,
    time_ns: Option<u64>,
) -> io::Result<()> {
    rows.iter().try_for_each(|row| write_line(out, &RowLine { row, unit, time_ns }))
}

struct RowLine<'a> {
    row: &'a Row,
    unit: Option<&'static str>,
    time_ns: Option<u64>,
}

/// A bucket's lowest and highest value, `null` if it has no bound, and its count.
#[derive(Serialize)]
struct Bucket {
    lo: Option<i128>,
    hi: Option<i128>,
    count: u64,
}

impl Serialize for RowLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Row { probe, labels, total } = self.row;
        let mut map = serializer.serialize_map(None)?;
        if let Some(time_ns) = self.time_ns {
            map.serialize_entry("time_ns", &time_ns)?;
        }
        map.serialize_entry("provider", &probe.provider)?;
        map.serialize_entry("probe", &probe.name)?;
        map.serialize_entry("labels", &Labels(labels))?;
        map.serialize_entry("count", &total.count())?;
        if let Total::Histogram(histogram) = total {
            serialize_histogram(&mut map, histogram, self.unit)?;
        }
        map.end()
    }
}

fn serialize_histogram<M: SerializeMap>(
    map: &mut M,
    histogram: &Histogram,
    unit: Option<&'static str>,
) -> Result<(), M::Error> {
    let mut buckets = Vec::new();
    for (index, count) in histogram.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (lo, hi) = histogram.buckets.bounds(index);
        buckets.push(Bucket { lo, hi, count: *count });
    }
    map.serialize_entry("buckets", &buckets)?;
    map.serialize_entry("min", &histogram.min)?;
    map.serialize_entry("max", &histogram.max)?;
    map.serialize_entry("sum", &histogram.sum)?;
    map.serialize_entry("unit", &unit)
}

/// A histogram of nanoseconds, with the members that `latency` writes.
pub(crate) struct NanosHistogram<'a>(pub(crate) &'a Histogram);

impl Serialize for NanosHistogram<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("count", &self.0.count())?;
        serialize_histogram(&mut map, self.0, Some("ns"))?;
        map.end()
    }
}

/// The values that hits are grouped by; empty if they are not grouped.
struct Labels<'a>(&'a [(String, LabelValue)]);

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, key)| (name, JsonValue(key.value()))))
    }
}

/// Writes a value and a newline.
pub(crate) fn write_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    cli_common::write_json(out, value)?;
    out.write_all(b"\n")
}

struct EventLine<'a> {
    event: &'a Event<'a>,
    stack: Option<&'a [Frame]>,
}

impl Serialize for EventLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.event;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time_ns", &event.time_ns)?;
        map.serialize_entry("pid", &event.pid)?;
        map.serialize_entry("tid", &event.tid)?;
        if let Some(goid) = event.goid {
            map.serialize_entry("goid", &goid)?;
        }
        map.serialize_entry("comm", &String::from_utf8_lossy(event.comm()))?;
        map.serialize_entry("provider", &event.probe.provider)?;
        map.serialize_entry("probe", &event.probe.name)?;
        map.serialize_entry("args", &Args(event))?;
        serialize_names(&mut map, "missing", event, |value| matches!(value, Value::Missing))?;
        serialize_names(&mut map, "unreadable", event, |value| matches!(value, Value::Unreadable))?;
        serialize_names(&mut map, "truncated", event, |value| value.is_truncated())?;
        serialize_names(&mut map, "hex", event, is_hex)?;
        if let Some(stack) = self.stack {
            let frames: Vec<String> = stack.iter().map(Frame::to_string).collect();
            map.serialize_entry("stack", &frames)?;
        }
        map.end()
    }
}

/// Adds the names of the arguments for which `holds` is true, if there are any.
fn serialize_names<M: SerializeMap>(
    map: &mut M,
    key: &str,
    event: &Event<'_>,
    holds: fn(&Value<'_>) -> bool,
) -> Result<(), M::Error> {
    if !event.args().any(|(_, value)| holds(&value)) {
        return Ok(());
    }
    let names: Vec<&str> =
        event.args().filter(|(_, value)| holds(value)).map(|(name, _)| name).collect();
    map.serialize_entry(key, &names)
}

/// The arguments of an event, by name.
pub(crate) struct Args<'a>(pub(crate) &'a Event<'a>);

impl Serialize for Args<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let args = self.0.args();
        let mut map = serializer.serialize_map(Some(args.len()))?;
        for (name, value) in args {
            map.serialize_entry(name, &JsonValue(value))?;
        }
        map.end()
    }
}

/// True for a value that is a string of hexadecimal digits.
fn is_hex(value: &Value<'_>) -> bool {
    match value {
        Value::Bytes { .. } => value.printable().is_none(),
        Value::Wide(_) => true,
        _ => false,
    }
}

struct JsonValue<'a>(Value<'a>);

impl Serialize for JsonValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Signed(n) => serializer.serialize_i64(n),
            Value::Unsigned(n) | Value::Pointer(n) => serializer.serialize_u64(n),
            Value::Float(n) => serializer.serialize_f64(n),
            Value::Bool(b) => serializer.serialize_bool(b),
            Value::Time(time) => serializer.collect_str(&time),
            Value::String { bytes, .. } => {
                serializer.serialize_str(&String::from_utf8_lossy(bytes))
            }
            Value::Bytes { .. } | Value::Wide(_) => {
                serializer.serialize_str(&self.0.to_plain_string())
            }
            Value::Nil | Value::Missing | Value::Unreadable => serializer.serialize_unit(),
            // A kind of value that this version does not know.
            _ => serializer.serialize_unit(),
        }
    }
}
