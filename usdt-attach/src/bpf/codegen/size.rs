//! Regression test for the number of instructions: each of them runs in the traced program's time.

use super::tests::{FEATURES, MAPS};
use super::*;
use crate::discover::select::{Glob, Selected};
use crate::discover::{Probe, sample};
use crate::filter::{Filter, Subject};
use crate::plan::{Mode, Options, Scale};
use stapsdt::schema::Kind;

/// A program to compile.
struct Case<'a> {
    name: &'a str,
    /// Number of instructions that the program may have at most.
    limit: usize,
    probes: Vec<Probe>,
    mode: Mode,
    filter: Option<&'a str>,
}

fn case<'a>(
    name: &'a str,
    limit: usize,
    probes: Vec<Probe>,
    mode: Mode,
    filter: Option<&'a str>,
) -> Case<'a> {
    Case { name, limit, probes, mode, filter }
}

/// Returns the number of instructions of the program for some probes.
fn instructions(probes: Vec<Probe>, mode: Mode, filter: Option<&str>) -> usize {
    let selected: Vec<Selected> = probes.into_iter().map(sample::selected).collect();
    let filter = filter.map(|source| Filter::parse(source).unwrap());
    let options = Options { mode, filter, pids: Some(vec![1]), ..Options::default() };
    let (plan, warnings) = Plan::new(&selected, &options).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let programs = compile(&plan, &MAPS, FEATURES).unwrap();
    assert_eq!(programs.len(), 1);
    programs[0].code.len()
}

/// Returns a probe as in sealed Go programs: all arguments in registers, then the goroutine id.
fn probe(words: usize, ends_with_string: bool) -> Probe {
    const REGISTERS: [&str; 8] = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9"];
    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let mut kinds: Vec<(&str, Kind)> =
        NAMES[..words].iter().map(|name| (*name, Kind::Int)).collect();
    if ends_with_string {
        kinds[words - 1].1 = Kind::String;
    }
    let count = words + usize::from(ends_with_string) + 1;
    let args: Vec<String> =
        REGISTERS[..count].iter().map(|register| format!("8@%{register}")).collect();
    sample::described(&args.join(" "), &kinds)
}

#[test]
#[cfg(target_arch = "x86_64")]
fn programs_do_not_grow() {
    let subject = |name: &str| Subject { name: name.into(), string: false };
    let count = |by: &[&str]| Mode::Count { by: by.iter().map(|name| subject(name)).collect() };
    let hist = || Mode::Histogram { value: subject("a"), scale: Scale::Log2, by: Vec::new() };
    let pair =
        || ["begin", "end"].map(|name| Probe { name: name.into(), ..probe(1, false) }).into();
    let latency = |key: Option<&str>| Mode::Latency {
        start: Glob::new("begin"),
        end: Glob::new("end"),
        key: key.map(subject),
        by: Vec::new(),
        scale: Scale::Log2,
    };
    // Lower a limit when a change makes its program shorter.
    let cases: [Case<'_>; 12] = [
        case("trace, no argument", 79, vec![probe(0, false)], Mode::Record, None),
        case("trace, 3 integers", 91, vec![probe(3, false)], Mode::Record, None),
        case("trace, 6 integers", 103, vec![probe(6, false)], Mode::Record, None),
        case("trace, 2 integers and a string", 179, vec![probe(3, true)], Mode::Record, None),
        case("count", 20, vec![probe(3, true)], count(&[]), None),
        case("count, filtered by an integer", 32, vec![probe(3, true)], count(&[]), Some("a == 7")),
        case(
            "count, filtered by a string",
            42,
            vec![probe(3, true)],
            count(&[]),
            Some("c == 'text'"),
        ),
        case("count by an integer", 56, vec![probe(3, true)], count(&["a"]), None),
        case("count by a string", 81, vec![probe(3, true)], count(&["c"]), None),
        case("hist", 85, vec![probe(3, true)], hist(), None),
        case("latency by an argument, both ends", 156, pair(), latency(Some("a")), None),
        // A call that is not nested runs three instructions more than one by an argument.
        case("latency by goroutine, both ends", 205, pair(), latency(None), None),
    ];
    let over: Vec<String> = cases
        .into_iter()
        .filter_map(|Case { name, limit, probes, mode, filter }| {
            let count = instructions(probes, mode, filter);
            (count > limit).then(|| format!("{name}: {count} instructions (limit {limit})"))
        })
        .collect();
    assert!(over.is_empty(), "{}", over.join("\n"));
}
