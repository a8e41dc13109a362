//! Decodes the keys and values of tables by their C types.
//!
//! libbcc describes a type as `"unsigned int"`, or as
//! `["name", [["member", type], ["member", type, [elements]], …], "struct"]`.

use serde_json::{Map, Value};

/// A C type.
#[derive(Clone, Debug, PartialEq)]
enum Type {
    Int {
        size: usize,
        signed: bool,
    },
    Float {
        size: usize,
    },
    /// An array of `char`.
    String {
        size: usize,
    },
    Array {
        of: Box<Type>,
        count: usize,
    },
    Struct {
        members: Vec<(String, Type)>,
        packed: bool,
    },
    /// A union, a bit-field, or a type that is not understood.
    Unknown,
}

/// The maximum nesting of a type. Bounds the recursion on descriptions that are not from libbcc.
const MAX_DEPTH: usize = 16;

/// Decodes a value to JSON. A value whose type is not understood, or has another size, becomes a string
/// of hexadecimal digits.
pub(super) fn decode(description: &Value, bytes: &[u8]) -> Value {
    let ty = parse(description, MAX_DEPTH);
    let fits = ty.size() == Some(bytes.len());
    let value = if fits { ty.read(bytes) } else { None };
    value.unwrap_or_else(|| Value::String(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// Combines the values of all CPUs: the sum of integers, otherwise an array.
pub(super) fn sum(values: Vec<Value>) -> Value {
    if values.iter().all(Value::is_u64) {
        return values.iter().filter_map(Value::as_u64).fold(0, u64::wrapping_add).into();
    }
    if values.iter().all(Value::is_i64) {
        return values.iter().filter_map(Value::as_i64).fold(0, i64::wrapping_add).into();
    }
    Value::Array(values)
}

fn parse(description: &Value, depth: usize) -> Type {
    let Some(depth) = depth.checked_sub(1) else { return Type::Unknown };
    if let Some(name) = description.as_str() {
        return scalar(name);
    }
    let parts = description.as_array().map(Vec::as_slice).unwrap_or_default();
    let [_, Value::Array(members), Value::String(kind)] = parts else { return Type::Unknown };
    if kind != "struct" && kind != "struct_packed" {
        return Type::Unknown;
    }
    let members = members.iter().map(|m| member(m, depth)).collect();
    Type::Struct { members, packed: kind == "struct_packed" }
}

fn member(description: &Value, depth: usize) -> (String, Type) {
    let parts = description.as_array().map(Vec::as_slice).unwrap_or_default();
    let name = parts.first().and_then(Value::as_str).unwrap_or_default().to_owned();
    let ty = match parts {
        [_, ty] => parse(ty, depth),
        [_, ty, Value::Array(counts)] => {
            let of = parse(ty, depth);
            let count =
                counts.iter().filter_map(Value::as_u64).fold(1, u64::saturating_mul) as usize;
            match of {
                Type::Int { size: 1, .. } if ty.as_str() == Some("char") => {
                    Type::String { size: count }
                }
                of => Type::Array { of: Box::new(of), count },
            }
        }
        [_, _, Value::String(_)] => parse(description, depth),
        _ => Type::Unknown,
    };
    (name, ty)
}

fn scalar(name: &str) -> Type {
    let int = |size, signed| Type::Int { size, signed };
    match name {
        "_Bool" | "unsigned char" => int(1, false),
        "char" | "signed char" => int(1, true),
        "short" => int(2, true),
        "unsigned short" => int(2, false),
        "int" => int(4, true),
        "unsigned int" => int(4, false),
        "long" | "long long" => int(8, true),
        "unsigned long" | "unsigned long long" => int(8, false),
        "float" => Type::Float { size: 4 },
        "double" => Type::Float { size: 8 },
        name if name.starts_with("enum ") => int(4, false),
        name if name.ends_with('*') => int(8, false),
        _ => Type::Unknown,
    }
}

impl Type {
    fn align(&self) -> Option<usize> {
        match self {
            Type::Int { size, .. } | Type::Float { size } => Some(*size),
            Type::String { .. } => Some(1),
            Type::Array { of, .. } => of.align(),
            Type::Struct { packed: true, .. } => Some(1),
            Type::Struct { members, .. } => {
                members.iter().map(|(_, ty)| ty.align()).try_fold(1, |all, one| Some(one?.max(all)))
            }
            Type::Unknown => None,
        }
    }

    fn size(&self) -> Option<usize> {
        match self {
            Type::Int { size, .. } | Type::Float { size } | Type::String { size } => Some(*size),
            Type::Array { of, count } => of.size()?.checked_mul(*count),
            Type::Struct { packed, .. } => {
                let end = self
                    .offsets()?
                    .last()
                    .map_or(Some(0), |(at, ty)| ty.size()?.checked_add(*at))?;
                if *packed { Some(end) } else { end.checked_next_multiple_of(self.align()?) }
            }
            Type::Unknown => None,
        }
    }

    /// The members of a struct with their offsets; empty for other types.
    fn offsets(&self) -> Option<Vec<(usize, &Type)>> {
        let Type::Struct { members, packed } = self else { return Some(Vec::new()) };
        let mut at = 0usize;
        let mut out = Vec::new();
        for (_, ty) in members {
            if !packed {
                at = at.checked_next_multiple_of(ty.align()?)?;
            }
            out.push((at, ty));
            at = at.checked_add(ty.size()?)?;
        }
        Some(out)
    }

    fn read(&self, bytes: &[u8]) -> Option<Value> {
        let raw = || bytes.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        Some(match self {
            Type::Int { size, signed: true } => {
                let unused = 64 - 8 * *size as u32;
                ((raw() << unused) as i64 >> unused).into()
            }
            Type::Int { .. } => raw().into(),
            Type::Float { size: 4 } => f64::from(f32::from_bits(raw() as u32)).into(),
            Type::Float { .. } => f64::from_bits(raw()).into(),
            Type::String { .. } => {
                let string = bytes.split(|b| *b == 0).next().unwrap_or_default();
                String::from_utf8_lossy(string).into_owned().into()
            }
            Type::Array { of, .. } => {
                let size = of.size().filter(|size| *size > 0)?;
                Value::Array(
                    bytes.chunks_exact(size).map(|one| of.read(one)).collect::<Option<_>>()?,
                )
            }
            Type::Struct { members, .. } => {
                let mut map = Map::new();
                for ((name, _), (at, ty)) in members.iter().zip(self.offsets()?) {
                    // libbcc names padding like this.
                    if !name.starts_with("__pad") {
                        map.insert(
                            name.clone(),
                            ty.read(bytes.get(at..at.checked_add(ty.size()?)?)?)?,
                        );
                    }
                }
                Value::Object(map)
            }
            Type::Unknown => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Value, sum};
    use proptest::prelude::*;
    use serde_json::json;

    fn decode(description: &str, bytes: &[u8]) -> Value {
        super::decode(&serde_json::from_str(description).unwrap_or_default(), bytes)
    }

    #[test]
    fn decodes_c_types() {
        assert_eq!(decode("\"int\"", &[0xfe, 0xff, 0xff, 0xff]), json!(-2));
        assert_eq!(
            decode("\"unsigned long long\"", &[1, 0, 0, 0, 0, 0, 0, 1]),
            json!(0x0100_0000_0000_0001u64)
        );
        let key = r#"["key_t", [["pid", "unsigned int"], ["name", "char", [6]], ["n", "short", [2]]], "struct"]"#;
        let bytes = [7, 0, 0, 0, b'a', b'b', 0, 0, 0, 0, 0xff, 0xff, 2, 0, 0, 0];
        assert_eq!(decode(key, &bytes), json!({"pid": 7, "name": "ab", "n": [-1, 2]}));
        assert_eq!(decode(key, &bytes[..4]), json!("07000000"), "the type has another size");
        assert_eq!(decode(r#"["u", [["a", "int"]], "union"]"#, &[1, 2]), json!("0102"));
        assert_eq!(sum(vec![json!(1), json!(2)]), json!(3));
        assert_eq!(sum(vec![json!(-1), json!(2)]), json!(1));
        assert_eq!(sum(vec![json!("a"), json!("b")]), json!(["a", "b"]));
    }

    proptest! {
        #[test]
        fn never_panics_on_a_description(description in r#"[\[\]",a-z0-9 ]{0,60}"#, bytes: Vec<u8>) {
            let _ = decode(&description, &bytes);
        }
    }
}
