//! The labels of enumerations: names that are printed instead of numbers.

use serde::{Serialize, Serializer};
use stapsdt::schema::Label;
use std::sync::Arc;

/// The labels of an enumeration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum EnumLabels {
    /// Those of the runtime's enumerations, indexed by value.
    Catalog(&'static [&'static str]),
    /// Those of a schema.
    Schema(Arc<[Label]>),
}

impl EnumLabels {
    /// Returns the label of an argument's value.
    pub(crate) fn get(&self, value: i64) -> Option<&str> {
        match self {
            EnumLabels::Catalog(labels) => labels.get(usize::try_from(value).ok()?).copied(),
            EnumLabels::Schema(labels) => {
                labels.iter().find(|label| label.value == value).map(|label| label.name.as_str())
            }
        }
    }

    /// Returns all values with their labels.
    pub(crate) fn values(&self) -> Vec<(i64, &str)> {
        match self {
            EnumLabels::Catalog(labels) => (0..).zip(labels.iter().copied()).collect(),
            EnumLabels::Schema(labels) => {
                labels.iter().map(|label| (label.value, label.name.as_str())).collect()
            }
        }
    }
}

impl Serialize for EnumLabels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            EnumLabels::Catalog(labels) => labels.serialize(serializer),
            EnumLabels::Schema(labels) => labels.as_ref().serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_belong_to_values() {
        let label = |value, name: &str| Label { value, name: name.to_owned() };
        let schema = EnumLabels::Schema([label(-1, "Low"), label(4, "High")].into());
        let catalog = EnumLabels::Catalog(&["idle", "active"]);
        for (labels, value, expected) in [
            (&schema, -1, Some("Low")),
            (&schema, 4, Some("High")),
            (&schema, 0, None),
            (&catalog, 1, Some("active")),
            (&catalog, 2, None),
            (&catalog, -1, None),
        ] {
            assert_eq!(labels.get(value), expected, "{labels:?} {value}");
        }
        for labels in [schema, catalog] {
            for (value, name) in labels.values() {
                assert_eq!(labels.get(value), Some(name));
            }
        }
    }
}
