//! What is counted in the kernel: the shape of the table's keys and values, and how its rows read.
//!
//! ```text
//! key:    u32 index of the probe in the plan, u32 0, fields
//! field:  8 bytes; text: u32 length, u32 0, 64 bytes padded with zeros; comm: 16 bytes
//! value:  u64 count; or u64 sum, u64 highest, u64 complement of the lowest, u64 count of each bucket
//! ```
//!
//! Highest and lowest are of values whose sign bit is turned, where they are signed, so that the empty value is 0.

use super::histogram::Buckets;
use crate::discover::EnumLabels;
use serde::Serialize;

/// Bytes of a text that keys tell apart; longer ones that begin alike are one key.
pub(crate) const KEY_STRING_LEN: u32 = 64;
/// Words of a value in front of its buckets.
pub(crate) const FIRST_BUCKET: usize = 3;

/// The table of a plan that aggregates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Table {
    /// Bytes of a key.
    pub key_size: u32,
    /// What is in a key.
    pub fields: Vec<Field>,
    /// The buckets of its values; `None` where they are counts.
    pub buckets: Option<Buckets>,
    /// What values are measured in, where that is known.
    pub unit: Option<&'static str>,
    /// What waits for its end, where times are measured.
    pub starts: Option<Starts>,
    /// Most keys.
    pub entries: u32,
}

/// The map of starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Starts {
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value: the time, and what is kept.
    pub value_size: u32,
}

/// A part of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Field {
    /// As the user named it.
    pub name: String,
    /// How it reads.
    pub kind: FieldKind,
    /// Offset in the key.
    pub at: u32,
}

/// How a part of a key reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FieldKind {
    /// An integer.
    Int {
        /// Whether it has a sign.
        signed: bool,
    },
    /// A number with a text.
    Enum {
        /// By number.
        labels: EnumLabels,
    },
    /// IEEE 754 bits.
    Float {
        /// 4 or 8.
        size: u8,
    },
    /// 0 or 1.
    Bool,
    /// An address.
    Pointer,
    /// Text or bytes.
    String {
        /// Whether it is to be shown as bytes.
        bytes: bool,
    },
    /// A thread's name.
    Comm,
}

impl FieldKind {
    pub(super) fn string() -> FieldKind {
        FieldKind::String { bytes: false }
    }

    /// Bytes in the key.
    pub(crate) fn size(self) -> u32 {
        match self {
            FieldKind::String { .. } => 8 + KEY_STRING_LEN,
            FieldKind::Comm => 16,
            _ => 8,
        }
    }
}

impl Table {
    /// Whether there is one entry for each probe, and nothing to look up.
    pub(crate) fn is_array(&self) -> bool {
        self.fields.is_empty()
    }

    /// Bytes of a value.
    pub(crate) fn value_size(&self) -> u32 {
        // At most a thousand buckets.
        self.buckets.map_or(8, |b| 8 * (FIRST_BUCKET + b.count()) as u32)
    }
}

/// One entry of the table, as `plan::Table` lays it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableEntry {
    /// The key.
    pub key: Vec<u8>,
    /// The value's words on each CPU.
    pub values: Vec<Vec<u64>>,
}
