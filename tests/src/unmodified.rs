//! Function entries of unmodified Go binaries, of releases that are older than those that generated
//! packages need: what `tests/go/unmodified` did is compared with what is counted.

use crate::{command, go_of, output, root};
use gobinary::supported_releases::{TESTED, TESTED_UNMODIFIED};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A way of building the program that decides where its function table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In a section of its own, without symbols.
    Stripped,
    /// In a section of its own, among data that is relocated.
    Pie,
    /// Merged by the GNU linker into a section of other data, without symbols.
    ExternalPie,
    /// Merged by LLVM's linker, which leaves relocated addresses out of the file, without symbols.
    LldPie,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 4] = [Kind::Stripped, Kind::Pie, Kind::ExternalPie, Kind::LldPie];

    /// Returns the name, as in the names of cells of the matrix.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Stripped => "stripped",
            Kind::Pie => "pie",
            Kind::ExternalPie => "external-pie",
            Kind::LldPie => "lld-pie",
        }
    }

    fn flags(self) -> &'static [&'static str] {
        match self {
            Kind::Stripped => &["-ldflags=-s -w"],
            Kind::Pie => &["-buildmode=pie"],
            Kind::ExternalPie => &["-buildmode=pie", "-ldflags=-s -w -linkmode=external"],
            Kind::LldPie => {
                &["-buildmode=pie", "-ldflags=-s -w -linkmode=external -extldflags=-fuse-ld=lld"]
            }
        }
    }
}

/// Builds the program with a Go release and returns its path.
///
/// # Errors
///
/// Fails with the last line of the go command's errors.
pub fn build(release: &str, kind: Kind, folder: &Path) -> Result<PathBuf, String> {
    let out = folder.join("unmodified");
    let mut go = go_of(release);
    go.args(["build", "-o"]).arg(&out).args(kind.flags()).arg(".");
    go.current_dir(root().join("tests/go/unmodified"));
    output(&mut go)?;
    if matches!(kind, Kind::ExternalPie | Kind::LldPie) {
        output(command("strip").arg(&out))?;
    }
    Ok(out)
}

/// Runs the program under `usdt-attach count` with a back end, and compares the counts with what
/// it did.
///
/// # Errors
///
/// Fails if a count differs.
pub fn check(app: &Path, backend: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let facts_file = folder.path().join("facts.json");
    let run = |args: &[&str]| -> Result<(Vec<Value>, Value), String> {
        let mut count = command("usdt-attach");
        count.args(["count", "--json", "--backend", backend]).args(args).arg("--");
        let rows = crate::json_lines(&output(count.arg(app).arg(&facts_file))?);
        let facts = std::fs::read(&facts_file).map_err(|e| format!("the facts: {e}"))?;
        Ok((rows, serde_json::from_slice(&facts).map_err(|e| format!("the facts: {e}"))?))
    };
    let same = |what: &str, counted: Option<&Value>, fact: &Value| match counted {
        Some(counted) if counted == fact && *fact != 0 => Ok(()),
        _ => Err(format!("{what}: counted {counted:?} instead of {fact}")),
    };
    let (rows, facts) = run(&["net_http:*"])?;
    let count = |probe: &str| rows.iter().find(|row| row["probe"] == probe).map(|r| &r["count"]);
    same("requests", count("server_request_start"), &facts["Requests"])?;
    same("responses", count("server_request_end"), &facts["Requests"])?;
    // Some of these calls grow the stack, and execute the branch of the check twice.
    same("round trips", count("client_request_start"), &facts["RoundTrips"])?;
    let (rows, facts) = run(&["--by", "fn", "go:goroutine-create"])?;
    let workers = rows.iter().find(|row| row["labels"]["fn"] == facts["Worker"]);
    same("goroutines", workers.map(|row| &row["count"]), &facts["Workers"])?;
    Ok(())
}

/// Runs the cells of the matrix whose names contain each of the words, and returns the names of
/// those that fail; `None` if no name does.
pub fn run(words: &[String]) -> Option<Vec<String>> {
    let releases = TESTED_UNMODIFIED.into_iter().chain(TESTED);
    let cells = releases.flat_map(|release| Kind::ALL.map(|kind| (release, kind)));
    let mut failed = None;
    for (release, kind) in cells {
        let name = format!("{release}/unmodified/{}", kind.name());
        if !words.iter().all(|word| name.contains(word.as_str())) {
            continue;
        }
        let failed = failed.get_or_insert_with(Vec::new);
        let outcome = tempfile::tempdir().map_err(|e| e.to_string()).and_then(|folder| {
            let app = build(release, kind, folder.path())?;
            ["embedded", "bcc"].iter().try_for_each(|backend| check(&app, backend))
        });
        println!(
            "{name:<44} {}",
            outcome.as_ref().map_or_else(|e| format!("NO: {e}"), |()| "yes".into())
        );
        if outcome.is_err() {
            failed.push(name);
        }
    }
    failed
}
