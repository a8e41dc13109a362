//! The answer: one JSON document, `docs/formats.md` has an example.
//!
//! `protocol` is 1 in this form. A reader refuses any other number; a change that an old reader would misread gets a new
//! one.
//!
//! libbcc creates the maps of a program while it compiles it, and puts their file descriptors into the instructions.
//! These descriptors are worth nothing in another process. So each instruction that refers to a map has 0 in their
//! place, and `maps` says which table belongs there: the reader creates the maps itself.

use serde::Serialize;

/// Version of the protocol.
const PROTOCOL: u32 = 1;

/// The document. Without `error`, it has functions and tables.
#[derive(Serialize)]
pub(crate) struct Answer {
    pub(crate) protocol: u32,
    /// Why there are no instructions.
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

/// Why there are no instructions.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Failure {
    /// There are no kernel headers.
    Headers {
        /// Where those of the running kernel would be.
        path: String,
    },
    /// The source cannot be given to libbcc.
    Source {
        /// What it is or has: "is not UTF-8".
        problem: String,
    },
    /// libbcc rejects the source; the reasons are on standard error.
    Compile,
    /// The source does not define a function that was asked for.
    Function {
        /// Its name.
        name: String,
    },
}

/// A function that can be loaded as a program.
#[derive(Serialize)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Instructions of 8 bytes each, in hexadecimal, with the byte order of this machine.
    pub(crate) code: String,
    /// Pairs: index of an instruction, index of the table that it refers to.
    pub(crate) maps: Vec<(usize, usize)>,
}

/// A map that the program declares.
#[derive(Serialize)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// `enum bpf_map_type` of the kernel.
    #[serde(rename = "type")]
    pub(crate) kind: u32,
    /// Bytes of a key.
    pub(crate) key_size: usize,
    /// Bytes of a value.
    pub(crate) value_size: usize,
    pub(crate) max_entries: usize,
    /// `BPF_F_…` of the kernel, with which the map is created.
    pub(crate) flags: u32,
    /// The key's type as libbcc describes it: `"unsigned int"`, or `["name", [["member", type], …], "struct"]`.
    pub(crate) key_type: serde_json::Value,
    /// The value's type in the same form.
    pub(crate) value_type: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The reader's tests have the same file.
    #[test]
    fn writes_the_documented_answer() {
        let answer = Answer {
            functions: vec![Function {
                name: "usdt__app__request__done".into(),
                code: "18110000000000000000000000000000b7000000000000009500000000000000".into(),
                maps: vec![(0, 1)],
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
