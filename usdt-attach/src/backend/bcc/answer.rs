//! The answer of `usdt-attach-bcc`: one JSON document, which is validated before it is used.
//!
//! `docs/formats.md` describes the protocol. The module `protocol` of `usdt-attach-bcc` writes it.

use crate::bpf::asm::{Insn, PSEUDO_MAP_FD};
use serde::Deserialize;
use std::path::PathBuf;

/// The version of the protocol that this module reads.
const PROTOCOL: u32 = 1;

/// The maximum length of a program in the kernel (`BPF_COMPLEXITY_LIMIT_INSNS`).
const MAX_INSTRUCTIONS: usize = 1_000_000;

/// Compiled functions, and the tables that they refer to.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) functions: Vec<Function>,
    pub(super) tables: Vec<Table>,
}

/// A compiled function.
#[derive(Debug, PartialEq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) code: Vec<Insn>,
    /// The references to maps. Their indices are valid.
    pub(super) map_refs: Vec<MapRef>,
}

/// An instruction that loads a map.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(from = "(usize, usize)")]
pub(super) struct MapRef {
    /// Index of the instruction in the function.
    pub(super) instruction: usize,
    /// Index of the table.
    pub(super) table: usize,
}

impl From<(usize, usize)> for MapRef {
    fn from((instruction, table): (usize, usize)) -> MapRef {
        MapRef { instruction, table }
    }
}

/// A map that the source declares.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Table {
    pub(super) name: String,
    /// `enum bpf_map_type`.
    #[serde(rename = "type")]
    pub(super) kind: u32,
    /// Size of a key in bytes.
    pub(super) key_size: u32,
    /// Size of a value in bytes.
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    /// `BPF_F_…`.
    pub(super) flags: u32,
    /// The type of the keys, as libbcc describes it.
    pub(super) key_type: serde_json::Value,
    /// The type of the values, as libbcc describes it.
    pub(super) value_type: serde_json::Value,
}

/// The reason for an answer without functions.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Failure {
    /// There are no kernel headers at `path`, where those of the running kernel belong.
    Headers { path: PathBuf },
    /// The source cannot be passed to libbcc.
    Source { problem: String },
    /// libbcc rejects the source.
    Compile,
    /// The source does not define this function.
    Function { name: String },
}

/// An unusable answer. The messages continue one that starts with the path of the program.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum BadAnswer {
    /// The answer has another protocol version.
    #[error("speaks protocol {0}, not {PROTOCOL}")]
    Version(u32),
    /// The answer does not follow the protocol.
    #[error("returns an invalid answer: {0}")]
    Malformed(String),
}

#[derive(Deserialize)]
struct Version {
    protocol: u32,
}

#[derive(Deserialize)]
struct Document {
    error: Option<Failure>,
    functions: Vec<RawFunction>,
    tables: Vec<Table>,
}

#[derive(Deserialize)]
struct RawFunction {
    name: String,
    code: String,
    maps: Vec<MapRef>,
}

/// A valid document: either an answer or the reason why there is none.
#[derive(Debug, PartialEq)]
pub(super) enum Decoded {
    Answer(Answer),
    Failure(Failure),
}

/// Decodes a complete answer.
///
/// # Errors
///
/// Fails when the document does not follow the protocol or is inconsistent.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, BadAnswer> {
    let malformed = |error: serde_json::Error| BadAnswer::Malformed(error.to_string());
    // Another version may have other fields, so the version is read first.
    let version: Version = serde_json::from_slice(bytes).map_err(malformed)?;
    if version.protocol != PROTOCOL {
        return Err(BadAnswer::Version(version.protocol));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(malformed)?;
    if let Some(failure) = document.error {
        return Ok(Decoded::Failure(failure));
    }
    let tables = document.tables;
    let functions = document
        .functions
        .into_iter()
        .map(|raw| decode_function(raw, tables.len()))
        .collect::<Result<_, _>>()?;
    Ok(Decoded::Answer(Answer { functions, tables }))
}

fn decode_function(raw: RawFunction, table_count: usize) -> Result<Function, BadAnswer> {
    let malformed =
        |problem: &str| BadAnswer::Malformed(format!("function {:?} {problem}", raw.name));
    let code = decode_instructions(&raw.code)
        .ok_or_else(|| malformed("has no instructions in hexadecimal"))?;
    if code.len() > MAX_INSTRUCTIONS {
        return Err(malformed("has more instructions than the kernel accepts"));
    }
    let loads_map = |index: usize| {
        code.get(index).is_some_and(|insn| insn.is_wide() && insn.src == PSEUDO_MAP_FD)
            && index + 1 < code.len()
    };
    let is_valid = |map: &MapRef| loads_map(map.instruction) && map.table < table_count;
    if !raw.maps.iter().all(is_valid) {
        return Err(malformed("refers to a map that does not exist"));
    }
    Ok(Function { name: raw.name, code, map_refs: raw.maps })
}

/// Decodes instructions of 16 hexadecimal digits each; `None` if there are none or the digits are
/// invalid.
fn decode_instructions(hex: &str) -> Option<Vec<Insn>> {
    let (slots, []) = hex.as_bytes().as_chunks::<16>() else { return None };
    let decode_slot = |slot: &[u8; 16]| {
        let mut raw = [0; 8];
        for (byte, [high, low]) in raw.iter_mut().zip(slot.as_chunks::<2>().0) {
            *byte = hex_digit(*high)? << 4 | hex_digit(*low)?;
        }
        Some(Insn::from_bytes(raw))
    };
    (!slots.is_empty()).then(|| slots.iter().map(decode_slot).collect()).flatten()
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const ANSWER: &str = include_str!("../../../bcc/testdata/answer.json");
    const ERROR: &str = include_str!("../../../bcc/testdata/error.json");

    #[test]
    fn reads_the_documented_answer() {
        let Decoded::Answer(answer) = decode(ANSWER.as_bytes()).unwrap() else { panic!() };
        let function = &answer.functions[0];
        assert_eq!((function.name.as_str(), function.code.len()), ("usdt__app__request__done", 4));
        assert_eq!(function.map_refs, [MapRef { instruction: 0, table: 1 }]);
        assert_eq!(function.code[3].to_bytes(), [0x95, 0, 0, 0, 0, 0, 0, 0]);
        let by = &answer.tables[1];
        assert_eq!((by.name.as_str(), by.kind, by.key_size, by.value_size), ("by", 1, 24, 8));
        assert_eq!((by.max_entries, by.flags), (10240, 1));
        assert_eq!(by.value_type, json!("unsigned long long"));
        let failure = Failure::Headers { path: "/lib/modules/6.1/build".into() };
        assert_eq!(decode(ERROR.as_bytes()), Ok(Decoded::Failure(failure)));
    }

    #[test]
    fn distinguishes_other_versions_from_garbage() {
        assert_eq!(decode(br#"{"protocol": 2, "anything": []}"#), Err(BadAnswer::Version(2)));
        for garbage in ["", "{}", "[]", "garbage", r#"{"protocol": 1}"#, r#"{"protocol": -1}"#] {
            let error = decode(garbage.as_bytes()).unwrap_err();
            assert!(matches!(error, BadAnswer::Malformed(_)), "{garbage}: {error}");
        }
        let truncated = &ANSWER.as_bytes()[..ANSWER.len() / 2];
        assert!(decode(truncated).unwrap_err().to_string().contains("EOF while parsing"));
    }

    #[test]
    fn rejects_inconsistent_answers() {
        let error_after = |change: fn(&mut Value)| {
            let mut document: Value = serde_json::from_str(ANSWER).unwrap();
            change(&mut document);
            decode(document.to_string().as_bytes()).map(|_| ()).unwrap_err().to_string()
        };
        let malformed = "returns an invalid answer: ";
        let function = format!("{malformed}function \"usdt__app__request__done\" ");
        for change in [
            (|d| d["functions"][0]["maps"] = json!([[1, 1]])) as fn(&mut Value),
            |d| d["functions"][0]["maps"] = json!([[0, 2]]),
            |d| d["functions"][0]["maps"] = json!([[2, 0]]),
            |d| d["functions"][0]["maps"] = json!([[u64::MAX, 0]]),
            |d| d["functions"][0]["code"] = json!("1811000000000000"),
        ] {
            assert_eq!(
                error_after(change),
                format!("{function}refers to a map that does not exist")
            );
        }
        for change in [
            (|d| d["functions"][0]["code"] = json!("")) as fn(&mut Value),
            |d| d["functions"][0]["code"] = json!("95"),
            |d| d["functions"][0]["code"] = json!("950000000000000g"),
            |d| d["functions"][0]["code"] = json!("95000000000000\u{e9}"),
        ] {
            assert_eq!(
                error_after(change),
                format!("{function}has no instructions in hexadecimal")
            );
        }
        let long = error_after(|d| d["functions"][0]["code"] = json!("95000000".repeat(2_000_002)));
        assert_eq!(long, format!("{function}has more instructions than the kernel accepts"));
        assert!(
            error_after(|d| d["tables"][0]["key_size"] = json!(1u64 << 32)).starts_with(malformed)
        );
        assert!(error_after(|d| d["error"] = json!({"kind": "boredom"})).starts_with(malformed));
    }

    proptest! {
        #[test]
        fn never_panics_on_an_answer(bytes: Vec<u8>, at in 0..ANSWER.len(), with: u8) {
            let _ = decode(&bytes);
            let mut corrupted = ANSWER.as_bytes().to_vec();
            corrupted[at] = with;
            let _ = decode(&corrupted);
        }

        #[test]
        fn decodes_any_instruction(raw in proptest::collection::vec(any::<[u8; 8]>(), 1..40)) {
            let hex: String = raw.iter().flatten().map(|byte| format!("{byte:02x}")).collect();
            let code = decode_instructions(&hex).unwrap();
            prop_assert_eq!(code.iter().map(|insn| insn.to_bytes()).collect::<Vec<_>>(), raw);
        }
    }
}
