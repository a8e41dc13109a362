//! A filter bound to a probe: every name is a place in the program's frame, every number of the right width.

use super::reads::ArgSlot;
use crate::filter::Test;
use serde::Serialize;

/// What must hold of a hit. A comparison whose argument cannot be read is false.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Condition {
    /// Known beforehand.
    Constant(bool),
    /// Both.
    All(Box<Condition>, Box<Condition>),
    /// At least one.
    Any(Box<Condition>, Box<Condition>),
    /// Not.
    Not(Box<Condition>),
    /// An integer comparison, signed if the word is.
    Number {
        /// The word.
        slot: ArgSlot,
        /// How.
        test: Test,
        /// With what, as 64 bits.
        value: i64,
    },
    /// A comparison of IEEE 754 numbers by [`float_order`] of their bits.
    Float {
        /// The word, of 4 or 8 bytes.
        slot: ArgSlot,
        /// How.
        test: Test,
        /// With what, in that order.
        value: i64,
    },
    /// Text that a pointer leads to.
    String {
        /// The pointer.
        pointer: ArgSlot,
        /// The length; `None` for NUL-terminated text.
        length: Option<ArgSlot>,
        /// What it must be.
        bytes: Vec<u8>,
        /// Whether more may follow.
        prefix: bool,
        /// Room in the frame for the bytes read.
        scratch: u32,
    },
    /// Text in the frame, padded with zeros.
    FixedString {
        /// Where.
        at: u32,
        /// What it must be, with its final zero unless more may follow.
        bytes: Vec<u8>,
    },
}

/// Longest text that a filter compares with.
pub(crate) const MAX_FILTER_STRING: usize = 128;

impl Condition {
    /// A comparison of an integer word with any number: what no value of the word's type can be is known now.
    pub(super) fn number(slot: ArgSlot, test: Test, value: i128) -> Condition {
        let (low, high) = if slot.signed {
            (i128::from(i64::MIN), i128::from(i64::MAX))
        } else {
            (0, i128::from(u64::MAX))
        };
        if value < low {
            return Condition::Constant(matches!(test, Test::Ne | Test::Gt | Test::Ge));
        }
        if value > high {
            return Condition::Constant(matches!(test, Test::Ne | Test::Lt | Test::Le));
        }
        Condition::Number { slot, test, value: value as i64 }
    }

    /// A comparison of a floating-point word.
    pub(super) fn float(slot: ArgSlot, test: Test, value: f64) -> Condition {
        let bits = if slot.size == 4 {
            u64::from((value as f32).to_bits()) << 32
        } else {
            value.to_bits()
        };
        if value.is_nan() {
            return Condition::Constant(test == Test::Ne);
        }
        Condition::Float { slot: ArgSlot { signed: false, ..slot }, test, value: float_order(bits) }
    }
}

/// Maps the bits of a float (of a 32-bit one in the upper half) to an integer of the same order. Both zeros are 0;
/// what is no number is beyond [`infinity_order`] on either side.
pub(crate) fn float_order(bits: u64) -> i64 {
    let bits = if bits << 1 == 0 { 0 } else { bits as i64 };
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// The order of infinity, of 8-byte and of 4-byte floats.
pub(crate) fn infinity_order(size: u8) -> i64 {
    if size == 4 {
        i64::from(f32::INFINITY.to_bits()) << 32
    } else {
        f64::INFINITY.to_bits() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORD: ArgSlot = ArgSlot { at: 8, size: 8, signed: false, fault: None };

    #[test]
    fn what_cannot_be_is_known_beforehand() {
        let known = |word, test, value| match Condition::number(word, test, value) {
            Condition::Constant(known) => Some(known),
            _ => None,
        };
        assert_eq!(known(WORD, Test::Gt, -1), Some(true));
        assert_eq!(known(WORD, Test::Eq, -1), Some(false));
        assert_eq!(known(WORD, Test::Eq, u64::MAX.into()), None);
        let signed = ArgSlot { signed: true, ..WORD };
        assert_eq!(known(signed, Test::Lt, 1 << 63), Some(true));
        assert_eq!(known(signed, Test::Lt, -(1 << 63)), None);
    }

    proptest! {
        #[test]
        fn order_is_the_floats(a: f64, b: f64) {
            prop_assert_eq!(float_order(a.to_bits()).partial_cmp(&float_order(b.to_bits())), a.partial_cmp(&b));
        }

        #[test]
        fn and_the_small_floats(a: f32, b: f32) {
            let small_order = |f: f32| float_order(u64::from(f.to_bits()) << 32);
            prop_assert_eq!(small_order(a).partial_cmp(&small_order(b)), a.partial_cmp(&b));
        }
    }

    #[test]
    fn the_edges_of_floats() {
        assert_eq!(float_order((-0.0f64).to_bits()), 0);
        assert_eq!(float_order(f64::INFINITY.to_bits()), infinity_order(8));
        assert!(float_order(f64::NAN.to_bits()) > infinity_order(8));
        assert!(float_order((-f64::NAN).to_bits()) < -infinity_order(8) - 1);
        assert_eq!(float_order(f64::NEG_INFINITY.to_bits()), -infinity_order(8) - 1);
    }
}
