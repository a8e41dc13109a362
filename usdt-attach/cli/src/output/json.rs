//! JSON: one object per line. Strings that are not UTF-8 have their invalid bytes replaced; bytes are hexadecimal; nil,
//! unreadable values and floats that JSON cannot express (infinities, NaN) are `null`. Events list the names of unreadable
//! and truncated arguments, so that these differ from nil and from whole strings.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use stapsdt::schema;
use std::io::{self, Write};
use std::path::Path;
use usdt_attach::discover::Source;
use usdt_attach::discover::select::Selected;
use usdt_attach::event::counts::{Histogram, LabelValue, Row, Total};
use usdt_attach::event::symbolize::Frame;
use usdt_attach::event::{Event, Value};
use usdt_attach::session::Summary;

/// Writes an event and a newline, with its stack where it was asked for.
pub fn event(out: &mut impl Write, event: &Event<'_>, stack: Option<&[Frame]>) -> io::Result<()> {
    line(out, &Line(event, stack))
}

/// Writes the last line of a stream.
pub fn summary(out: &mut impl Write, summary: Summary) -> io::Result<()> {
    #[derive(Serialize)]
    struct Last {
        summary: Summary,
    }
    line(out, &Last { summary })
}

/// Writes one object per site.
pub fn list(out: &mut impl Write, chosen: &[Selected]) -> io::Result<()> {
    #[derive(Serialize)]
    struct Row<'a> {
        object: &'a Path,
        provider: &'a str,
        probe: &'a str,
        address: u64,
        semaphore: Option<u64>,
        args: &'a str,
        source: Source,
        #[serde(skip_serializing_if = "Option::is_none")]
        schema: Option<&'a schema::Probe>,
        #[serde(skip_serializing_if = "<[u32]>::is_empty")]
        pids: &'a [u32],
    }
    for Selected { object, probe, pids } in chosen {
        let row = Row {
            object: &object.path,
            provider: &probe.provider,
            probe: &probe.name,
            address: probe.address,
            semaphore: probe.semaphore,
            args: &probe.args,
            source: probe.source,
            schema: probe.schema.as_ref(),
            pids,
        };
        line(out, &row)?;
    }
    Ok(())
}

/// Writes a row a line; `time_ns` stamps those that more will follow.
pub fn rows(
    out: &mut impl Write,
    rows: &[Row],
    unit: Option<&'static str>,
    time_ns: Option<u64>,
) -> io::Result<()> {
    rows.iter().try_for_each(|row| line(out, &Counted { row, unit, time_ns }))
}

struct Counted<'a> {
    row: &'a Row,
    unit: Option<&'static str>,
    time_ns: Option<u64>,
}

#[derive(Serialize)]
struct Bucket {
    lo: Option<i128>,
    hi: Option<i128>,
    count: u64,
}

impl Serialize for Counted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Row { probe, labels, total } = self.row;
        let mut map = serializer.serialize_map(None)?;
        if let Some(time) = self.time_ns {
            map.serialize_entry("time_ns", &time)?;
        }
        map.serialize_entry("provider", &probe.provider)?;
        map.serialize_entry("probe", &probe.name)?;
        match labels.as_slice() {
            [] => {}
            [(_, one)] => map.serialize_entry("by", &Json(one.value()))?,
            several => map.serialize_entry("by", &By(several))?,
        }
        map.serialize_entry("count", &total.count())?;
        if let Total::Histogram(histogram) = total {
            buckets(&mut map, histogram, self.unit)?;
        }
        map.end()
    }
}

fn buckets<M: SerializeMap>(
    map: &mut M,
    histogram: &Histogram,
    unit: Option<&'static str>,
) -> Result<(), M::Error> {
    let used = histogram.counts.iter().enumerate().filter(|(_, n)| **n > 0);
    let bucket = |(index, count): (usize, &u64)| {
        let (lo, hi) = histogram.buckets.bounds(index);
        Bucket { lo, hi, count: *count }
    };
    map.serialize_entry("buckets", &used.map(bucket).collect::<Vec<_>>())?;
    map.serialize_entry("min", &histogram.min)?;
    map.serialize_entry("max", &histogram.max)?;
    map.serialize_entry("sum", &histogram.sum)?;
    map.serialize_entry("unit", &unit)
}

/// Nanoseconds by size, as `hist` and `latency` write them.
pub(crate) struct Times<'a>(pub(crate) &'a Histogram);

impl Serialize for Times<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("count", &self.0.count())?;
        buckets(&mut map, self.0, Some("ns"))?;
        map.end()
    }
}

struct By<'a>(&'a [(String, LabelValue)]);

impl Serialize for By<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, key)| (name, Json(key.value()))))
    }
}

pub(crate) fn line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

struct Line<'a>(&'a Event<'a>, Option<&'a [Frame]>);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.0;
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
        serialize_names(&mut map, "unreadable", event, |value| matches!(value, Value::Unreadable))?;
        serialize_names(&mut map, "truncated", event, |value| value.is_truncated())?;
        if let Some(stack) = self.1 {
            let frames: Vec<String> = stack.iter().map(Frame::to_string).collect();
            map.serialize_entry("stack", &frames)?;
        }
        map.end()
    }
}

/// The names of the arguments for which `holds`, if there are any.
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

/// The arguments of an event.
pub(crate) struct Args<'a>(pub(crate) &'a Event<'a>);

impl Serialize for Args<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let args = self.0.args();
        let mut map = serializer.serialize_map(Some(args.len()))?;
        for (name, value) in args {
            map.serialize_entry(name, &Json(value))?;
        }
        map.end()
    }
}

struct Json<'a>(Value<'a>);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Signed(n) => serializer.serialize_i64(n),
            Value::Unsigned(n) | Value::Pointer(n) => serializer.serialize_u64(n),
            Value::Float(n) => serializer.serialize_f64(n),
            Value::Bool(b) => serializer.serialize_bool(b),
            Value::String { bytes, .. } => {
                serializer.serialize_str(&String::from_utf8_lossy(bytes))
            }
            Value::Bytes { .. } => serializer.serialize_str(&self.0.to_plain_string()),
            Value::Nil | Value::Unreadable => serializer.serialize_unit(),
            // A kind of value that this version does not know.
            _ => serializer.serialize_unit(),
        }
    }
}
