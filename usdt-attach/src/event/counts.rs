//! Rows that the kernel counted: counts and histograms per probe and key.

use crate::backend::{Counts, TableEntry};
use crate::event::Value;
use crate::plan::{
    ArgSlot, Buckets, FIRST_BUCKET, Field, FieldKind, KEY_STRING_LEN, Plan, PlannedProbe,
};
use std::collections::HashMap;

/// A row: a probe, the key that its hits share, and their total.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The probe. For latencies, the one where they end.
    pub probe: PlannedProbe,
    /// Names and values of the key, in the order of the options; empty without a key.
    pub key: Vec<(String, Key)>,
    /// The total of the hits.
    pub total: Total,
}

/// A part of a key.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Key {
    /// A signed integer.
    Signed(i64),
    /// An unsigned integer.
    Unsigned(u64),
    /// A float.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// An address.
    Pointer(u64),
    /// A string, and whether it is truncated.
    String(Vec<u8>, bool),
    /// Bytes, and whether they are truncated.
    Bytes(Vec<u8>, bool),
    /// A null pointer to a string, or a string that cannot be read.
    Nil,
}

/// The total of a row's hits.
#[derive(Clone, Debug, PartialEq)]
pub enum Total {
    /// Number of hits.
    Count(u64),
    /// A histogram of their values.
    Histogram(Histogram),
}

/// A histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// The bounds of the buckets.
    pub buckets: Buckets,
    /// Number of values in each bucket.
    pub counts: Vec<u64>,
    /// Sum of the values. The sum of each CPU wraps around at 64 bits.
    pub sum: i128,
    /// Lowest value.
    pub min: i128,
    /// Highest value.
    pub max: i128,
}

impl Key {
    /// The same value as an event has it.
    pub fn value(&self) -> Value<'_> {
        match self {
            Key::Signed(n) => Value::Signed(*n),
            Key::Unsigned(n) => Value::Unsigned(*n),
            Key::Float(n) => Value::Float(*n),
            Key::Bool(b) => Value::Bool(*b),
            Key::Pointer(p) => Value::Pointer(*p),
            Key::String(bytes, cut) => Value::String { bytes, truncated: (*cut).into() },
            Key::Bytes(bytes, cut) => Value::Bytes { bytes, truncated: (*cut).into() },
            Key::Nil => Value::Nil,
        }
    }
}

impl Total {
    /// Number of hits.
    pub fn count(&self) -> u64 {
        match self {
            Total::Count(n) => *n,
            Total::Histogram(h) => h.count(),
        }
    }
}

impl Histogram {
    /// Adds the values of another histogram with the same buckets.
    pub fn merge(&mut self, more: &Histogram) {
        if self.count() == 0 {
            self.clone_from(more);
        } else if more.count() > 0 {
            self.counts.iter_mut().zip(&more.counts).for_each(|(n, more)| *n += more);
            self.sum += more.sum;
            self.min = self.min.min(more.min);
            self.max = self.max.max(more.max);
        }
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The quantile of a share between 0 and 1, to the precision of the buckets: the upper bound of its bucket, within
    /// the lowest and highest value.
    pub fn quantile(&self, share: f64) -> i128 {
        let wanted = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return self.buckets.bounds(index).1.unwrap_or(self.max).clamp(self.min, self.max);
            }
        }
        self.max
    }
}

/// The rows of one or more plans with the same options, most hits first. Equal rows are added up.
pub fn rows<'a>(
    parts: impl IntoIterator<Item = (&'a Plan, &'a [Counts], &'a [TableEntry])>,
) -> Vec<Row> {
    let mut out: Vec<Row> = Vec::new();
    let mut known: HashMap<(PlannedProbe, Vec<u8>), usize> = HashMap::new();
    let mut add =
        |probe: &PlannedProbe, raw: &[u8], key: Vec<(String, Key)>, total: Total| match known
            .get(&(probe.clone(), raw.to_vec()))
            .and_then(|i| out.get_mut(*i))
        {
            Some(row) => merge(&mut row.total, total),
            None => {
                known.insert((probe.clone(), raw.to_vec()), out.len());
                out.push(Row { probe: probe.clone(), key, total });
            }
        };
    for (plan, counts, entries) in parts {
        let Some(table) = &plan.table else {
            for (site, counts) in plan.sites().into_iter().zip(counts) {
                if let Some(probe) = plan.probes.get(site.probe as usize) {
                    let taken = counts.hits.saturating_sub(counts.filtered + counts.dropped);
                    add(probe, &[], Vec::new(), Total::Count(taken));
                }
            }
            continue;
        };
        for entry in entries {
            let series = entry.key.first_chunk::<4>().map_or(0, |raw| u32::from_le_bytes(*raw));
            let Some(probe) = plan.probes.get(series as usize) else { continue };
            let total = match table.buckets {
                None => Total::Count(entry.values.iter().filter_map(|words| words.first()).sum()),
                Some(buckets) => Total::Histogram(histogram(buckets, &entry.values)),
            };
            if table.is_array() && table.buckets.is_some() && total.count() == 0 {
                continue;
            }
            let key = table.fields.iter().map(|f| (f.name.clone(), key(f, &entry.key))).collect();
            add(probe, entry.key.get(4..).unwrap_or_default(), key, total);
        }
    }
    out.sort_by(|a, b| {
        let count = |r: &Row| std::cmp::Reverse(r.total.count());
        (count(a), &a.probe.provider, &a.probe.name).cmp(&(
            count(b),
            &b.probe.provider,
            &b.probe.name,
        ))
    });
    out
}

/// Adds rows to others. Equal rows are added up.
pub fn merge_rows(into: &mut Vec<Row>, more: Vec<Row>) {
    let name = |row: &Row| (row.probe.clone(), format!("{:?}", row.key));
    let mut known: HashMap<_, usize> =
        into.iter().enumerate().map(|(at, row)| (name(row), at)).collect();
    for row in more {
        match known.get(&name(&row)).and_then(|at| into.get_mut(*at)) {
            Some(one) => merge(&mut one.total, row.total),
            None => {
                known.insert(name(&row), into.len());
                into.push(row);
            }
        }
    }
}

fn merge(total: &mut Total, other: Total) {
    match (total, other) {
        (Total::Count(n), Total::Count(more)) => *n += more,
        (Total::Histogram(one), Total::Histogram(more)) => one.merge(&more),
        _ => {}
    }
}

fn histogram(buckets: Buckets, cpus: &[Vec<u64>]) -> Histogram {
    let signed = buckets.signed();
    let number = |raw: u64| if signed { i128::from(raw as i64) } else { i128::from(raw) };
    // Stored with the sign bit turned, so that the order is that of unsigned numbers.
    let turned = |raw: u64| number(if signed { raw ^ 1 << 63 } else { raw });
    let mut out = Histogram { buckets, counts: vec![0; buckets.count()], sum: 0, min: 0, max: 0 };
    let mut first = true;
    for words in cpus {
        let Some(([sum, highest, lowest], counts)) = words.split_first_chunk::<FIRST_BUCKET>()
        else {
            continue;
        };
        if counts.iter().all(|n| *n == 0) {
            continue;
        }
        out.counts.iter_mut().zip(counts).for_each(|(n, more)| *n += more);
        out.sum += number(*sum);
        let (low, high) = (turned(!lowest), turned(*highest));
        (out.min, out.max) =
            if first { (low, high) } else { (out.min.min(low), out.max.max(high)) };
        first = false;
    }
    out
}

fn key(field: &Field, raw: &[u8]) -> Key {
    let word =
        |size| ArgSlot { at: field.at, size, signed: false, fault: None }.read(raw).unwrap_or(0);
    let bytes = |from: u32, len: u32| {
        raw.get(from as usize..)
            .and_then(|rest| rest.get(..len as usize))
            .unwrap_or_default()
            .to_vec()
    };
    match field.kind {
        FieldKind::Enum { labels } => match labels.get(word(8) as usize) {
            Some(text) => Key::String(text.as_bytes().to_vec(), false),
            None => Key::Unsigned(word(8)),
        },
        FieldKind::Int { signed: true } => Key::Signed(word(8) as i64),
        FieldKind::Int { signed: false } => Key::Unsigned(word(8)),
        FieldKind::Float { size: 4 } => Key::Float(f64::from(f32::from_bits(word(4) as u32))),
        FieldKind::Float { .. } => Key::Float(f64::from_bits(word(8))),
        FieldKind::Bool => Key::Bool(word(8) != 0),
        FieldKind::Pointer => Key::Pointer(word(8)),
        FieldKind::Comm => {
            let name = bytes(field.at, 16);
            Key::String(name.split(|b| *b == 0).next().unwrap_or_default().to_vec(), false)
        }
        FieldKind::String { bytes: plain } => {
            let length = word(4) as u32;
            // The helper's error number, of a C string.
            if length > KEY_STRING_LEN {
                return Key::Nil;
            }
            let mut text = bytes(field.at + 8, length);
            // What is as long as the room for it may have been longer, and the last byte may be a zero.
            let cut = length == KEY_STRING_LEN;
            if cut || text.last() == Some(&0) && !plain {
                text.pop();
            }
            if plain { Key::Bytes(text, cut) } else { Key::String(text, cut) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_and_highest_over_cpus() {
        let buckets = Buckets::Log2 { signed: true };
        let cpu = |values: &[i64]| {
            let mut words = vec![0u64; FIRST_BUCKET + buckets.count()];
            for value in values {
                let turned = *value as u64 ^ 1 << 63;
                words[0] = words[0].wrapping_add(*value as u64);
                words[1] = words[1].max(turned);
                words[2] = words[2].max(!turned);
                words[FIRST_BUCKET + buckets.index(*value as u64)] += 1;
            }
            words
        };
        let all = histogram(buckets, &[cpu(&[]), cpu(&[-5, 3]), cpu(&[7]), cpu(&[])]);
        assert_eq!((all.min, all.max, all.sum, all.count()), (-5, 7, 5, 3));
        assert_eq!((all.quantile(0.5), all.quantile(1.0)), (3, 7));
        let none = histogram(buckets, &[cpu(&[])]);
        assert_eq!((none.count(), none.quantile(0.99)), (0, 0));
    }

    #[test]
    fn texts_of_keys() {
        let field = Field { name: "m".into(), kind: FieldKind::String { bytes: false }, at: 8 };
        let read = |length: u32, text: &[u8]| {
            let mut raw = vec![0; 8];
            raw.extend(u64::from(length).to_le_bytes());
            raw.extend(text);
            raw.resize(8 + 8 + KEY_STRING_LEN as usize, 0);
            key(&field, &raw)
        };
        assert_eq!(read(3, b"GET"), Key::String(b"GET".to_vec(), false));
        assert_eq!(read(4, b"GET\0"), Key::String(b"GET".to_vec(), false), "a C string");
        assert_eq!(read(64, &[b'x'; 64]), Key::String(vec![b'x'; 63], true));
        assert_eq!(read(0, b""), Key::String(Vec::new(), false));
        assert_eq!(read(-14i32 as u32, b""), Key::Nil);
    }
}
