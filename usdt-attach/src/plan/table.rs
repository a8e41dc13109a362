//! The table of an aggregating plan: the layout of its keys and values, and the types of its key
//! fields.
//!
//! # Table layout
//!
//! BPF programs aggregate hits in a map, whose entries the reader decodes:
//!
//! ```text
//! key:    u32 index of the probe in the plan, u32 0, fields
//! field:  8 bytes; string: u32 length, u32 0, 64 bytes padded with zeros; comm: 16 bytes
//! value:  u64 count; or u64 sum, u64 highest, u64 complement of the lowest, u64 count of each bucket
//! ```
//!
//! The highest and the lowest value have their sign bit inverted if the values are signed. So both
//! can be updated with an unsigned comparison, and a value of all zeros stands for "no hit yet".

use super::histogram::Buckets;
use crate::discover::EnumLabels;
use serde::Serialize;

/// Number of bytes to which strings in keys are truncated. Longer strings with the same prefix
/// share a key.
pub(crate) const KEY_STRING_LEN: u32 = 64;
/// Index of the first bucket among the 64-bit words of a histogram's value.
pub(crate) const FIRST_BUCKET: usize = 3;

/// The table in which a plan aggregates hits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Table {
    /// Size of a key in bytes.
    pub key_size: u32,
    /// The fields of a key, after the index of the probe.
    pub fields: Vec<Field>,
    /// The buckets of a histogram; `None` if values are counts.
    pub buckets: Option<Buckets>,
    /// The unit of a histogram's values; `None` if it is not known.
    pub unit: Option<&'static str>,
    /// The map of starts that wait for their ends; `None` if no latency is measured.
    pub starts: Option<Starts>,
    /// Number of keys at most. Memory is allocated for those in use.
    pub entries: u32,
}

/// The map of starts that wait for their ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Starts {
    /// Size of a key in bytes.
    pub key_size: u32,
    /// Size of a value in bytes: the time and the label fields kept for the end, and the level if
    /// starts nest.
    pub value_size: u32,
    /// True if the starts with the same key are a stack; see [`nesting`](super::nesting).
    pub nests: bool,
    /// True if a key is a call frame. A start replaces one with the same key only if a panic or
    /// `runtime.Goexit` has unwound that call.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub are_frames: bool,
    /// Number of keys at most. The map is allocated in full.
    pub entries: u32,
}

/// A field of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Field {
    /// The name as the user wrote it.
    pub name: String,
    /// The type of the field.
    pub kind: FieldKind,
    /// Offset in the key in bytes.
    pub at: u32,
}

/// The type of a key's field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FieldKind {
    /// An integer.
    Int {
        /// True if the integer is sign-extended.
        signed: bool,
    },
    /// An enumeration.
    Enum {
        /// Labels by value.
        labels: EnumLabels,
        /// True if values without a label are sign-extended.
        signed: bool,
    },
    /// The bits of an IEEE 754 number.
    Float {
        /// Size in bytes: 4 or 8.
        size: u8,
    },
    /// 0 or 1.
    Bool,
    /// An address.
    Pointer,
    /// A string or a byte slice.
    String {
        /// True for a byte slice.
        bytes: bool,
    },
    /// A thread name of up to 15 bytes.
    Comm,
}

impl FieldKind {
    pub(super) fn string() -> FieldKind {
        FieldKind::String { bytes: false }
    }

    /// Returns the size of the field in bytes.
    pub(crate) fn size(&self) -> u32 {
        match self {
            FieldKind::String { .. } => 8 + KEY_STRING_LEN,
            FieldKind::Comm => 16,
            _ => 8,
        }
    }
}

impl Starts {
    /// Returns the size of a key of nested starts in bytes: the slot follows the key of the start.
    pub(crate) fn nested_key_size(self) -> u32 {
        self.key_size + 8
    }
}

impl Table {
    /// Returns true if the table is an array with one entry per probe, because rows have no labels.
    pub(crate) fn is_array(&self) -> bool {
        self.fields.is_empty()
    }

    /// Returns the size of a value in bytes.
    pub(crate) fn value_size(&self) -> u32 {
        self.buckets.map_or(8, |b| 8 * (FIRST_BUCKET + b.count()) as u32)
    }
}

/// One raw entry of a plan's table, in the map's layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// The key, beginning with the index of the probe.
    pub key: Vec<u8>,
    /// The value of each possible CPU, as 64-bit words.
    pub values: Vec<Vec<u64>>,
}
