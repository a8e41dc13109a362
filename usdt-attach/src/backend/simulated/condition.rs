//! Filters of a simulated program.

use super::Hit;
use super::frame::{faults, read, read_c_string};
use crate::filter::Test;
use crate::plan::{ArgSlot, Condition, float_order, infinity_order};

/// Evaluates a filter. Comparisons of arguments that could not be read are false.
pub(super) fn holds(hit: &Hit, frame: &[u8], condition: &Condition) -> bool {
    let is_readable = |slot: &ArgSlot| slot.fault.is_none_or(|bit| faults(frame) >> bit & 1 == 0);
    match condition {
        Condition::Constant(value) => *value,
        Condition::All(a, b) => holds(hit, frame, a) && holds(hit, frame, b),
        Condition::Any(a, b) => holds(hit, frame, a) || holds(hit, frame, b),
        Condition::Not(inner) => !holds(hit, frame, inner),
        Condition::Number { slot, test, value } => {
            let Some(raw) = slot.read(frame).filter(|_| is_readable(slot)) else { return false };
            if slot.signed {
                compare(*test, raw as i64, *value)
            } else {
                compare(*test, raw, *value as u64)
            }
        }
        Condition::Float { slot, test, value } => {
            let Some(raw) = slot.read(frame).filter(|_| is_readable(slot)) else { return false };
            let bits = if slot.size == 4 { raw << 32 } else { raw };
            let order = float_order(bits);
            let infinity = infinity_order(slot.size);
            // A NaN is unequal to everything, and every other comparison with it is false.
            if !(-infinity - 1..=infinity).contains(&order) {
                return *test == Test::Ne;
            }
            compare(*test, order, *value)
        }
        Condition::String { pointer, length, bytes, prefix, .. } => {
            let Some(at) = pointer.read(frame).filter(|_| is_readable(pointer)) else {
                return false;
            };
            if !length.as_ref().is_none_or(is_readable) {
                return false;
            }
            match length.map(|slot| (slot.signed, slot.read(frame))) {
                Some((is_signed, Some(length))) => {
                    let fits = if *prefix {
                        length >= bytes.len() as u64 && !(is_signed && (length as i64) < 0)
                    } else {
                        length == bytes.len() as u64
                    };
                    fits && (bytes.is_empty() || read(hit, at, bytes.len()) == Some(bytes))
                }
                Some((_, None)) => false,
                None => {
                    // One byte more than a full match needs tells whether the string goes on.
                    let max = bytes.len() + if *prefix { 1 } else { 2 };
                    let string = read_c_string(hit, at, max);
                    string.is_some_and(|s| s.len() == bytes.len() + 1 && s.starts_with(bytes))
                }
            }
        }
        Condition::FixedString { at, bytes } => {
            frame.get(*at as usize..).is_some_and(|rest| rest.starts_with(bytes))
        }
    }
}

fn compare<T: Ord + Copy>(test: Test, a: T, b: T) -> bool {
    match test {
        Test::Eq => a == b,
        Test::Ne => a != b,
        Test::Lt => a < b,
        Test::Le => a <= b,
        Test::Gt => a > b,
        Test::Ge => a >= b,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Simulated;
    use super::*;
    use crate::discover::sample;
    use crate::filter::{Filter, Subject};
    use crate::plan::{Mode, Options, Plan};
    use crate::session::{Session, Summary};
    use stapsdt::schema::Kind;
    use std::collections::BTreeMap;

    /// Hits a probe whose string has its length in memory that does not exist.
    fn hit_without_length(options: &Options) -> Summary {
        let declared = [("text", Kind::String)];
        let probe = sample::described("8@%rdi 8@(%rsi)", &declared);
        let (plan, _) = Plan::new(&[sample::selected(probe)], options).unwrap();
        let backend = Simulated::default();
        let session = Session::start(plan, &backend).unwrap();
        /// Offset of rdi in `pt_regs`.
        const RDI: i16 = 112;
        let registers = BTreeMap::from([(RDI, 0x1000)]);
        let memory = BTreeMap::from([(0x1000, b"text".to_vec())]);
        backend.hit(&Hit { registers, memory, ..Hit::default() });
        session.summary().unwrap()
    }

    #[test]
    fn a_string_without_a_readable_length_is_not_empty() {
        for filter in ["text == ''", "text == '*'"] {
            let filter = Some(Filter::parse(filter).unwrap());
            let summary = hit_without_length(&Options { filter, ..Options::default() });
            assert_eq!((summary.hits, summary.filtered), (1, 1));
        }
        let by = vec![Subject { name: "text".into(), string: false }];
        let summary =
            hit_without_length(&Options { mode: Mode::Count { by }, ..Options::default() });
        assert_eq!((summary.hits, summary.dropped), (1, 1));
    }
}
