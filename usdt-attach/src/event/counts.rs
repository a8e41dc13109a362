//! Rows that the kernel has aggregated: counts and histograms per probe and label values.

use crate::event::Value;
use crate::filter::PROCESS;
use crate::kernel::Counts;
use crate::plan::{
    ArgSlot, Buckets, FIRST_BUCKET, Field, FieldKind, KEY_STRING_LEN, Plan, PlannedProbe, Table,
    TableEntry,
};
use std::collections::HashMap;

/// The aggregated hits of a probe that have the same label values.
///
/// [`Aggregation::snapshot`](crate::Aggregation::snapshot) and
/// [`Session::rows`](crate::session::Session::rows) return rows.
///
/// ```no_run
/// use usdt_attach::event::counts::{Row, Total};
///
/// fn print(row: &Row) {
///     for (name, value) in &row.labels {
///         print!("{name}={} ", value.value().to_plain_string());
///     }
///     match &row.total {
///         Total::Count(hits) => println!("{hits}"),
///         Total::Histogram(histogram) => println!("p99 {}", histogram.quantile(0.99)),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The probe. For latencies, the probe of the end.
    pub probe: PlannedProbe,
    /// Names and values of the labels, in the order of the options. Empty without labels.
    pub labels: Vec<(String, LabelValue)>,
    /// The count or histogram of the hits.
    pub total: Total,
}

/// The value of a label. Unlike a [`Value`], it owns its bytes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LabelValue {
    /// A signed integer.
    Signed(i64),
    /// An unsigned integer.
    Unsigned(u64),
    /// A floating-point number.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// An address in the traced process.
    Pointer(u64),
    /// A string, and whether it is truncated. Labels keep at most 63 bytes of a string.
    String(Vec<u8>, bool),
    /// A byte slice, and whether it is truncated, with the same limit as strings.
    Bytes(Vec<u8>, bool),
    /// A null pointer to a C string, or a C string that could not be read.
    Nil,
}

/// What a [`Row`] has aggregated.
#[derive(Clone, Debug, PartialEq)]
pub enum Total {
    /// The number of hits.
    Count(u64),
    /// A histogram of the argument's values or of latencies.
    Histogram(Histogram),
}

/// A histogram of integers.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// The bounds of the buckets.
    pub buckets: Buckets,
    /// The number of values in each bucket. The length is [`Buckets::count`].
    pub counts: Vec<u64>,
    /// The sum of the values. Each CPU's part of the sum wraps around at 64 bits.
    pub sum: i128,
    /// The smallest value; 0 if there are none.
    pub min: i128,
    /// The largest value; 0 if there are none.
    pub max: i128,
}

impl LabelValue {
    /// The same value in the form that events have.
    pub fn value(&self) -> Value<'_> {
        match self {
            LabelValue::Signed(n) => Value::Signed(*n),
            LabelValue::Unsigned(n) => Value::Unsigned(*n),
            LabelValue::Float(n) => Value::Float(*n),
            LabelValue::Bool(b) => Value::Bool(*b),
            LabelValue::Pointer(p) => Value::Pointer(*p),
            LabelValue::String(bytes, is_truncated) => {
                Value::String { bytes, truncated: (*is_truncated).into() }
            }
            LabelValue::Bytes(bytes, is_truncated) => {
                Value::Bytes { bytes, truncated: (*is_truncated).into() }
            }
            LabelValue::Nil => Value::Nil,
        }
    }
}

impl Total {
    /// The number of hits.
    pub fn count(&self) -> u64 {
        match self {
            Total::Count(n) => *n,
            Total::Histogram(histogram) => histogram.count(),
        }
    }

    /// Adds another total of the same kind.
    fn merge(&mut self, other: Total) {
        match (self, other) {
            (Total::Count(n), Total::Count(other)) => *n += other,
            (Total::Histogram(histogram), Total::Histogram(other)) => histogram.merge(&other),
            _ => {}
        }
    }
}

impl Histogram {
    /// Adds the values of another histogram with the same buckets.
    pub fn merge(&mut self, other: &Histogram) {
        if self.count() == 0 {
            self.clone_from(other);
        } else if other.count() > 0 {
            self.counts.iter_mut().zip(&other.counts).for_each(|(n, other)| *n += other);
            self.sum += other.sum;
            self.min = self.min.min(other.min);
            self.max = self.max.max(other.max);
        }
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Estimates the quantile `q`, from 0 to 1: the upper bound of the bucket that contains it,
    /// clamped to the smallest and largest value. 0 if there are no values.
    pub fn quantile(&self, q: f64) -> i128 {
        let rank = (self.count() as f64 * q).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return self.buckets.bounds(index).1.unwrap_or(self.max).clamp(self.min, self.max);
            }
        }
        self.max
    }
}

/// Removes the process from a row of a plan that keeps processes apart, and returns its id. `None`
/// for rows of other plans.
#[doc(hidden)]
pub fn process_of(row: &mut Row) -> Option<u32> {
    let index = row.labels.iter().position(|(name, _)| name == PROCESS)?;
    match row.labels.remove(index).1 {
        LabelValue::Unsigned(pid) => u32::try_from(pid).ok(),
        _ => None,
    }
}

/// The process in a key of a plan's table; `None` if the plan does not keep processes apart.
pub(crate) fn process_in_key(table: &Table, key: &[u8]) -> Option<u32> {
    let field = table.fields.iter().find(|field| field.name == PROCESS)?;
    match decode_label(field, key) {
        LabelValue::Unsigned(pid) => u32::try_from(pid).ok(),
        _ => None,
    }
}

/// Collects rows. Rows with the same probe and raw key are merged.
#[derive(Default)]
struct RowSet {
    rows: Vec<Row>,
    /// Index of each row, by probe and raw key.
    indices: HashMap<(PlannedProbe, Vec<u8>), usize>,
}

impl RowSet {
    fn add(&mut self, raw_key: &[u8], row: Row) {
        let id = (row.probe.clone(), raw_key.to_vec());
        match self.indices.get(&id).and_then(|index| self.rows.get_mut(*index)) {
            Some(known) => known.total.merge(row.total),
            None => {
                self.indices.insert(id, self.rows.len());
                self.rows.push(row);
            }
        }
    }

    /// The rows, most hits first.
    fn sorted(mut self) -> Vec<Row> {
        sort_rows(&mut self.rows);
        self.rows
    }
}

/// Sorts rows, most hits first.
pub(crate) fn sort_rows(rows: &mut [Row]) {
    rows.sort_by(|a, b| {
        let by_count = b.total.count().cmp(&a.total.count());
        by_count
            .then_with(|| a.probe.provider.cmp(&b.probe.provider))
            .then_with(|| a.probe.name.cmp(&b.probe.name))
    });
}

/// Decodes the rows of one or more plans with the same options, most hits first. A plan without a
/// table has one count per probe.
pub(crate) fn rows<'a>(
    parts: impl IntoIterator<Item = (&'a Plan, &'a [Counts], &'a [TableEntry])>,
) -> Vec<Row> {
    let mut set = RowSet::default();
    for (plan, counts, entries) in parts {
        let Some(table) = &plan.table else {
            for (site, counts) in plan.sites().into_iter().zip(counts) {
                if let Some(probe) = plan.probes.get(site.probe as usize) {
                    let passed = counts.hits.saturating_sub(counts.filtered + counts.dropped);
                    let total = Total::Count(passed);
                    set.add(&[], Row { probe: probe.clone(), labels: Vec::new(), total });
                }
            }
            continue;
        };
        for entry in entries {
            let probe = entry.key.first_chunk::<4>().map_or(0, |raw| u32::from_le_bytes(*raw));
            let Some(probe) = plan.probes.get(probe as usize) else { continue };
            let total = match table.buckets {
                None => Total::Count(entry.values.iter().filter_map(|words| words.first()).sum()),
                Some(buckets) => Total::Histogram(decode_histogram(buckets, &entry.values)),
            };
            // An array has an entry for each probe, even if it was never hit.
            if table.is_array() && table.buckets.is_some() && total.count() == 0 {
                continue;
            }
            let labels = table
                .fields
                .iter()
                .map(|field| (field.name.clone(), decode_label(field, &entry.key)))
                .collect();
            let raw_key = entry.key.get(4..).unwrap_or_default();
            set.add(raw_key, Row { probe: probe.clone(), labels, total });
        }
    }
    set.sorted()
}

/// Adds `rows` to `into`. Rows with the same probe and labels are merged; the others are appended.
pub fn merge_rows(into: &mut Vec<Row>, rows: Vec<Row>) {
    let id = |row: &Row| (row.probe.clone(), format!("{:?}", row.labels));
    let mut indices: HashMap<_, usize> =
        into.iter().enumerate().map(|(index, row)| (id(row), index)).collect();
    for row in rows {
        match indices.get(&id(&row)).and_then(|index| into.get_mut(*index)) {
            Some(known) => known.total.merge(row.total),
            None => {
                indices.insert(id(&row), into.len());
                into.push(row);
            }
        }
    }
}

/// Decodes and merges the values that each CPU has written: sum, order-preserving maximum,
/// order-preserving maximum of the complement, then the bucket counts.
fn decode_histogram(buckets: Buckets, cpus: &[Vec<u64>]) -> Histogram {
    let is_signed = buckets.signed();
    let to_number = |raw: u64| if is_signed { i128::from(raw as i64) } else { i128::from(raw) };
    // Signed extremes are stored with an inverted sign bit, so that they compare as unsigned numbers.
    let extreme = |raw: u64| to_number(if is_signed { raw ^ 1 << 63 } else { raw });
    let mut out = Histogram { buckets, counts: vec![0; buckets.count()], sum: 0, min: 0, max: 0 };
    let mut is_empty = true;
    for words in cpus {
        let Some(([sum, max, inverted_min], counts)) = words.split_first_chunk::<FIRST_BUCKET>()
        else {
            continue;
        };
        if counts.iter().all(|n| *n == 0) {
            continue;
        }
        out.counts.iter_mut().zip(counts).for_each(|(n, added)| *n += added);
        out.sum += to_number(*sum);
        let (min, max) = (extreme(!inverted_min), extreme(*max));
        (out.min, out.max) =
            if is_empty { (min, max) } else { (out.min.min(min), out.max.max(max)) };
        is_empty = false;
    }
    out
}

/// Decodes a field of a table key.
fn decode_label(field: &Field, raw: &[u8]) -> LabelValue {
    let word =
        |size| ArgSlot { at: field.at, size, signed: false, fault: None }.read(raw).unwrap_or(0);
    let bytes = |from: u32, len: u32| {
        raw.get(from as usize..)
            .and_then(|rest| rest.get(..len as usize))
            .unwrap_or_default()
            .to_vec()
    };
    match &field.kind {
        FieldKind::Enum { labels, signed } => match labels.get(word(8) as i64) {
            Some(label) => LabelValue::String(label.as_bytes().to_vec(), false),
            None if *signed => LabelValue::Signed(word(8) as i64),
            None => LabelValue::Unsigned(word(8)),
        },
        FieldKind::Int { signed: true } => LabelValue::Signed(word(8) as i64),
        FieldKind::Int { signed: false } => LabelValue::Unsigned(word(8)),
        FieldKind::Float { size: 4 } => {
            LabelValue::Float(f64::from(f32::from_bits(word(4) as u32)))
        }
        FieldKind::Float { .. } => LabelValue::Float(f64::from_bits(word(8))),
        FieldKind::Bool => LabelValue::Bool(word(8) != 0),
        FieldKind::Pointer => LabelValue::Pointer(word(8)),
        FieldKind::Comm => {
            let name = bytes(field.at, 16);
            LabelValue::String(name.split(|b| *b == 0).next().unwrap_or_default().to_vec(), false)
        }
        FieldKind::String { bytes: is_bytes } => {
            let is_bytes = *is_bytes;
            let length = word(4) as u32;
            // For a C string that cannot be read, the length is a negative error number.
            if length > KEY_STRING_LEN {
                return LabelValue::Nil;
            }
            let mut content = bytes(field.at + 8, length);
            // A value that fills the field may have been longer. Its last byte is dropped, because it
            // is the NUL of a truncated C string.
            let is_truncated = length == KEY_STRING_LEN;
            if is_truncated || content.last() == Some(&0) && !is_bytes {
                content.pop();
            }
            if is_bytes {
                LabelValue::Bytes(content, is_truncated)
            } else {
                LabelValue::String(content, is_truncated)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_the_histograms_of_all_cpus() {
        let buckets = Buckets::Log2 { signed: true };
        let cpu = |values: &[i64]| {
            let mut words = vec![0u64; FIRST_BUCKET + buckets.count()];
            for value in values {
                let ordered = *value as u64 ^ 1 << 63;
                words[0] = words[0].wrapping_add(*value as u64);
                words[1] = words[1].max(ordered);
                words[2] = words[2].max(!ordered);
                words[FIRST_BUCKET + buckets.index(*value as u64)] += 1;
            }
            words
        };
        let all = decode_histogram(buckets, &[cpu(&[]), cpu(&[-5, 3]), cpu(&[7]), cpu(&[])]);
        assert_eq!((all.min, all.max, all.sum, all.count()), (-5, 7, 5, 3));
        assert_eq!((all.quantile(0.5), all.quantile(1.0)), (3, 7));
        let empty = decode_histogram(buckets, &[cpu(&[])]);
        assert_eq!((empty.count(), empty.quantile(0.99)), (0, 0));
    }

    #[test]
    fn decodes_string_labels() {
        let field = Field { name: "m".into(), kind: FieldKind::String { bytes: false }, at: 8 };
        let read = |length: u32, bytes: &[u8]| {
            let mut raw = vec![0; 8];
            raw.extend(u64::from(length).to_le_bytes());
            raw.extend(bytes);
            raw.resize(8 + 8 + KEY_STRING_LEN as usize, 0);
            decode_label(&field, &raw)
        };
        assert_eq!(read(3, b"GET"), LabelValue::String(b"GET".to_vec(), false));
        assert_eq!(read(4, b"GET\0"), LabelValue::String(b"GET".to_vec(), false), "a C string");
        assert_eq!(read(64, &[b'x'; 64]), LabelValue::String(vec![b'x'; 63], true));
        assert_eq!(read(0, b""), LabelValue::String(Vec::new(), false));
        assert_eq!(read(-14i32 as u32, b""), LabelValue::Nil);
    }
}
