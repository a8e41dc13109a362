//! The answer: one JSON document. `docs/formats.md` has an example.
//!
//! `protocol` is the version of the format. A reader rejects every version but its own, so any change
//! that it would misread needs a new number.
//!
//! libbcc creates the maps of a program while it compiles, and puts their file descriptors into the
//! instructions. The descriptors are of no use in another process. The answer therefore has 0 in
//! their place, and `maps` tells which instruction refers to which table. The reader creates the maps
//! itself.

use serde::Serialize;

/// The version of the protocol.
const PROTOCOL: u32 = 1;

/// The document. It has functions and tables unless there is an `error`.
#[derive(Serialize)]
pub(crate) struct Answer {
    pub(crate) protocol: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Failure>,
    pub(crate) functions: Vec<Function>,
    pub(crate) tables: Vec<Table>,
}

impl Default for Answer {
    fn default() -> Answer {
        Answer { protocol: PROTOCOL, error: None, functions: Vec::new(), tables: Vec::new() }
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Answer {
        Answer { error: Some(failure), ..Answer::default() }
    }
}

/// The reason for an answer without functions.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Failure {
    /// There are no kernel headers.
    Headers {
        /// The folder where those of the running kernel belong.
        path: String,
    },
    /// The source cannot be passed to libbcc.
    Source {
        /// A predicate, such as "is not UTF-8".
        problem: String,
    },
    /// libbcc rejects the source. The reasons are on standard error.
    Compile,
    /// The source does not define a requested function.
    Function {
        /// The name of the function.
        name: String,
    },
}

/// A function that can be loaded as a BPF program.
#[derive(Serialize)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Instructions of 8 bytes each, in hexadecimal and in the byte order of this machine.
    pub(crate) code: String,
    /// The references to tables.
    pub(crate) maps: Vec<MapRef>,
}

/// An instruction that loads a map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MapRef {
    /// Index of the instruction in the function.
    pub(crate) instruction: usize,
    /// Index of the table in the answer.
    pub(crate) table: usize,
}

/// A pair of numbers.
impl Serialize for MapRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.instruction, self.table).serialize(serializer)
    }
}

/// A map that the source declares.
#[derive(Serialize)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// The kernel's `enum bpf_map_type`.
    #[serde(rename = "type")]
    pub(crate) kind: u32,
    /// Size of a key in bytes.
    pub(crate) key_size: usize,
    /// Size of a value in bytes.
    pub(crate) value_size: usize,
    pub(crate) max_entries: usize,
    /// The kernel's `BPF_F_…` flags for the creation of the map.
    pub(crate) flags: u32,
    /// The type of the keys as libbcc describes it: `"unsigned int"`, or
    /// `["name", [["member", type], …], "struct"]`.
    pub(crate) key_type: serde_json::Value,
    /// The type of the values in the same form.
    pub(crate) value_type: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The tests of the reader, in `usdt-attach`, use the same files.
    #[test]
    fn writes_the_documented_answer() {
        let answer = Answer {
            functions: vec![Function {
                name: "usdt__app__request__done".into(),
                code: "18110000000000000000000000000000b7000000000000009500000000000000".into(),
                maps: vec![MapRef { instruction: 0, table: 1 }],
            }],
            tables: vec![
                Table {
                    name: "total".into(),
                    kind: 2,
                    key_size: 4,
                    value_size: 8,
                    max_entries: 1,
                    flags: 0,
                    key_type: json!("int"),
                    value_type: json!("unsigned long long"),
                },
                Table {
                    name: "by".into(),
                    kind: 1,
                    key_size: 24,
                    value_size: 8,
                    max_entries: 10240,
                    flags: 1,
                    key_type: json!([
                        "key_t",
                        [["self", "unsigned long long"], ["text", "char", [16]]],
                        "struct"
                    ]),
                    value_type: json!("unsigned long long"),
                },
            ],
            ..Answer::default()
        };
        let documented: serde_json::Value =
            serde_json::from_str(include_str!("../testdata/answer.json")).unwrap();
        assert_eq!(serde_json::to_value(&answer).unwrap(), documented);
        let error = Answer::from(Failure::Headers { path: "/lib/modules/6.1/build".into() });
        let documented: serde_json::Value =
            serde_json::from_str(include_str!("../testdata/error.json")).unwrap();
        assert_eq!(serde_json::to_value(&error).unwrap(), documented);
    }
}
