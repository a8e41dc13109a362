//! What `usdt-attach-bcc` answers: one JSON document, checked before anything relies on it.
//!
//! `docs/formats.md` describes the protocol; the program's own `protocol` module writes it.

use crate::bpf::asm::{Insn, PSEUDO_MAP_FD};
use serde::Deserialize;
use std::path::PathBuf;

/// The version of the protocol that this reads.
const PROTOCOL: u32 = 1;

/// The kernel takes no longer program (`BPF_COMPLEXITY_LIMIT_INSNS`).
const MOST_INSTRUCTIONS: usize = 1_000_000;

/// Compiled functions and the tables they refer to.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) functions: Vec<Function>,
    pub(super) tables: Vec<Table>,
}

/// A function.
#[derive(Debug, PartialEq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) code: Vec<Insn>,
    /// Index of an instruction that loads a map, index of the table. Both exist.
    pub(super) maps: Vec<(usize, usize)>,
}

/// A map that the source declares.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Table {
    pub(super) name: String,
    /// `enum bpf_map_type`.
    #[serde(rename = "type")]
    pub(super) kind: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    /// `BPF_F_…`.
    pub(super) flags: u32,
    /// The types as libbcc describes them.
    pub(super) key_type: serde_json::Value,
    pub(super) value_type: serde_json::Value,
}

/// Why there are no functions.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Failure {
    /// No kernel headers; those of the running kernel would be here.
    Headers { path: PathBuf },
    /// The source cannot be given to libbcc.
    Source { problem: String },
    /// libbcc rejects the source.
    Compile,
    /// The source does not define this function.
    Function { name: String },
}

/// An answer that cannot be used.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum BadAnswer {
    /// Of another version of the protocol.
    #[error("speaks protocol {0}, not {PROTOCOL}")]
    Version(u32),
    /// No document of the protocol.
    #[error("gives no answer that can be read: {0}")]
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
    maps: Vec<(usize, usize)>,
}

/// Decodes a whole answer: functions and tables, or why there are none.
///
/// # Errors
///
/// Fails where the document is none of this protocol, or contradicts itself.
pub(super) fn decode(bytes: &[u8]) -> Result<Result<Answer, Failure>, BadAnswer> {
    let malformed = |error: serde_json::Error| BadAnswer::Malformed(error.to_string());
    let version: Version = serde_json::from_slice(bytes).map_err(malformed)?;
    if version.protocol != PROTOCOL {
        return Err(BadAnswer::Version(version.protocol));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(malformed)?;
    if let Some(failure) = document.error {
        return Ok(Err(failure));
    }
    let tables = document.tables;
    let functions = document.functions.into_iter().map(|raw| function(raw, tables.len()));
    Ok(Ok(Answer { functions: functions.collect::<Result<_, _>>()?, tables }))
}

fn function(raw: RawFunction, tables: usize) -> Result<Function, BadAnswer> {
    let malformed =
        |problem: &str| BadAnswer::Malformed(format!("function {:?} {problem}", raw.name));
    let code =
        instructions(&raw.code).ok_or_else(|| malformed("has no instructions in hexadecimal"))?;
    if code.len() > MOST_INSTRUCTIONS {
        return Err(malformed("has more instructions than the kernel takes"));
    }
    let loads_map = |index: usize| {
        code.get(index).is_some_and(|insn| insn.is_wide() && insn.src == PSEUDO_MAP_FD)
            && index + 1 < code.len()
    };
    if !raw.maps.iter().all(|(index, table)| loads_map(*index) && *table < tables) {
        return Err(malformed("refers to a map where there is none"));
    }
    Ok(Function { name: raw.name, code, maps: raw.maps })
}

fn instructions(hex: &str) -> Option<Vec<Insn>> {
    let (slots, []) = hex.as_bytes().as_chunks::<16>() else { return None };
    let slot = |slot: &[u8; 16]| {
        let mut raw = [0; 8];
        for (byte, [high, low]) in raw.iter_mut().zip(slot.as_chunks::<2>().0) {
            let digit = |c: u8| char::from(c).to_digit(16).map(|digit| digit as u8);
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Insn::from_bytes(raw))
    };
    (!slots.is_empty()).then(|| slots.iter().map(slot).collect()).flatten()
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
        let answer = decode(ANSWER.as_bytes()).unwrap().unwrap();
        let function = &answer.functions[0];
        assert_eq!((function.name.as_str(), function.code.len()), ("usdt__app__request__done", 4));
        assert_eq!(function.maps, [(0, 1)]);
        assert_eq!(function.code[3].to_bytes(), [0x95, 0, 0, 0, 0, 0, 0, 0]);
        let by = &answer.tables[1];
        assert_eq!((by.name.as_str(), by.kind, by.key_size, by.value_size), ("by", 1, 24, 8));
        assert_eq!((by.max_entries, by.flags), (10240, 1));
        assert_eq!(by.value_type, json!("unsigned long long"));
        let failure = decode(ERROR.as_bytes()).unwrap().unwrap_err();
        assert_eq!(failure, Failure::Headers { path: "/lib/modules/6.1/build".into() });
    }

    #[test]
    fn another_version_is_told_from_nonsense() {
        assert_eq!(decode(br#"{"protocol": 2, "anything": []}"#), Err(BadAnswer::Version(2)));
        for nonsense in ["", "{}", "[]", "nonsense", r#"{"protocol": 1}"#, r#"{"protocol": -1}"#] {
            let error = decode(nonsense.as_bytes()).unwrap_err();
            assert!(matches!(error, BadAnswer::Malformed(_)), "{nonsense}: {error}");
        }
        let cut = &ANSWER.as_bytes()[..ANSWER.len() / 2];
        assert!(decode(cut).unwrap_err().to_string().contains("EOF while parsing"));
    }

    #[test]
    fn rejects_answers_that_contradict_themselves() {
        let changed = |change: fn(&mut Value)| {
            let mut document: Value = serde_json::from_str(ANSWER).unwrap();
            change(&mut document);
            decode(document.to_string().as_bytes()).map(|_| ()).unwrap_err().to_string()
        };
        let malformed = "gives no answer that can be read: ";
        let function = format!("{malformed}function \"usdt__app__request__done\" ");
        for change in [
            (|d| d["functions"][0]["maps"] = json!([[1, 1]])) as fn(&mut Value),
            |d| d["functions"][0]["maps"] = json!([[0, 2]]),
            |d| d["functions"][0]["maps"] = json!([[2, 0]]),
            |d| d["functions"][0]["maps"] = json!([[u64::MAX, 0]]),
            |d| d["functions"][0]["code"] = json!("1811000000000000"),
        ] {
            assert_eq!(changed(change), format!("{function}refers to a map where there is none"));
        }
        for change in [
            (|d| d["functions"][0]["code"] = json!("")) as fn(&mut Value),
            |d| d["functions"][0]["code"] = json!("95"),
            |d| d["functions"][0]["code"] = json!("950000000000000g"),
            |d| d["functions"][0]["code"] = json!("95000000000000\u{e9}"),
        ] {
            assert_eq!(changed(change), format!("{function}has no instructions in hexadecimal"));
        }
        let long = changed(|d| d["functions"][0]["code"] = json!("95000000".repeat(2_000_002)));
        assert_eq!(long, format!("{function}has more instructions than the kernel takes"));
        assert!(changed(|d| d["tables"][0]["key_size"] = json!(1u64 << 32)).starts_with(malformed));
        assert!(changed(|d| d["error"] = json!({"kind": "boredom"})).starts_with(malformed));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(bytes: Vec<u8>, at in 0..ANSWER.len(), with: u8) {
            let _ = decode(&bytes);
            let mut close = ANSWER.as_bytes().to_vec();
            close[at] = with;
            let _ = decode(&close);
        }

        #[test]
        fn instructions_survive(raw in proptest::collection::vec(any::<[u8; 8]>(), 1..40)) {
            let hex: String = raw.iter().flatten().map(|byte| format!("{byte:02x}")).collect();
            let code = instructions(&hex).unwrap();
            prop_assert_eq!(code.iter().map(|insn| insn.to_bytes()).collect::<Vec<_>>(), raw);
        }
    }
}
