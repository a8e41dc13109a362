//! The rules of injected probes: what the list shows, and what mistakes say.

use crate::injected_values::{flags, go, inject};
use gobinary::supported_releases::TESTED;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use usdt_e2e::{json_lines, stdout, text, write};

/// Any release will do.
const RELEASE: &str = TESTED[TESTED.len() - 1];

/// Runs `usdt-gen inject` with a rule file. Returns its exit code, its output and its messages.
fn run(rules: &str, args: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "inject.toml", rules);
    let out = inject(RELEASE, args).arg(&file).output().unwrap();
    let messages = text(&out.stderr).replace(folder.path().to_str().unwrap(), "DIR");
    (out.status.code().unwrap(), text(&out.stdout), messages)
}

#[test]
fn the_list_names_functions_probes_and_what_is_not_shown() {
    let rules = "[[probe]]\nfunc = \"./values:*\"\nexclude = [\"[U-Z]*\"]\n[[probe]]\nfunc = \"./flow.Many\"\n";
    let (code, list, messages) = run(rules, &["--list"]);
    assert_eq!((code, messages.as_str()), (0, ""), "{list}");
    for part in [
        "usdt.local/inject/values\n",
        "  Floats (values.go:48)\n    values:Floats__entry(a float32, b float64, negate bool)\n",
        "    not shown: r, it is a pointer; name a field, such as `r.Field`\n",
        "  Tiny: no probes, it is so small that the compiler inlines it",
        "  Many (flow.go:55, copy of the body)\n",
        "functions in 2 packages\n",
    ] {
        assert!(list.contains(part), "{part}: {list}");
    }
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");
    let (code, json, _) = run(rules, &["--list", "--json"]);
    assert_eq!(code, 0);
    let lines = json_lines(&json);
    let many = lines.iter().find(|line| line["name"] == "Many").unwrap();
    assert_eq!(
        (&many["package"], &many["form"]),
        (&"usdt.local/inject/flow".into(), &"copy".into())
    );
    assert_eq!(many["return"][1]["kind"], "error");
    assert!(lines.iter().any(|line| line["name"] == "Tiny" && line["reason"].is_string()));
}

#[test]
fn check_fails_if_a_rule_matches_nothing() {
    let (code, _, messages) = run("[[probe]]\nfunc = \"./flow:*Nothing\"\n", &["--check"]);
    assert_eq!(code, 1, "{messages}");
    assert!(
        messages.contains("no function in `usdt.local/inject/flow` matches `*Nothing`"),
        "{messages}"
    );
    let (code, _, messages) = run("[[probe]]\nfunc = \"example.com/none/...:*\"\n", &["--check"]);
    assert_eq!(code, 1, "{messages}");
    assert!(
        messages.contains("no package of the build matches `example.com/none/...`"),
        "{messages}"
    );
    let (code, list, messages) = run("[[probe]]\nfunc = \"./flow:*\"\n", &["--check"]);
    assert_eq!((code, list.as_str(), messages.as_str()), (0, "", ""));
}

/// The likeliest mistakes. The list and the build say the same.
#[test]
fn mistakes_point_into_the_rule_file() {
    for (rules, place, message) in [
        (
            "[[probe]]\nfunc = \"usdt.local/inject/flow.Counter.Add\"\n",
            "inject.toml:2:8",
            "package `usdt.local/inject/flow` has no function `Counter.Add`; did you mean `(*Counter).Add`?",
        ),
        (
            "[[probe]]\nfunc = \"usdt.local/inject/values.Path\"\nargs = { p = \"r.URL.Pat\" }\n",
            "inject.toml:3:21",
            "r.URL.Pat undefined",
        ),
        (
            "[[probe]]\nfunc = \"usdt.local/inject/asm.Answer\"\n",
            "inject.toml:2:8",
            "`Answer` cannot have probes: it has no body in Go",
        ),
        (
            "[[probe]]\nfunc = \"runtime.mallocgc\"\n",
            "inject.toml:2:8",
            "package `runtime` cannot have injected probes: it belongs to the Go runtime; `usdt-gen inject --runtime` adds probes of the runtime",
        ),
    ] {
        let (code, _, messages) = run(rules, &["--list"]);
        assert_eq!(code, 2, "{messages}");
        assert!(messages.contains(place) && messages.contains(message), "{message}: {messages}");
        if message.contains("runtime") {
            // Compiling the runtime again takes long.
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = write(folder.path(), "inject.toml", rules);
        let build = go(RELEASE, &["build", "-o", "/dev/null", "."])
            .env("GOFLAGS", flags(RELEASE, &[&file]))
            .output()
            .unwrap();
        let errors = text(&build.stderr);
        assert!(!build.status.success());
        assert!(errors.contains(place) && errors.contains(message), "{message}: {errors}");
    }
}

#[test]
fn a_build_without_the_wrapper_fails() {
    let flags = flags(RELEASE, &["usdt.local/inject/flow.Locked"]);
    let (_, marks) = flags.split_once("' ").unwrap();
    // A key that no cache has, because the package may be compiled with probes already.
    let marks = format!("{marks}0{}", std::process::id());
    let out =
        go(RELEASE, &["build", "-o", "/dev/null", "."]).env("GOFLAGS", marks).output().unwrap();
    assert!(!out.status.success());
    assert!(
        text(&out.stderr).contains("flag provided but not defined: -usdt"),
        "{}",
        text(&out.stderr)
    );
}

#[test]
fn a_plan_that_is_gone_says_what_to_do() {
    let flags = flags(RELEASE, &["usdt.local/inject/flow.Locked"]);
    let (start, rest) = flags.split_once("--inject=").unwrap();
    let (_, marks) = rest.split_once('\'').unwrap();
    let flags = format!("{start}--inject=0123456789abcdef'{marks}0{}", std::process::id());
    let out =
        go(RELEASE, &["build", "-o", "/dev/null", "."]).env("GOFLAGS", flags).output().unwrap();
    let errors = text(&out.stderr);
    assert!(!out.status.success());
    assert!(
        errors.contains("the plan `0123456789abcdef` is not in the cache; set GOFLAGS again"),
        "{errors}"
    );
}

/// The cache says by its times what is in use: a build that compiles nothing uses its plan, and
/// `usdt-gen inject` removes what no build has used for a month.
#[test]
fn unused_plans_are_removed_from_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("usdt-gen/inject");
    // The go command's own cache is below the same directory by default.
    let go_cache = stdout(&mut go(RELEASE, &["env", "GOCACHE"])).trim().to_owned();
    let in_cache = |command: &mut Command| {
        stdout(command.env("XDG_CACHE_HOME", folder.path()).env("GOCACHE", &go_cache))
    };
    let flags = |function: &str| in_cache(&mut inject(RELEASE, &[function])).trim().to_owned();
    let plan_of = |flags: &str| {
        let (_, rest) = flags.split_once("--inject=").unwrap();
        cache.join(format!("plan-{}.json", rest.split_once('\'').unwrap().0))
    };
    let old = std::time::SystemTime::now() - Duration::from_secs(31 * 24 * 60 * 60);
    let age = |path: &Path| File::open(path).unwrap().set_modified(old).unwrap();
    let (used, unused) =
        (flags("usdt.local/inject/flow.Locked"), flags("usdt.local/inject/flow.Panics"));
    let build = || {
        let mut build = go(RELEASE, &["build", "-o", "/dev/null", "."]);
        in_cache(build.env("GOFLAGS", &used));
    };
    build();
    for plan in [plan_of(&used), plan_of(&unused)] {
        age(&plan);
    }
    build();
    age(&cache.join("trim.txt"));
    let third = flags("usdt.local/inject/flow.Recovers");
    assert!(plan_of(&used).exists() && plan_of(&third).exists());
    assert!(!plan_of(&unused).exists());
    build();
}
