//! How many instructions programs have: each of them runs in the traced program's time.

use super::tests::{FEATURES, MAPS};
use super::*;
use crate::discover::select::{Glob, Selected};
use crate::discover::{Object, Probe, sample};
use crate::filter::{Filter, Subject};
use crate::plan::{Mode, Options, Scale};
use stapsdt::schema::Kind;
use std::sync::Arc;

/// What it does, the most instructions it may have, and what it is planned from.
type Program<'a> = (&'a str, usize, Vec<Probe>, Mode, Option<&'a str>);

/// Instructions of the one program that the plan for these probes has.
fn instructions(probes: Vec<Probe>, mode: Mode, filter: Option<&str>) -> usize {
    let own = std::env::current_exe().unwrap();
    let object = Arc::new(Object::open(&own, &own).unwrap());
    let select =
        |probe| Selected { object: Arc::clone(&object), probe: Arc::new(probe), pids: [].into() };
    let chosen: Vec<Selected> = probes.into_iter().map(select).collect();
    let filter = filter.map(|text| Filter::parse(text).unwrap());
    let options = Options { mode, filter, pids: Some(vec![1]), ..Options::default() };
    let (plan, warnings) = Plan::new(&chosen, &options).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let programs = compile(&plan, &MAPS, FEATURES).unwrap();
    assert_eq!(programs.len(), 1);
    programs[0].code.len()
}

/// As sealed Go programs have them: in registers, the goroutine's id behind the others.
fn probe(words: usize, text: bool) -> Probe {
    const REGISTERS: [&str; 8] = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9"];
    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let mut kinds: Vec<(&str, Kind)> =
        NAMES[..words].iter().map(|name| (*name, Kind::Int)).collect();
    if text {
        kinds[words - 1].1 = Kind::String;
    }
    let count = words + usize::from(text) + 1;
    let args: Vec<String> =
        REGISTERS[..count].iter().map(|register| format!("8@%{register}")).collect();
    sample::described(&args.join(" "), &kinds)
}

#[test]
#[cfg(target_arch = "x86_64")]
fn no_program_has_more_instructions_than_before() {
    let subject = |name: &str| Subject { name: name.into(), string: false };
    let count = |by: &[&str]| Mode::Count { by: by.iter().map(|name| subject(name)).collect() };
    let hist = || Mode::Histogram { value: subject("a"), scale: Scale::Log2, by: Vec::new() };
    let pair =
        || ["begin", "end"].map(|name| Probe { name: name.into(), ..probe(1, false) }).into();
    let latency = Mode::Latency {
        start: Glob::new("begin"),
        end: Glob::new("end"),
        key: None,
        by: Vec::new(),
        scale: Scale::Log2,
    };
    // A change that makes a program shorter lowers its number here.
    let programs: [Program<'_>; 11] = [
        ("trace, no argument", 76, vec![probe(0, false)], Mode::Record, None),
        ("trace, 3 integers", 88, vec![probe(3, false)], Mode::Record, None),
        ("trace, 6 integers", 100, vec![probe(6, false)], Mode::Record, None),
        ("trace, 2 integers and a string", 176, vec![probe(3, true)], Mode::Record, None),
        ("count", 20, vec![probe(3, true)], count(&[]), None),
        ("count, filtered by an integer", 32, vec![probe(3, true)], count(&[]), Some("a == 7")),
        ("count, filtered by a string", 42, vec![probe(3, true)], count(&[]), Some("c == 'text'")),
        ("count by an integer", 56, vec![probe(3, true)], count(&["a"]), None),
        ("count by a string", 81, vec![probe(3, true)], count(&["c"]), None),
        ("hist", 85, vec![probe(3, true)], hist(), None),
        ("latency, both ends", 156, pair(), latency, None),
    ];
    let over: Vec<String> = programs
        .into_iter()
        .filter_map(|(what, most, probes, mode, filter)| {
            let count = instructions(probes, mode, filter);
            (count > most).then(|| format!("{what}: {count} instructions, more than {most}"))
        })
        .collect();
    assert!(over.is_empty(), "{}", over.join("\n"));
}
