//! The Go releases that this project supports: the one table that code, tests and tasks take them from.
//!
//! A new minor release is added here once its goroutine-id offset ([`crate::goid`]), the offsets and labels of
//! [`crate::catalogue`] and the overlay of `usdt-gen` have been compared with it. Binaries of other releases can be
//! traced, too: what the tables would have said is then read from DWARF or left out.

use std::ops::RangeInclusive;

/// Minor releases, `21` for Go 1.21, whose struct layouts were measured. The first is the oldest Go that builds
/// generated packages.
pub const MINORS: RangeInclusive<u32> = 21..=27;

/// The patch release of each minor one, in the same order, with which the compatibility matrix and the tests of the
/// ready-made packages are run.
pub const TESTED: [&str; 7] =
    ["1.21.13", "1.22.12", "1.23.12", "1.24.13", "1.25.5", "1.26.8", "1.27.3"];

/// The minor number of a supported release, from what `runtime.Version()` says: `go1.27.3` is 27. Experiments after a
/// space do not matter; release candidates, development versions and forks may have other layouts and are `None`.
pub(crate) fn minor(version: &str) -> Option<u32> {
    let release = version.split(' ').next()?.strip_prefix("go1.")?;
    let mut parts = release.split('.');
    let minor = parts.next()?.parse::<u32>().ok()?;
    (parts.all(|part| part.parse::<u32>().is_ok()) && MINORS.contains(&minor)).then_some(minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_one_release_of_each_supported_minor() {
        let tested: Vec<u32> =
            TESTED.iter().filter_map(|release| minor(&format!("go{release}"))).collect();
        assert_eq!(tested, MINORS.collect::<Vec<_>>());
    }

    #[test]
    fn accepts_supported_releases_only() {
        for (version, expected) in [
            ("go1.21", Some(21)),
            ("go1.24.13 X:nocoverageredesign", Some(24)),
            ("go1.27.3", Some(27)),
            ("go1.20.1", None),
            ("go1.28.0", None),
            ("go1.27rc1", None),
            ("go1.27.3-fips", None),
            ("devel go1.28-abcdef", None),
            ("", None),
        ] {
            assert_eq!(minor(version), expected, "{version}");
        }
    }
}
