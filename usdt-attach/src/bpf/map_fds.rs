//! The maps that generated programs refer to.

/// File descriptors of the maps, as instructions carry them; -1 for what the plan does not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapFds {
    /// As [`Transport`] says: array of one, `BPF_MAP_TYPE_RINGBUF`, or `BPF_MAP_TYPE_PERF_EVENT_ARRAY`.
    pub events: i32,
    /// `BPF_MAP_TYPE_RINGBUF` that wakes the reader of the first of these.
    pub bell: i32,
    /// Per-CPU array of one: where a record for the last is put together that the stack has no room for, and behind
    /// it a word that says how many are at it.
    pub scratch: i32,
    /// Per-CPU array, one [`Counts`] a site.
    pub counters: i32,
    /// Array of one `s64`: hits left to record.
    pub control: i32,
    /// Array of one value: a `u64` for each probe, the second and the hits taken in it.
    pub rates: i32,
    /// Per-CPU array or hash of what is counted: see `plan::Table`.
    pub table: i32,
    /// Array of one empty value of the table.
    pub zero: i32,
    /// Hash of what waits for its end.
    pub starts: i32,
    /// `BPF_MAP_TYPE_CGROUP_ARRAY` of one.
    pub cgroup: i32,
}

/// A member of [`Counts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    /// [`Counts::hits`]
    Hits,
    /// [`Counts::dropped`]
    Dropped,
    /// [`Counts::filtered`]
    Filtered,
    /// [`Counts::overwritten`]
    Overwritten,
    /// [`Counts::unmatched`]
    Unmatched,
}

impl Counter {
    /// Byte offset in the map's value.
    pub(crate) fn offset(self) -> i16 {
        8 * self as i16
    }
}
