//! Values of arguments.

use super::GoTime;
use std::fmt::Write as _;

/// The value of an argument.
///
/// ```
/// use usdt_attach::event::Value;
///
/// let path = Value::String { bytes: b"/index", truncated: 4 };
/// assert_eq!(path.to_plain_string(), "/index");
/// assert!(path.is_truncated());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// A signed integer, sign-extended to 64 bits.
    Signed(i64),
    /// An unsigned integer.
    Unsigned(u64),
    /// A floating-point number of 4 or 8 bytes.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// An address in the traced process.
    Pointer(u64),
    /// A `time.Time`.
    Time(GoTime),
    /// An argument of 16 bytes, whose type is unknown.
    Wide(u128),
    /// A string, or the label of an enum value if the schema or the catalog names it.
    String {
        /// The bytes, usually UTF-8, without a terminating NUL.
        bytes: &'a [u8],
        /// Number of bytes cut off at the end; 0 if the string is complete. The length of a C string
        /// is unknown when it is cut off; the number is 1 then and means "at least one".
        truncated: u64,
    },
    /// A byte slice.
    Bytes {
        /// The bytes.
        bytes: &'a [u8],
        /// Number of bytes cut off at the end; 0 if the slice is complete.
        truncated: u64,
    },
    /// A nil interface such as an `error`, or a null pointer to a C string.
    Nil,
    /// There is no such value: the index is not below the length of the slice, or the interface holds
    /// another type.
    Missing,
    /// The value is unknown: the argument's operand is not supported, or its memory was not paged
    /// in when the probe fired.
    Unreadable,
}

impl<'a> Value<'a> {
    /// True for strings and bytes that are cut off at the end.
    pub fn is_truncated(self) -> bool {
        matches!(
            self,
            Value::String { truncated, .. } | Value::Bytes { truncated, .. } if truncated > 0
        )
    }

    /// The bytes of a byte slice as a string, if they are printable: UTF-8 without control characters
    /// other than tabs and line breaks. `None` for other byte slices and other values.
    ///
    /// ```
    /// use usdt_attach::event::Value;
    ///
    /// let subject = Value::Bytes { bytes: b"orders.new", truncated: 0 };
    /// assert_eq!(subject.printable(), Some("orders.new"));
    /// assert_eq!(Value::Bytes { bytes: &[0xff, 0], truncated: 0 }.printable(), None);
    /// ```
    pub fn printable(self) -> Option<&'a str> {
        let Value::Bytes { bytes, truncated } = self else { return None };
        let string = match std::str::from_utf8(bytes) {
            Ok(string) => string,
            // The cut may have split the last character.
            Err(error) if truncated > 0 && error.error_len().is_none() => {
                std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?
            }
            Err(_) => return None,
        };
        let is_printable = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
        string.chars().all(is_printable).then_some(string)
    }

    /// Formats the value without quotes. Times are those of RFC 3339 in UTC. Strings are lossy UTF-8
    /// and not escaped. Byte slices are strings if they are [printable](Value::printable), else
    /// hexadecimal, as addresses are. Nil, missing and unreadable values are empty.
    pub fn to_plain_string(self) -> String {
        match self {
            Value::Signed(n) => n.to_string(),
            Value::Unsigned(n) => n.to_string(),
            Value::Pointer(n) => format!("{n:#x}"),
            Value::Wide(n) => format!("{n:#034x}"),
            Value::Float(n) => n.to_string(),
            Value::Bool(b) => b.to_string(),
            Value::Time(time) => time.to_string(),
            Value::String { bytes, .. } => String::from_utf8_lossy(bytes).into_owned(),
            Value::Bytes { bytes, .. } => {
                self.printable().map_or_else(|| hex(bytes), str::to_owned)
            }
            Value::Nil | Value::Missing | Value::Unreadable => String::new(),
        }
    }
}

/// Formats bytes as two hexadecimal digits each.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}
