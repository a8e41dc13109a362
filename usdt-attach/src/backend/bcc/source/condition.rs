//! Filters as C expressions.

use super::reads::{number, slot_value};
use crate::filter::Test;
use crate::plan::{ArgSlot, Condition, infinity_order};

/// The C expression of a filter: 1 if the hit passes, else 0.
pub(super) fn expression(condition: &Condition) -> String {
    match condition {
        Condition::Constant(value) => format!("({})", i32::from(*value)),
        Condition::All(a, b) => format!("({} && {})", expression(a), expression(b)),
        Condition::Any(a, b) => format!("({} || {})", expression(a), expression(b)),
        Condition::Not(inner) => format!("(!{})", expression(inner)),
        Condition::Number { slot, test, value } => {
            let sign = if slot.signed { 's' } else { 'u' };
            format!(
                "({}({}) {} ({sign}64){})",
                unless_fault(*slot),
                slot_value(*slot),
                operator(*test),
                number(*value)
            )
        }
        Condition::Float { slot, test, value } => float(*slot, *test, *value),
        Condition::String { pointer, length, bytes, prefix, scratch, fault_in } => {
            let len = bytes.len();
            let address = slot_value(*pointer);
            let mut parts = match length {
                Some(length) => {
                    let test = if *prefix { ">=" } else { "==" };
                    let mut parts = vec![format!("({}) {test} {len}", slot_value(*length))];
                    if len > 0 {
                        let copy = format!(
                            "!bpf_probe_read_user(base + {scratch}, {len}, (void *)({address}))"
                        );
                        parts.push(match fault_in {
                            true => format!("({copy} || FAULT_IN({address}, {len}) && {copy})"),
                            false => copy,
                        });
                    }
                    parts
                }
                None => {
                    let max = len + if *prefix { 1 } else { 2 };
                    let copy = format!(
                        "(got = bpf_probe_read_user_str(base + {scratch}, {max}, (void *)({address})))"
                    );
                    let again = match fault_in {
                        true => format!("got < 0 && FAULT_IN({address}, {max}) && {copy}, "),
                        false => String::new(),
                    };
                    vec![format!("({copy}, {again}got == {})", len + 1)]
                }
            };
            parts.extend(same_bytes(*scratch, bytes));
            let other = length.filter(|length| length.fault != pointer.fault);
            let faults = unless_fault(*pointer) + &other.map(unless_fault).unwrap_or_default();
            format!("({faults}{})", parts.join(" && "))
        }
        Condition::FixedString { at, bytes } => {
            let parts = same_bytes(*at, bytes);
            if parts.is_empty() { "(1)".to_owned() } else { format!("({})", parts.join(" && ")) }
        }
    }
}

/// A conjunction that makes a comparison false if the argument could not be read.
fn unless_fault(slot: ArgSlot) -> String {
    slot.fault.map_or(String::new(), |bit| format!("!FAULTED({bit}) && "))
}

fn operator(test: Test) -> &'static str {
    match test {
        Test::Eq => "==",
        Test::Ne => "!=",
        Test::Lt => "<",
        Test::Le => "<=",
        Test::Gt => ">",
        Test::Ge => ">=",
    }
}

/// Compares a float by its order number (see `plan::condition::float_order`), as BPF has no floating
/// point. The numbers beyond the infinities are NaNs, which are unequal to everything.
fn float(slot: ArgSlot, test: Test, value: i64) -> String {
    let shift = if slot.size == 4 { " << 32" } else { "" };
    // Either "is a NaN, or differs" or "is not a NaN, and compares".
    let (below, above, both, then) = match test {
        Test::Ne => ("<", ">", "||", "||"),
        _ => (">=", "<=", "&&", "&&"),
    };
    format!(
        "({fault}({{ u64 bits = ({word}){shift}; if (!(bits << 1)) bits = 0; \
         s64 order = (s64)bits ^ (s64)((u64)((s64)bits >> 63) >> 1); \
         (order {below} {low} {both} order {above} {high}) {then} order {operator} {value}; }}))",
        fault = unless_fault(slot),
        word = slot_value(slot),
        low = number(-infinity_order(slot.size) - 1),
        high = number(infinity_order(slot.size)),
        operator = operator(test),
        value = number(value),
    )
}

/// Comparisons of the memory at `base + at` with constant bytes, as few as possible.
fn same_bytes(at: u32, bytes: &[u8]) -> Vec<String> {
    let mut out = Vec::new();
    let (mut at, mut rest) = (at, bytes);
    for size in [8usize, 4, 2, 1] {
        while let Some((chunk, tail)) = rest.split_at_checked(size) {
            let value = chunk.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
            out.push(format!("AT(u{}, {at}) == {value}ULL", size * 8));
            at += size as u32;
            rest = tail;
        }
    }
    out
}
