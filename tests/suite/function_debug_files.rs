//! Debug information of function probes in separate files: `--debug`, and `/usr/lib/debug`.

use crate::export::{get, metric};
use gobinary::supported_releases::TESTED;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use usdt_e2e::{
    Need, Process, attach, command, events_and_summary, free_port, go_of, have, output, root,
    stdout, text, wait_for, write,
};

const GET: &str = "func:main.(*store).Get";

/// A stripped program, and its debug information in a file.
struct Split {
    folder: tempfile::TempDir,
    program: PathBuf,
    debug: PathBuf,
}

/// Builds the program and splits it. `name` goes into its build ID.
fn split(name: &str, options: &[&str]) -> Split {
    let folder = tempfile::tempdir().unwrap();
    let [whole, program, debug] =
        ["whole", "program", "program.debug"].map(|name| folder.path().join(name));
    let mut go = go_of(TESTED[TESTED.len() - 1]);
    // A GNU build ID, which Go derives from its own one.
    let flags = format!("-ldflags=-B gobuildid -X main.name={name}");
    go.args(["build", &flags, "-o"]).arg(&whole).arg(".");
    output(go.current_dir(root().join("tests/go/functions"))).unwrap();
    let objcopy = |args: &[&str], files: [&Path; 2]| {
        stdout(Command::new("objcopy").args(args).args(files));
    };
    objcopy(&[&["--only-keep-debug"], options].concat(), [&whole, &debug]);
    let link = format!("--add-gnu-debuglink={}", debug.display());
    objcopy(&["--strip-all", &link], [&whole, &program]);
    std::fs::remove_file(whole).unwrap();
    Split { folder, program, debug }
}

impl Split {
    /// Traces the program and returns the events at the entry of its function, and the messages.
    fn trace(&self, args: &[&str]) -> (Vec<Value>, String) {
        let facts = self.folder.path().join("facts.json");
        let program = ["--", self.program.to_str().unwrap(), facts.to_str().unwrap(), "1"];
        let out = attach(&[&["trace", "--json", GET], args, &program].concat());
        let errors = text(&out.stderr);
        assert_eq!(out.status.code(), Some(0), "{errors}");
        (events_and_summary(&text(&out.stdout)).0, errors)
    }
}

fn has_names(events: &[Value]) -> bool {
    let keys = ["a", "b", "c", "dddd"];
    let is_named = |event: &Value| keys.iter().any(|key| event["args"]["key"] == *key);
    !events.is_empty() && events.iter().all(is_named)
}

#[test]
fn a_file_with_debug_information_names_arguments() {
    if !have(&[Need::Bpf, Need::Program("objcopy")]) {
        return;
    }
    for options in
        [&[][..], &["--compress-debug-sections=zlib"], &["--compress-debug-sections=zlib-gnu"]]
    {
        let split = split("a", options);
        let debug = split.debug.to_str().unwrap();
        let (events, errors) = split.trace(&["--debug", debug]);
        assert!(has_names(&events), "{options:?}: {events:?} {errors}");
        let (events, _) = split.trace(&["--debug", debug, "--arg", "store=s.name"]);
        assert!(events.iter().all(|event| event["args"]["store"] == "first"), "{events:?}");
        let (events, _) = split.trace(&[]);
        assert!(events.iter().all(|event| event["args"]["key"].is_null()), "{events:?}");
        let program = split.program.to_str().unwrap();
        let listed = stdout(command("usdt-attach").args(["list", "--debug", debug, program, GET]));
        let signature = "(s *main.store, key string, attempt int) (string, error)";
        assert_eq!(listed, format!("{GET}{signature}\n"));
    }
}

#[test]
fn rejects_debug_information_of_another_binary() {
    if !have(&[Need::Program("objcopy")]) {
        return;
    }
    let (split, other) = (split("a", &[]), split("b", &[]));
    let program = split.program.to_str().unwrap();
    let list = |debug: &Path| {
        command("usdt-attach").args(["list", program, GET, "--debug"]).arg(debug).output().unwrap()
    };
    let rejected = list(&other.debug);
    assert_eq!(rejected.status.code(), Some(2), "{}", text(&rejected.stderr));
    let id = |file: &Path| {
        let notes = stdout(Command::new("readelf").arg("-n").arg(file));
        let line = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: "));
        line.unwrap().to_owned()
    };
    let message = text(&rejected.stderr);
    for part in [
        "is not the debug information of",
        &id(&other.debug),
        &id(&split.program),
        other.debug.to_str().unwrap(),
    ] {
        assert!(message.contains(part), "{message}");
    }
    let without = list(&split.program);
    assert!(
        text(&without.stderr).contains("no debug information (DWARF)"),
        "{}",
        text(&without.stderr)
    );
    let missing = list(Path::new("/missing.debug"));
    assert!(text(&missing.stderr).contains("cannot open /missing.debug"));
}

#[test]
fn exports_arguments_by_debug_information_of_a_file() {
    if !have(&[Need::Bpf, Need::Program("objcopy")]) {
        return;
    }
    let (split, other) = (split("a", &[]), split("b", &[]));
    let (folder, debug) = (split.folder.path(), split.debug.to_str().unwrap());
    let facts = folder.join("facts.json");
    let mut program = command(&split.program);
    let program = Process::start(program.arg(&facts).arg("1000000"));
    let entry = format!("[[count]]\nname = \"gets\"\nprobes = \"{GET}\"\nlabels = [\"key\"]\n");
    let target = format!("[target]\npids = [{}]\n", program.pid());
    let in_file = write(folder, "a.toml", format!("{target}debug = [\"program.debug\"]\n{entry}"));
    let without = write(folder, "b.toml", format!("{target}{entry}"));
    let (pid, port) = (program.pid().to_string(), free_port());
    let address = format!("127.0.0.1:{port}");
    let export = |args: &[&str]| {
        let mut exporter = command("usdt-attach");
        exporter.args(["export", "--prometheus", &address]).args(args);
        exporter
    };
    for args in [
        &["--config", in_file.as_str()][..],
        &["--config", without.as_str(), "-p", pid.as_str(), "--debug", debug],
    ] {
        let exporter = Process::start(&mut export(args));
        wait_for("the labels", || {
            let series = metric(&get(port, "/metrics"), "gets_total");
            ["a", "b", "c", "dddd"].iter().all(|key| {
                series
                    .iter()
                    .any(|(labels, hits)| labels.contains(&format!("key=\"{key}\"")) && *hits > 0.0)
            })
        });
        let (status, _, errors) = exporter.interrupt();
        assert!(status.success(), "{errors}");
    }
    let rejected = |args: &[&str]| {
        let out = export(args).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
        text(&out.stderr)
    };
    let wrong = ["--config", &without, "--debug", other.debug.to_str().unwrap()];
    assert!(rejected(&wrong).contains("it is not the debug information of"));
    let missing = write(folder, "c.toml", format!("{target}debug = [\"none\"]\n{entry}"));
    assert!(rejected(&["--config", &missing]).contains("none"));
}

#[test]
fn finds_debug_information_of_the_system() {
    if !have(&[Need::Bpf, Need::Program("objcopy")]) {
        return;
    }
    /// Removes a file, and folders that are empty then.
    struct Installed(PathBuf);
    impl Drop for Installed {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
            let below = |folder: &&Path| folder.starts_with("/usr/lib/debug/");
            for folder in self.0.ancestors().skip(1).take_while(below) {
                let _ = std::fs::remove_dir(folder);
            }
        }
    }
    let split = split("c", &["--compress-debug-sections=zlib"]);
    let notes = stdout(Command::new("readelf").arg("-n").arg(&split.program));
    let id = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: ")).unwrap();
    let by_id = format!("/usr/lib/debug/.build-id/{}/{}.debug", &id[..2], &id[2..]);
    let parent = split.program.parent().unwrap().strip_prefix("/").unwrap();
    let by_name = Path::new("/usr/lib/debug").join(parent).join("program.debug");
    for path in [PathBuf::from(by_id), by_name] {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let installed = Installed(path);
        std::fs::copy(&split.debug, &installed.0).unwrap();
        let (events, errors) = split.trace(&[]);
        assert!(has_names(&events), "{}: {events:?} {errors}", installed.0.display());
    }
    let (events, _) = split.trace(&[]);
    assert!(!has_names(&events), "it is removed");
}
