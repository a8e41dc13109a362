//! The maps that generated programs refer to.

/// File descriptors of the maps, as instructions carry them; -1 for what the plan does not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapFds {
    /// As [`Transport`](super::Transport) says: an array of one, or `BPF_MAP_TYPE_RINGBUF`.
    pub events: i32,
    /// `BPF_MAP_TYPE_RINGBUF` that wakes the reader of a mapped ring.
    pub wakeup: i32,
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

impl MapFds {
    /// Whether the descriptor is one of these maps.
    pub(crate) fn contains(&self, fd: i32) -> bool {
        let MapFds { events, wakeup, counters, control, rates, table, zero, starts, cgroup } =
            *self;
        let all = [events, wakeup, counters, control, rates, table, zero, starts, cgroup];
        fd >= 0 && all.contains(&fd)
    }
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
