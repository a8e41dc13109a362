//! Conditions: filters bound to a probe.
//!
//! Each name has become a slot in the frame of the BPF program, and each number has the width of
//! its argument.

use super::reads::ArgSlot;
use crate::filter::Test;
use serde::Serialize;

/// A condition on a hit. A comparison is false if its argument cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Condition {
    /// A condition whose result does not depend on the hit.
    Constant(bool),
    /// `a && b`.
    All(Box<Condition>, Box<Condition>),
    /// `a || b`.
    Any(Box<Condition>, Box<Condition>),
    /// `!a`.
    Not(Box<Condition>),
    /// An integer comparison, signed if the slot is.
    Number {
        slot: ArgSlot,
        test: Test,
        /// The 64 bits to compare with.
        value: i64,
    },
    /// A comparison of IEEE 754 numbers by the [`float_order`] of their bits.
    Float {
        /// A slot of 4 or 8 bytes.
        slot: ArgSlot,
        test: Test,
        /// The `float_order` of the number to compare with.
        value: i64,
    },
    /// Equality with a string in user memory.
    String {
        pointer: ArgSlot,
        /// The length; `None` if a NUL ends the string.
        length: Option<ArgSlot>,
        /// The bytes to compare with.
        bytes: Vec<u8>,
        /// True for a prefix match.
        prefix: bool,
        /// Offset in the frame of the space for the bytes that are read.
        scratch: u32,
        /// As in [`ReadOp::String`](super::reads::ReadOp::String).
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        fault_in: bool,
    },
    /// Equality with a string in the frame that is padded with zeros.
    FixedString {
        /// Offset in the frame.
        at: u32,
        /// The bytes to compare with; they include the final NUL unless this is a prefix match.
        bytes: Vec<u8>,
    },
}

/// Length in bytes of the longest string that a filter can compare with.
pub(crate) const MAX_FILTER_STRING: usize = 128;

impl Condition {
    /// Returns true if a string that is compared may have to be brought into memory.
    pub(crate) fn faults_in(&self) -> bool {
        match self {
            Condition::All(a, b) | Condition::Any(a, b) => a.faults_in() || b.faults_in(),
            Condition::Not(inner) => inner.faults_in(),
            Condition::String { fault_in, .. } => *fault_in,
            _ => false,
        }
    }

    /// Returns the comparison of an integer with any number. If the number is outside the range of
    /// 64-bit integers of the slot's signedness, the result is constant.
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

    /// Returns the comparison of a floating-point number. A comparison with NaN is constant.
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

/// Maps the bits of a float to an integer that compares like the float. A 32-bit float is in the
/// upper half of `bits`.
///
/// Both zeros map to 0. NaN maps to values beyond [`infinity_order`] on either side.
pub(crate) fn float_order(bits: u64) -> i64 {
    let bits = if bits << 1 == 0 { 0 } else { bits as i64 };
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// Returns the [`float_order`] of infinity for floats of 4 or 8 bytes.
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

    const SLOT: ArgSlot = ArgSlot { at: 8, size: 8, signed: false, fault: None };

    #[test]
    fn comparisons_outside_the_range_are_constant() {
        let known = |slot, test, value| match Condition::number(slot, test, value) {
            Condition::Constant(known) => Some(known),
            _ => None,
        };
        assert_eq!(known(SLOT, Test::Gt, -1), Some(true));
        assert_eq!(known(SLOT, Test::Eq, -1), Some(false));
        assert_eq!(known(SLOT, Test::Eq, u64::MAX.into()), None);
        let signed = ArgSlot { signed: true, ..SLOT };
        assert_eq!(known(signed, Test::Lt, 1 << 63), Some(true));
        assert_eq!(known(signed, Test::Lt, -(1 << 63)), None);
    }

    proptest! {
        #[test]
        fn float_order_compares_like_f64(a: f64, b: f64) {
            prop_assert_eq!(float_order(a.to_bits()).partial_cmp(&float_order(b.to_bits())), a.partial_cmp(&b));
        }

        #[test]
        fn float_order_compares_like_f32(a: f32, b: f32) {
            let small_order = |f: f32| float_order(u64::from(f.to_bits()) << 32);
            prop_assert_eq!(small_order(a).partial_cmp(&small_order(b)), a.partial_cmp(&b));
        }
    }

    #[test]
    fn float_order_of_zeros_infinities_and_nan() {
        assert_eq!(float_order((-0.0f64).to_bits()), 0);
        assert_eq!(float_order(f64::INFINITY.to_bits()), infinity_order(8));
        assert!(float_order(f64::NAN.to_bits()) > infinity_order(8));
        assert!(float_order((-f64::NAN).to_bits()) < -infinity_order(8) - 1);
        assert_eq!(float_order(f64::NEG_INFINITY.to_bits()), -infinity_order(8) - 1);
    }
}
