//! The maps that generated programs refer to, and the counters in one of them.

/// File descriptors of the maps, which instructions contain when a program is loaded; -1 for a map
/// that the plan does not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapFds {
    /// The event buffer: an array with one value for a mapped ring, else a `BPF_MAP_TYPE_RINGBUF`.
    pub events: i32,
    /// The wakeup ring of a mapped ring, a `BPF_MAP_TYPE_RINGBUF`.
    pub wakeup: i32,
    /// Per-CPU array with the counters of each site; see [`Counter`].
    pub counters: i32,
    /// Array with one `s64`: the number of hits left of the limit.
    pub control: i32,
    /// Array with one value that has a `u64` per probe: the second in its upper half, the hits
    /// taken in it in its lower half.
    pub rates: i32,
    /// The table, a per-CPU array or hash; see `plan::Table`.
    pub table: i32,
    /// Array with one empty value of the table, to create entries from.
    pub zero: i32,
    /// Hash of starts that wait for their ends.
    pub starts: i32,
    /// Hash of starts that are nested in those of `starts`; see `plan::nesting`.
    pub nested: i32,
    /// `BPF_MAP_TYPE_CGROUP_ARRAY` with the traced cgroup.
    pub cgroup: i32,
    /// Hash of the processes to trace, if their children are followed; its keys are process ids.
    pub processes: i32,
    /// Hash of the inodes of the traced executables, by their addresses in the kernel.
    pub executables: i32,
}

impl MapFds {
    /// Returns true if the descriptor is one of these maps.
    pub(crate) fn contains(&self, fd: i32) -> bool {
        let MapFds { events, wakeup, counters, control, rates, table, zero, starts, .. } = *self;
        let all = [events, wakeup, counters, control, rates, table, zero, starts];
        let others = [self.nested, self.cgroup, self.processes, self.executables];
        let all = [&all[..], &others].concat();
        fd >= 0 && all.contains(&fd)
    }
}

/// A counter of a site; each is a field of [`kernel::Counts`](crate::kernel::Counts).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    /// `Counts::hits`
    Hits,
    /// `Counts::dropped`
    Dropped,
    /// `Counts::filtered`
    Filtered,
    /// `Counts::overwritten`
    Overwritten,
    /// `Counts::unmatched`
    Unmatched,
    /// `Counts::too_deep`
    TooDeep,
    /// `Counts::outside`
    Outside,
}

impl Counter {
    /// Returns the byte offset of the counter in the map's value.
    pub(crate) fn offset(self) -> i16 {
        8 * self as i16
    }
}
