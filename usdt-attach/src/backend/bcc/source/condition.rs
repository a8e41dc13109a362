//! Filters as expressions.

use super::reads::{number, word};
use crate::filter::Test;
use crate::plan::{ArgSlot, Condition, infinity_order};

pub(super) fn expression(condition: &Condition) -> String {
    match condition {
        Condition::Constant(known) => format!("({})", i32::from(*known)),
        Condition::All(a, b) => format!("({} && {})", expression(a), expression(b)),
        Condition::Any(a, b) => format!("({} || {})", expression(a), expression(b)),
        Condition::Not(inner) => format!("(!{})", expression(inner)),
        Condition::Number { slot: place, test, value } => {
            let sign = if place.signed { 's' } else { 'u' };
            format!(
                "({}({}) {} ({sign}64){})",
                unless_fault(*place),
                word(*place),
                operator(*test),
                number(*value)
            )
        }
        Condition::Float { slot: place, test, value } => float(*place, *test, *value),
        Condition::String { pointer, length, bytes, prefix, scratch } => {
            let wanted = bytes.len();
            let pointer_word = word(*pointer);
            let mut parts = match length {
                Some(length) => {
                    let test = if *prefix { ">=" } else { "==" };
                    let mut parts = vec![format!("({}) {test} {wanted}", word(*length))];
                    if wanted > 0 {
                        parts.push(format!(
                            "!bpf_probe_read_user(base + {scratch}, {wanted}, (void *)({pointer_word}))"
                        ));
                    }
                    parts
                }
                None => vec![format!(
                    "bpf_probe_read_user_str(base + {scratch}, {}, (void *)({pointer_word})) == {}",
                    wanted + if *prefix { 1 } else { 2 },
                    wanted + 1
                )],
            };
            parts.extend(same_bytes(*scratch, bytes));
            format!("({}{})", unless_fault(*pointer), parts.join(" && "))
        }
        Condition::FixedString { at, bytes } => {
            let parts = same_bytes(*at, bytes);
            if parts.is_empty() { "(1)".to_owned() } else { format!("({})", parts.join(" && ")) }
        }
    }
}

fn unless_fault(word: ArgSlot) -> String {
    word.fault.map_or(String::new(), |bit| format!("!FAULTED({bit}) && "))
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

/// See `plan::condition::float_order`.
fn float(place: ArgSlot, test: Test, value: i64) -> String {
    let shift = if place.size == 4 { " << 32" } else { "" };
    let nan = if test == Test::Ne { "||" } else { "&&" };
    let (outside, low, high) = (
        if test == Test::Ne { ("<", ">", "||") } else { (">=", "<=", "&&") },
        number(-infinity_order(place.size) - 1),
        number(infinity_order(place.size)),
    );
    let (below, above, both) = outside;
    format!(
        "({fault}({{ u64 bits = ({word}){shift}; if (!(bits << 1)) bits = 0; \
         s64 order = (s64)bits ^ (s64)((u64)((s64)bits >> 63) >> 1); \
         (order {below} {low} {both} order {above} {high}) {nan} order {operator} {value}; }}))",
        fault = unless_fault(place),
        word = word(place),
        operator = operator(test),
        value = number(value),
    )
}

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
