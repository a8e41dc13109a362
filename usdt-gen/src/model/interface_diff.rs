//! What changes for consumers between two interfaces.
//!
//! Tracers address arguments by position and read them by size, sign and kind: a change of those breaks them, as
//! does a probe that is gone. New probes, arguments behind the last one, names and documentation do not.

use serde::Serialize;
use stapsdt::schema::{Arg, Probe, Provider, Schema};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Provider name.
    pub provider: String,
    /// Probe name; absent for a whole provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<String>,
    /// Whether a consumer of the old interface reads something else, or nothing, from the new one.
    pub breaking: bool,
    /// What changed, in words.
    pub change: String,
}

/// Every change from `old` to `new`, in the order of the old interface, then what is new.
pub fn diff(old: &Schema, new: &Schema) -> Vec<Change> {
    let mut changes = Vec::new();
    for provider in &old.providers {
        match new.providers.iter().find(|p| p.name == provider.name) {
            Some(other) => probes(provider, other, &mut changes),
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

fn probes(old: &Provider, new: &Provider, changes: &mut Vec<Change>) {
    let added: Vec<&Probe> =
        new.probes.iter().filter(|p| !old.probes.iter().any(|o| o.name == p.name)).collect();
    for probe in &old.probes {
        if let Some(other) = new.probes.iter().find(|p| p.name == probe.name) {
            arguments(old, probe, other, changes);
            continue;
        }
        // One that came and looks the same is most likely this one.
        let renamed =
            added.iter().find(|p| !probe.args.is_empty() && same_words(&p.args, &probe.args));
        let hint = renamed.map_or(String::new(), |p| format!("; renamed to {}?", p.name));
        changes.push(change(old, Some(probe), true, format!("probe removed{hint}")));
    }
    for probe in added {
        changes.push(change(new, Some(probe), false, "probe added".into()));
    }
}

fn same_words(a: &[Arg], b: &[Arg]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| shape(a) == shape(b))
}

/// What a consumer relies on.
fn shape(arg: &Arg) -> (stapsdt::schema::Kind, u8, bool) {
    (arg.kind, arg.size, arg.signed)
}

fn arguments(provider: &Provider, old: &Probe, new: &Probe, changes: &mut Vec<Change>) {
    let mut report =
        |breaking, text: String| changes.push(change(provider, Some(old), breaking, text));
    let mut word = 0;
    for (position, (before, after)) in old.args.iter().zip(&new.args).enumerate() {
        if shape(before) != shape(after) {
            report(
                true,
                format!("arg{word} was `{}`, is `{}`", before.declaration(), after.declaration()),
            );
            // From here on positions have shifted if the number of words did; more would only repeat it.
            if before.kind.words() != after.kind.words() || moved(old, new, position) {
                return;
            }
        } else if before.name != after.name {
            let elsewhere = new.args.iter().any(|a| a.name == before.name);
            let text = format!("arg{word} was called `{}`, is `{}`", before.name, after.name);
            report(
                elsewhere,
                if elsewhere { format!("{text}: arguments changed places") } else { text },
            );
        } else if before.unit != after.unit {
            let name = |arg: &Arg| arg.unit.clone().unwrap_or_else(|| "none".to_owned());
            let both = before.unit.is_some() && after.unit.is_some();
            let text = format!(
                "arg{word} `{}` had unit {}, has {}",
                before.name,
                name(before),
                name(after)
            );
            report(both, text);
        } else if before.ty != after.ty {
            report(
                false,
                format!(
                    "arg{word} `{}` was declared `{}`, is `{}`",
                    before.name, before.ty, after.ty
                ),
            );
        }
        word += before.kind.words();
    }
    for gone in old.args.iter().skip(new.args.len()) {
        report(true, format!("arg{word} `{}` removed", gone.declaration()));
        word += gone.kind.words();
    }
    for come in new.args.iter().skip(old.args.len()) {
        report(
            false,
            format!("arg{word} `{}` added; the goroutine id moves behind it", come.declaration()),
        );
        word += come.kind.words();
    }
    if old.stability != new.stability {
        let name = |s: &Option<String>| s.clone().unwrap_or_else(|| "none".to_owned());
        report(
            false,
            format!("stability was {}, is {}", name(&old.stability), name(&new.stability)),
        );
    }
    if old.doc != new.doc {
        report(false, "documentation changed".to_owned());
    }
}

/// Whether an argument was put in or taken out at `position` rather than changed.
fn moved(old: &Probe, new: &Probe, position: usize) -> bool {
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

    fn said(old: &str, new: &str) -> Vec<(bool, String)> {
        let wrap = |probes: &str| schema(&format!("provider p {{ {probes} }};"));
        let changes = diff(&wrap(old), &wrap(new));
        changes
            .into_iter()
            .map(|c| (c.breaking, format!("{}: {}", c.probe.unwrap_or_default(), c.change)))
            .collect()
    }

    #[test]
    fn what_breaks_and_what_does_not() {
        let breaks = |text: &str| (true, text.to_owned());
        let fine = |text: &str| (false, text.to_owned());
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
                vec![breaks("a: arg0 was `int x`, is `unsigned x`")],
            ),
            (
                "probe a(int x);",
                "probe a(long x);",
                vec![breaks("a: arg0 was `int x`, is `long x`")],
            ),
            (
                "probe a(char *x);",
                "probe a(string x);",
                vec![breaks("a: arg0 was `char *x`, is `string x`")],
            ),
            ("probe a(int x);", "probe a(int y);", vec![fine("a: arg0 was called `x`, is `y`")]),
            (
                "probe a(int x, int y);",
                "probe a(int y, int x);",
                vec![
                    breaks("a: arg0 was called `x`, is `y`: arguments changed places"),
                    breaks("a: arg1 was called `y`, is `x`: arguments changed places"),
                ],
            ),
            ("probe a(int x, int y);", "probe a(int x);", vec![breaks("a: arg1 `int y` removed")]),
            (
                "probe a(string s);",
                "probe a(string s, int y);",
                vec![fine("a: arg2 `int y` added; the goroutine id moves behind it")],
            ),
            (
                "probe a(int x);",
                "probe a(int32_t x);",
                vec![fine("a: arg0 `x` was declared `int`, is `int32_t`")],
            ),
            (
                "probe a(int64_t x);",
                "\n/** @go x time.Duration */ probe a(int64_t x);",
                vec![fine("a: arg0 `x` had unit none, has ns")],
            ),
            (
                "probe a(int x, long y, int z);",
                "probe a(long y, int z);",
                vec![breaks("a: arg0 was `int x`, is `long y`")],
            ),
        ] {
            assert_eq!(said(old, new), expected, "{old} -> {new}");
        }
        let (one, none) =
            (schema("provider p { probe a(); };"), schema("provider q { probe a(); };"));
        let words: Vec<String> = diff(&one, &none).into_iter().map(|c| c.change).collect();
        assert_eq!(words, ["provider removed", "provider added"]);
    }
}
