//! The arithmetic types of C with their LP64 sizes, which both Linux ports use, and the type names
//! that a definition can use without declaring them.

use crate::model::Type;

const fn int(size: u8, signed: bool) -> Type {
    Type::Int { size, signed }
}

/// Types that need no declaration.
const BUILT_IN_TYPES: &[(&str, Type)] = &[
    ("int8_t", int(1, true)),
    ("int16_t", int(2, true)),
    ("int32_t", int(4, true)),
    ("int64_t", int(8, true)),
    ("uint8_t", int(1, false)),
    ("uint16_t", int(2, false)),
    ("uint32_t", int(4, false)),
    ("uint64_t", int(8, false)),
    ("intptr_t", int(8, true)),
    ("uintptr_t", Type::Uintptr),
    ("size_t", int(8, false)),
    ("ssize_t", int(8, true)),
    ("ptrdiff_t", int(8, true)),
    ("off_t", int(8, true)),
    ("time_t", int(8, true)),
    ("clock_t", int(8, true)),
    ("pid_t", int(4, true)),
    ("id_t", int(4, false)),
    ("uid_t", int(4, false)),
    ("gid_t", int(4, false)),
    ("mode_t", int(4, false)),
    ("dev_t", int(8, false)),
    ("ino_t", int(8, false)),
    ("uchar_t", int(1, false)),
    ("ushort_t", int(2, false)),
    ("uint_t", int(4, false)),
    ("ulong_t", int(8, false)),
    ("hrtime_t", int(8, true)),
    ("boolean_t", int(4, true)),
    ("string", Type::String),
    ("bytes", Type::Bytes),
    ("bool", Type::Bool),
    ("_Bool", Type::Bool),
    ("error", Type::Error),
];

/// Returns the type of a name that needs no declaration.
pub(super) fn built_in(name: &str) -> Option<Type> {
    BUILT_IN_TYPES.iter().find(|(n, _)| *n == name).map(|(_, ty)| *ty)
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

/// Returns the known type whose name is closest to a misspelled name, if one is close.
pub(super) fn nearest_type<'a>(
    name: &str,
    declared: impl Iterator<Item = &'a str>,
) -> Option<String> {
    let arithmetic = ["char", "short", "int", "long", "float", "double", "unsigned"];
    nearest(name, BUILT_IN_TYPES.iter().map(|(n, _)| *n).chain(arithmetic).chain(declared))
}

/// Returns the candidate that is closest to a misspelled name, if one is close.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    // The work grows with the square of the length, and real names are shorter.
    if name.len() > 64 {
        return None;
    }
    candidates
        .filter(|c| c.len().abs_diff(name.len()) <= 3)
        .map(|candidate| {
            let is_anagram = sorted_letters(candidate) == sorted_letters(name);
            (edit_distance(name, candidate), !is_anagram, candidate)
        })
        .filter(|(d, _, candidate)| *d <= candidate.len().max(name.len()) / 3)
        .min()
        .map(|(_, _, candidate)| candidate.to_owned())
}

/// Returns the sorted letters of a name. Of two equally close candidates, an anagram is more likely
/// meant.
fn sorted_letters(name: &str) -> Vec<u8> {
    let mut letters = name.as_bytes().to_vec();
    letters.sort_unstable();
    letters
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

    #[test]
    fn suggests_the_nearest_type_for_a_misspelled_name() {
        assert_eq!(nearest_type("uint46_t", std::iter::empty()).as_deref(), Some("uint64_t"));
        assert_eq!(nearest_type("u64", std::iter::empty()), None);
        assert_eq!(nearest_type("my_tpye", ["my_type"].into_iter()).as_deref(), Some("my_type"));
    }
}
