//! Compares two interfaces and reports the changes that matter to tracers.
//!
//! Tracers address arguments by position and read them by size, sign and kind. A change of these
//! breaks them, and so does a removed probe. New probes, arguments after the last one, new names
//! and changed documentation do not.

use serde::Serialize;
use stapsdt::schema::{Arg, Probe, Provider, Schema};

/// One change between two interfaces. It serializes to a line of `usdt-gen diff --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// Provider name.
    pub(crate) provider: String,
    /// Probe name. `None` if the whole provider changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) probe: Option<String>,
    /// True if a tracer of the old interface reads wrong values, or nothing, from the new one.
    pub(crate) breaking: bool,
    /// Description of the change for the user.
    pub(crate) change: String,
}

/// Returns the changes from `old` to `new`: first those of the old interface in its order, then
/// additions.
pub(crate) fn diff(old: &Schema, new: &Schema) -> Vec<Change> {
    let mut changes = Vec::new();
    for provider in &old.providers {
        match new.providers.iter().find(|p| p.name == provider.name) {
            Some(other) => diff_probes(provider, other, &mut changes),
            None => changes.push(change(provider, None, true, "provider removed".into())),
        }
    }
    for provider in &new.providers {
        if !old.providers.iter().any(|p| p.name == provider.name) {
            changes.push(change(provider, None, false, "provider added".into()));
        }
    }
    changes
}

fn change(provider: &Provider, probe: Option<&Probe>, breaking: bool, change: String) -> Change {
    Change {
        provider: provider.name.clone(),
        probe: probe.map(|p| p.name.clone()),
        breaking,
        change,
    }
}

fn diff_probes(old: &Provider, new: &Provider, changes: &mut Vec<Change>) {
    let added: Vec<&Probe> =
        new.probes.iter().filter(|p| !old.probes.iter().any(|o| o.name == p.name)).collect();
    for probe in &old.probes {
        if let Some(other) = new.probes.iter().find(|p| p.name == probe.name) {
            diff_arguments(old, probe, other, changes);
            continue;
        }
        // An added probe with the same arguments is most likely this one.
        let renamed =
            added.iter().find(|p| !probe.args.is_empty() && have_same_shape(&p.args, &probe.args));
        let hint = renamed.map_or(String::new(), |p| format!("; renamed to {}?", p.name));
        changes.push(change(old, Some(probe), true, format!("probe removed{hint}")));
    }
    for probe in added {
        changes.push(change(new, Some(probe), false, "probe added".into()));
    }
}

fn have_same_shape(a: &[Arg], b: &[Arg]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| shape(a) == shape(b))
}

/// Returns the properties of an argument that a tracer relies on.
fn shape(arg: &Arg) -> (stapsdt::schema::Kind, u8, bool) {
    (arg.kind, arg.size, arg.signed)
}

fn diff_arguments(provider: &Provider, old: &Probe, new: &Probe, changes: &mut Vec<Change>) {
    let mut report =
        |breaking, message: String| changes.push(change(provider, Some(old), breaking, message));
    let mut word = 0;
    for (position, (before, after)) in old.args.iter().zip(&new.args).enumerate() {
        if shape(before) != shape(after) {
            report(
                true,
                format!(
                    "arg{word} was `{}`, is now `{}`",
                    before.declaration(),
                    after.declaration()
                ),
            );
            // If the positions of all further arguments shifted, reporting them would only repeat
            // this.
            if before.kind.words() != after.kind.words() || is_insertion(old, new, position) {
                return;
            }
        } else if before.name != after.name {
            let message =
                format!("arg{word} was named `{}`, is now named `{}`", before.name, after.name);
            if new.args.iter().any(|a| a.name == before.name) {
                report(true, format!("{message}: arguments changed places"));
            } else {
                report(false, message);
            }
        } else if before.unit != after.unit {
            // Adding or removing a unit does not change the values.
            let breaking = before.unit.is_some() && after.unit.is_some();
            let message = format!(
                "arg{word} `{}` had unit {}, now has unit {}",
                before.name,
                or_none(before.unit.as_deref()),
                or_none(after.unit.as_deref())
            );
            report(breaking, message);
        } else if before.ty != after.ty {
            report(
                false,
                format!(
                    "arg{word} `{}` was declared as `{}`, is now `{}`",
                    before.name, before.ty, after.ty
                ),
            );
        }
        word += before.kind.words();
    }
    for removed in old.args.iter().skip(new.args.len()) {
        report(true, format!("arg{word} `{}` removed", removed.declaration()));
        word += removed.kind.words();
    }
    for added in new.args.iter().skip(old.args.len()) {
        report(
            false,
            format!("arg{word} `{}` added; the goroutine ID moves after it", added.declaration()),
        );
        word += added.kind.words();
    }
    if old.stability != new.stability {
        report(
            false,
            format!(
                "stability was {}, is now {}",
                or_none(old.stability.as_deref()),
                or_none(new.stability.as_deref())
            ),
        );
    }
    if old.doc != new.doc {
        report(false, "documentation changed".to_owned());
    }
}

fn or_none(value: Option<&str>) -> &str {
    value.unwrap_or("none")
}

/// Returns true if an argument was inserted or removed at `position` rather than changed.
fn is_insertion(old: &Probe, new: &Probe, position: usize) -> bool {
    let names = |probe: &Probe| {
        probe.args.iter().skip(position + 1).map(|a| a.name.clone()).collect::<Vec<_>>()
    };
    let (before, after) = (names(old), names(new));
    before != after && old.args.len() != new.args.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlang;

    fn schema(source: &str) -> Schema {
        dlang::parse(source).model.unwrap().schema()
    }

    fn changes(old: &str, new: &str) -> Vec<(bool, String)> {
        let wrap = |probes: &str| schema(&format!("provider p {{ {probes} }};"));
        diff(&wrap(old), &wrap(new))
            .into_iter()
            .map(|c| (c.breaking, format!("{}: {}", c.probe.unwrap_or_default(), c.change)))
            .collect()
    }

    #[test]
    fn reports_breaking_and_compatible_changes() {
        let breaks = |message: &str| (true, message.to_owned());
        let fine = |message: &str| (false, message.to_owned());
        for (old, new, expected) in [
            ("probe a(int x);", "probe a(int x);", vec![]),
            ("probe a(int x);", "", vec![breaks("a: probe removed")]),
            (
                "probe a(int x);",
                "probe b(int y);",
                vec![breaks("a: probe removed; renamed to b?"), fine("b: probe added")],
            ),
            (
                "probe a(int x);",
                "probe a(unsigned x);",
                vec![breaks("a: arg0 was `int x`, is now `unsigned x`")],
            ),
            (
                "probe a(int x);",
                "probe a(long x);",
                vec![breaks("a: arg0 was `int x`, is now `long x`")],
            ),
            (
                "probe a(char *x);",
                "probe a(string x);",
                vec![breaks("a: arg0 was `char *x`, is now `string x`")],
            ),
            (
                "probe a(int x);",
                "probe a(int y);",
                vec![fine("a: arg0 was named `x`, is now named `y`")],
            ),
            (
                "probe a(int x, int y);",
                "probe a(int y, int x);",
                vec![
                    breaks("a: arg0 was named `x`, is now named `y`: arguments changed places"),
                    breaks("a: arg1 was named `y`, is now named `x`: arguments changed places"),
                ],
            ),
            ("probe a(int x, int y);", "probe a(int x);", vec![breaks("a: arg1 `int y` removed")]),
            (
                "probe a(string s);",
                "probe a(string s, int y);",
                vec![fine("a: arg2 `int y` added; the goroutine ID moves after it")],
            ),
            (
                "probe a(int x);",
                "probe a(int32_t x);",
                vec![fine("a: arg0 `x` was declared as `int`, is now `int32_t`")],
            ),
            (
                "probe a(int64_t x);",
                "\n/** @go x time.Duration */ probe a(int64_t x);",
                vec![fine("a: arg0 `x` had unit none, now has unit ns")],
            ),
            (
                "probe a(int x, long y, int z);",
                "probe a(long y, int z);",
                vec![breaks("a: arg0 was `int x`, is now `long y`")],
            ),
        ] {
            assert_eq!(changes(old, new), expected, "{old} -> {new}");
        }
        let (old, new) =
            (schema("provider p { probe a(); };"), schema("provider q { probe a(); };"));
        let messages: Vec<String> = diff(&old, &new).into_iter().map(|c| c.change).collect();
        assert_eq!(messages, ["provider removed", "provider added"]);
    }
}
