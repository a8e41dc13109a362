//! The Go releases that are tried, the newest of each minor version that was there when this was written.

pub(crate) const RELEASES: [&str; 7] =
    ["1.21.13", "1.22.12", "1.23.12", "1.24.13", "1.25.5", "1.26.8", "1.27.3"];
