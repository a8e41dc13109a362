//! The arithmetic types of C with their LP64 sizes, which both Linux ports use, and suggestions for
//! misspelled names.

use super::type_names;
use crate::model::Type;

const fn int(size: u8, signed: bool) -> Type {
    Type::Int { size, signed }
}

/// Returns the arithmetic type that `words` spell in any order. `None` if they spell `void` or are
/// not an arithmetic type.
pub(super) fn arithmetic(words: &[String]) -> Option<Type> {
    let count = |w: &str| words.iter().filter(|x| *x == w).count();
    if words.iter().any(|w| w == "void") {
        return None;
    }
    let (signs, longs) = (count("signed") + count("unsigned"), count("long"));
    let (int_count, chars, shorts) = (count("int"), count("char"), count("short"));
    let (floats, doubles) = (count("float"), count("double"));
    if signs > 1 || int_count > 1 || chars > 1 || shorts > 1 || floats > 1 || doubles > 1 {
        return None;
    }
    let signed = count("unsigned") == 0;
    match (chars, shorts, longs, floats, doubles) {
        (1, 0, 0, 0, 0) if int_count == 0 => Some(int(1, signed)),
        (0, 1, 0, 0, 0) => Some(int(2, signed)),
        (0, 0, 1 | 2, 0, 0) => Some(int(8, signed)),
        (0, 0, 0, 1, 0) if signs + int_count == 0 => Some(Type::Float { size: 4 }),
        (0, 0, 0, 0, 1) if signs + int_count == 0 => Some(Type::Float { size: 8 }),
        (0, 0, 0, 0, 0) if signs + int_count > 0 => Some(int(4, signed)),
        _ => None,
    }
}

/// Returns the known type that a misspelled name means, if one is close enough to be the likely one.
pub(super) fn nearest_type<'a>(
    name: &str,
    declared: impl Iterator<Item = &'a str>,
) -> Option<String> {
    if let Some(known) = type_names::known_equivalent(name) {
        return Some(known.to_owned());
    }
    let arithmetic = ["char", "short", "int", "long", "float", "double", "unsigned"];
    let known = type_names::all().map(|known| -> &'a str { known });
    // A type with another width is not a spelling of the same type.
    let has_same_digits = |candidate: &&str| sorted_digits(candidate) == sorted_digits(name);
    nearest(name, known.chain(arithmetic).chain(declared).filter(has_same_digits))
}

/// Returns the candidate that a misspelled name means, if one is close enough to be the likely one:
/// it differs in letter case, in the order of letters, or in few letters other than the first. A
/// suffix `_t` does not count as a difference.
///
/// A wrong suggestion misleads more than none, so a short name must match almost exactly.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    // The work grows with the square of the length, and real names are shorter.
    if name.len() > 64 {
        return None;
    }
    let stem = |name: &str| {
        let lower = name.to_ascii_lowercase();
        lower.strip_suffix("_t").map(str::to_owned).unwrap_or(lower)
    };
    let misspelled = stem(name);
    let has_suffix = misspelled.len() < name.len();
    candidates
        .filter(|c| c.len().abs_diff(name.len()) <= 4)
        .filter_map(|candidate| {
            let meant = stem(candidate);
            let is_anagram = sorted_letters(&meant) == sorted_letters(&misspelled);
            let distance = edit_distance(&misspelled, &meant);
            let has_same_start = meant.as_bytes().first() == misspelled.as_bytes().first();
            let allowed = match misspelled.len().min(meant.len()) {
                0..=3 => 0,
                4..=6 => 1,
                _ => 2,
            };
            // A swap of two letters is one edit.
            let is_close = distance == 0
                || (is_anagram && distance == 1)
                || (has_same_start && distance <= allowed);
            let differs_in_suffix = candidate.ends_with("_t") != has_suffix;
            is_close.then_some((distance, !is_anagram, differs_in_suffix, candidate))
        })
        .min()
        .map(|(.., candidate)| candidate.to_owned())
}

/// Returns the sorted letters of a name. Of two equally close candidates, an anagram is more likely
/// meant.
fn sorted_letters(name: &str) -> Vec<u8> {
    let mut letters = name.as_bytes().to_vec();
    letters.sort_unstable();
    letters
}

/// Returns the sorted digits of a name.
fn sorted_digits(name: &str) -> Vec<u8> {
    let mut digits: Vec<u8> = name.bytes().filter(u8::is_ascii_digit).collect();
    digits.sort_unstable();
    digits
}

/// Returns the edit distance in bytes, where swapping two neighbors counts as one edit
/// (optimal string alignment). Names are ASCII.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut row_before_last: Vec<usize> = Vec::new();
    let mut last_row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let mut best = (cell(&last_row, j) + usize::from(x != y))
                .min(cell(&last_row, j + 1) + 1)
                .min(cell(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(cell(&row_before_last, j - 1) + 1);
            }
            row.push(best);
        }
        row_before_last = std::mem::replace(&mut last_row, row);
    }
    last_row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(spelling: &str) -> Option<Type> {
        arithmetic(&spelling.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn accepts_the_words_of_a_type_in_any_order() {
        for (spelling, ty) in [
            ("int", int(4, true)),
            ("unsigned", int(4, false)),
            ("long unsigned int", int(8, false)),
            ("long long", int(8, true)),
            ("int unsigned long long", int(8, false)),
            ("unsigned char", int(1, false)),
            ("char", int(1, true)),
            ("short int", int(2, true)),
            ("double", Type::Float { size: 8 }),
            ("float", Type::Float { size: 4 }),
        ] {
            assert_eq!(parse(spelling), Some(ty), "{spelling}");
        }
        for bad in [
            "void",
            "long char",
            "unsigned float",
            "signed unsigned",
            "int int",
            "long double",
            "long long long",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    fn suggestion(name: &str) -> Option<String> {
        nearest_type(name, ["my_type"].into_iter())
    }

    #[test]
    fn suggests_the_type_that_a_misspelled_name_means() {
        for (name, meant) in [
            ("uint46_t", "uint64_t"),
            ("unit64_t", "uint64_t"),
            ("UINT64_T", "uint64_t"),
            ("u64", "uint64_t"),
            ("size", "size_t"),
            ("pdi_t", "pid_t"),
            ("String", "string"),
            ("strnig", "string"),
            ("my_tpye", "my_type"),
            ("my_typ", "my_type"),
            ("Duration", "time.Duration"),
        ] {
            assert_eq!(suggestion(name).as_deref(), Some(meant), "{name}");
        }
    }

    #[test]
    fn suggests_nothing_for_another_name_that_happens_to_be_similar() {
        for name in [
            "int128_t",
            "uint24_t",
            "node_t",
            "kind_t",
            "conn_t",
            "foo_t",
            "id3_t",
            "line_t",
            "request_t",
            "u128",
            "block_t",
            "user_t",
            "t",
            "xid_t",
            "oid_t",
            "Oid",
            "GType",
        ] {
            assert_eq!(suggestion(name), None, "{name}");
        }
    }
}
