//! Where fields are in structs of the runtime and the standard library.
//!
//! The data is in `fields.toml`: for each field the first minor release and the offset from there on, on 64-bit
//! ports; -1 where it is gone.

use super::{Field, Place, providers};
use indexmap::IndexMap;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Offsets by field, from which minor release on.
type Table = IndexMap<String, Vec<(u32, i64)>>;

/// The offset in a minor release that was measured; `None` where that release has no such field.
pub(crate) fn offset(field: &Field, minor: u32) -> Option<u32> {
    static TABLE: LazyLock<Table> = LazyLock::new(|| {
        // The file is part of this program; a test reads it.
        toml::from_str(include_str!("fields.toml")).unwrap_or_default()
    });
    let ranges = TABLE.get(&format!("{}.{}", field.structure, field.name))?;
    ranges.iter().rev().find(|(from, _)| *from <= minor).and_then(|(_, offset)| u32::try_from(*offset).ok())
}

/// Every field that the catalogue names, and those that [`crate::state`] reads.
pub fn all() -> BTreeSet<&'static Field> {
    let places =
        providers().iter().flat_map(|p| &p.probes).flat_map(|p| &p.entry).flat_map(|e| e.args.values());
    let fields = places.filter_map(|place| match place {
        Place::Fields(_, fields) => Some(fields),
        _ => None,
    });
    fields.flatten().flatten().chain(crate::state::fields()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_what_the_catalogue_names() {
        let table: Table = toml::from_str(include_str!("fields.toml")).unwrap();
        let named: BTreeSet<String> = all().iter().map(|f| format!("{}.{}", f.structure, f.name)).collect();
        assert_eq!(table.keys().cloned().collect::<BTreeSet<_>>(), named);
        for (field, ranges) in &table {
            assert!(ranges.is_sorted_by(|a, b| a.0 < b.0 && a.1 != b.1), "{field}");
        }
        let path = Field { structure: "net/url.URL".into(), name: "Path".into() };
        assert_eq!((offset(&path, 20), offset(&path, 21), offset(&path, 27)), (None, Some(56), Some(56)));
    }
}
