//! Character constants of C: `'x'`, `L'x'`, `u8'x'`, `u'x'` and `U'x'`, with escape sequences.
//!
//! `char` and `wchar_t` are signed on amd64 and unsigned on arm64. A definition means the same on
//! both, so a constant whose value depends on that has no value.

use std::str::Chars;

/// Returns the value of a character constant. The error says why it has none, and continues a
/// sentence that begins with the constant.
pub(super) fn value(text: &str) -> Result<i128, &'static str> {
    let quote = text.find('\'').ok_or("is not a character constant")?;
    let (prefix, literal) = text.split_at(quote);
    let body = literal
        .strip_prefix('\'')
        .and_then(|l| l.strip_suffix('\''))
        .ok_or("is not a character constant")?;
    let mut chars = body.chars();
    let first = chars.next().ok_or("is empty")?;
    let value = if first == '\\' { escape(&mut chars)? } else { u32::from(first) };
    if chars.next().is_some() {
        return Err("has more than one character");
    }
    let largest = match prefix {
        "" => 0x7f,
        "u8" if first == '\\' => 0xff,
        "u8" => 0x7f,
        "u" => 0xffff,
        // A `wchar_t` with the highest bit is negative on amd64 only.
        "L" => 0x7fff_ffff,
        _ => u32::MAX,
    };
    if value > largest {
        return Err(match prefix {
            "" => "has another value on amd64 than on arm64; write `L` before it",
            _ => "does not fit its type",
        });
    }
    Ok(value.into())
}

/// Reads an escape sequence after its backslash.
fn escape(chars: &mut Chars<'_>) -> Result<u32, &'static str> {
    const INVALID: &str = "has an invalid escape sequence";
    let c = chars.next().ok_or(INVALID)?;
    Ok(match c {
        'a' => 7,
        'b' => 8,
        't' => 9,
        'n' => 10,
        'v' => 11,
        'f' => 12,
        'r' => 13,
        'e' => 27,
        '\\' | '\'' | '"' | '?' => u32::from(c),
        '0'..='7' => {
            let mut value = c.to_digit(8).unwrap_or(0);
            for _ in 0..2 {
                let Some(digit) = chars.clone().next().and_then(|c| c.to_digit(8)) else { break };
                value = value * 8 + digit;
                chars.next();
            }
            value
        }
        'x' => {
            let digits = chars.as_str();
            *chars = "".chars();
            u32::from_str_radix(digits, 16).map_err(|_| INVALID)?
        }
        'u' | 'U' => {
            let length = if c == 'u' { 4 } else { 8 };
            let digits = chars.as_str().get(..length).ok_or(INVALID)?;
            *chars = chars.as_str().get(length..).unwrap_or_default().chars();
            let value = u32::from_str_radix(digits, 16).map_err(|_| INVALID)?;
            char::from_u32(value).ok_or(INVALID)?.into()
        }
        _ => return Err(INVALID),
    })
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn values_are_those_of_c() {
        for (text, expected) in [
            ("'A'", 65),
            ("'\\n'", 10),
            ("'\\0'", 0),
            ("'\\101'", 65),
            ("'\\x41'", 65),
            ("'\\''", 39),
            ("'\\?'", 63),
            ("L'x'", 120),
            ("L'é'", 0xe9),
            ("L'\\xff'", 255),
            ("u8'~'", 126),
            ("u8'\\xff'", 255),
            ("u'\\u20ac'", 0x20ac),
            ("U'\\U0001F600'", 0x1_f600),
            ("U'\\xffffffff'", 0xffff_ffff),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn reports_why_a_constant_has_no_value() {
        for (text, reason) in [
            ("''", "is empty"),
            ("'ab'", "has more than one character"),
            ("'\\q'", "has an invalid escape sequence"),
            ("'\\x'", "has an invalid escape sequence"),
            ("'\\u12'", "has an invalid escape sequence"),
            ("U'\\ud800'", "has an invalid escape sequence"),
            ("L'\\x100000000'", "has an invalid escape sequence"),
            ("'\\xff'", "has another value on amd64 than on arm64; write `L` before it"),
            ("'é'", "has another value on amd64 than on arm64; write `L` before it"),
            ("u'\\U0001F600'", "does not fit its type"),
            ("L'\\xffffffff'", "does not fit its type"),
            ("u8'é'", "does not fit its type"),
        ] {
            assert_eq!(value(text), Err(reason), "{text}");
        }
    }
}
