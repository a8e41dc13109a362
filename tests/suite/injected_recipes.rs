//! The presets of `usdt-gen inject`: their rules fit real modules, a program that uses all of them
//! fires their probes, and the scripts of the page of recipes work.

use super::docs::{blocks, run_script};
use crate::injected_values::{go, inject};
use gobinary::supported_releases::TESTED;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use usdt_e2e::{
    Copy, Need, attach, copy, events_and_summary, have, json_lines, root, stdout, text,
};

const RELEASE: &str = TESTED[TESTED.len() - 1];
const PRESETS: [&str; 6] = ["gin", "grpc", "kafka-go", "redis", "sql", "sql-drivers"];
/// The page's rules for packages of one's own.
const OWN: [&str; 3] = [
    "usdt.local/tests/recipes/store:[A-Z]*",
    "usdt.local/tests/recipes/store:*.[A-Z]*",
    "usdt.local/tests/recipes/...:*Handler",
];

fn module() -> PathBuf {
    root().join("tests/go/recipes")
}

/// Runs `usdt-gen inject` with presets in the module that uses their libraries.
fn inject_presets(presets: &[&str], args: &[&str]) -> std::process::Output {
    let mut command = inject(RELEASE, args);
    for preset in presets {
        command.args(["--preset", preset]);
    }
    command.current_dir(module()).output().unwrap()
}

/// Builds the program once per run, and returns a copy of it.
fn program() -> Copy {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let out = root().join("target/e2e/recipes");
        std::fs::create_dir_all(out.parent().unwrap()).unwrap();
        let flags = inject_presets(&PRESETS, &OWN);
        assert!(flags.status.success(), "{}", text(&flags.stderr));
        let mut build = go(RELEASE, &["build", "-o", out.to_str().unwrap(), "."]);
        stdout(build.current_dir(module()).env("GOFLAGS", text(&flags.stdout).trim()));
        out
    });
    copy(built)
}

/// The probes with their arguments, and how often the program fires each.
const PROBES: &str = include_str!("injected_recipes.txt");

#[test]
fn presets_match_their_libraries() {
    for preset in PRESETS {
        let out = inject_presets(&[preset], &["--check"]);
        assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""), "{preset}");
    }
    let out = inject_presets(&PRESETS, &["--list", "--json"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let mut listed = Vec::new();
    for function in json_lines(&text(&out.stdout)) {
        assert!(function["reason"].is_null(), "{function}");
        for (suffix, field) in [("entry", "entry"), ("return", "return")] {
            let args = function[field].as_array().unwrap();
            let arg = |arg: &serde_json::Value| {
                format!("{} {}", arg["name"].as_str().unwrap(), arg["type"].as_str().unwrap())
            };
            let args: Vec<String> = args.iter().map(arg).collect();
            let part = |name: &str| function[name].as_str().unwrap().to_owned();
            listed.push(format!(
                "{}:{}__{suffix}({})",
                part("provider"),
                part("probe"),
                args.join(", ")
            ));
        }
    }
    listed.sort();
    let expected: Vec<&str> = PROBES.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(listed, expected, "{}", listed.join("\n"));
}

#[test]
fn a_program_fires_the_probes_of_all_presets() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let program = program();
    let out = attach(&["trace", "--json", "*:*", "--", program.as_str()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let (events, summary) = events_and_summary(&text(&out.stdout));
    assert_eq!((&summary["dropped"], &summary["hits"]), (&0.into(), &events.len().into()));
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for event in &events {
        let part = |name: &str| event[name].as_str().unwrap();
        *counts.entry(format!("{}:{}", part("provider"), part("probe"))).or_default() += 1;
    }
    counts.retain(|probe, _| !probe.starts_with("store:") && !probe.starts_with("web:"));
    let expected = PROBES.lines().map(|line| {
        let (probe, count) = line.rsplit_once(' ').unwrap();
        (probe.split_once('(').unwrap().0.to_owned(), count.parse::<usize>().unwrap())
    });
    let expected: BTreeMap<String, usize> = expected.filter(|(_, count)| *count > 0).collect();
    assert_eq!(counts, expected);
}

#[test]
fn the_scripts_of_the_recipes_work() {
    if !have(&[Need::Bpf, Need::Program("bpftrace")]) {
        return;
    }
    let program = program();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&program.path, folder.path().join("app")).unwrap();
    let scripts: Vec<_> =
        blocks("inject-recipes.md").into_iter().filter(|block| block.info == "console").collect();
    assert_eq!(scripts.len(), 16);
    for block in scripts {
        let line = block.text.strip_prefix("# ").expect("scripts start with `# `");
        let expected =
            block.expected.as_ref().unwrap_or_else(|| panic!("no `expect:` comment before {line}"));
        let out = run_script(folder.path(), line);
        assert!(out.contains(expected), "{line}\n`{expected}` is not in\n{out}");
    }
}

#[test]
fn an_optional_rule_leaves_out_what_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let rules = "[[probe]]\nfunc = \"usdt.local/inject/flow.Locked\"\nargs = { gone = \"n.Gone\", n = \"n\" }\noptional = true\n\
                 [[probe]]\nfunc = \"usdt.local/inject/flow.Gone\"\noptional = true\n";
    let file = usdt_e2e::write(folder.path(), "rules.toml", rules);
    let out = inject(RELEASE, &["--list", &file]).output().unwrap();
    let list = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(list.contains("flow:Locked__entry(n int)"), "{list}");
    assert!(list.contains("not shown: gone, n.Gone undefined"), "{list}");
    assert!(text(&out.stderr).contains("matches `Gone`"), "{}", text(&out.stderr));
    let flags = crate::injected_values::flags(RELEASE, &[&file]);
    stdout(go(RELEASE, &["build", "-o", "/dev/null", "."]).env("GOFLAGS", flags));
    let out = inject(RELEASE, &["--check", &file]).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
}

#[test]
fn a_preset_can_be_printed() {
    let out = inject_presets(&["gin"], &["--print"]);
    let rules = text(&out.stdout);
    assert!(rules.starts_with("# github.com/gin-gonic/gin: "), "{rules}");
    let folder = tempfile::tempdir().unwrap();
    let file = usdt_e2e::write(folder.path(), "inject.toml", rules);
    let out = inject_presets(&[], &["--check", &file]);
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""));
}
