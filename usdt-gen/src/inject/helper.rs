//! The Go program that reads and rewrites packages.
//!
//! Its source is part of this program. The user's own toolchain builds it, once for each toolchain
//! and version of the source, and the cache keeps it: the types of a package's imports are in
//! export data, whose format belongs to the toolchain.

use super::rules::Matcher;
use super::toolchain::{Toolchain, isolated, output};
use super::{InjectError, cached};
use serde::{Deserialize, Serialize};
use stapsdt::schema::Label;
use std::hash::Hasher;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The files of the program.
const SOURCE: [(&str, &str); 12] = [
    ("go.mod", include_str!("helper/go.mod")),
    ("main.go", include_str!("helper/main.go")),
    ("load.go", include_str!("helper/load.go")),
    ("match.go", include_str!("helper/match.go")),
    ("eligible.go", include_str!("helper/eligible.go")),
    ("runtime.go", include_str!("helper/runtime.go")),
    ("show.go", include_str!("helper/show.go")),
    ("labels.go", include_str!("helper/labels.go")),
    ("expr.go", include_str!("helper/expr.go")),
    ("inject.go", include_str!("helper/inject.go")),
    ("rewrite.go", include_str!("helper/rewrite.go")),
    ("support.go", include_str!("helper/support.go")),
];

/// The package to rewrite.
#[derive(Debug, Serialize)]
pub(crate) struct Request<'a> {
    /// Path that the compiler gives the package.
    pub(crate) package: &'a str,
    pub(crate) files: &'a [String],
    /// The compiler's `-importcfg` file.
    pub(crate) import_config: &'a str,
    pub(crate) goarch: &'a str,
    pub(crate) goroot: &'a Path,
    pub(crate) rules: Vec<RequestRule<'a>>,
}

/// A rule that applies to the package.
#[derive(Debug, Serialize)]
pub(crate) struct RequestRule<'a> {
    /// Index of the rule in the plan.
    pub(crate) id: usize,
    #[serde(flatten)]
    pub(crate) matcher: &'a Matcher,
}

/// What was found in the package, and its new source.
#[derive(Debug, Deserialize)]
pub(crate) struct Response {
    pub(crate) package_name: String,
    /// Why no function of the package can have probes; usually empty.
    pub(crate) refused: String,
    pub(crate) files: Vec<ChangedFile>,
    /// A Go file for the package; empty if no function fires probes.
    pub(crate) support: String,
    /// Offset of the innermost panic in the runtime's type g; 0 if it is not known.
    pub(crate) panic_offset: u32,
    pub(crate) functions: Vec<Function>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) problems: Vec<Problem>,
    /// Names of all functions of the package.
    pub(crate) names: Vec<String>,
}

/// A file with new source.
#[derive(Debug, Deserialize)]
pub(crate) struct ChangedFile {
    /// Index of the original in the request.
    pub(crate) index: usize,
    pub(crate) text: String,
}

/// A function with probes.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Function {
    /// Index of the rule in the plan.
    #[serde(skip_serializing)]
    pub(crate) rule: usize,
    /// Name without the package.
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) provider: String,
    /// Name of the probes without `__entry` and `__return`.
    pub(crate) probe: String,
    /// `defer` or `copy`.
    pub(crate) form: String,
    pub(crate) entry: Vec<Value>,
    #[serde(rename = "return")]
    pub(crate) returns: Vec<Value>,
    /// What the probes do not show.
    pub(crate) hidden: Vec<Hidden>,
    /// What the user should know about the function.
    pub(crate) notes: Vec<String>,
}

/// An argument of a probe.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Value {
    pub(crate) name: String,
    /// How the value is passed, such as `int32` or `string`.
    pub(crate) kind: String,
    /// Go type.
    #[serde(rename = "type")]
    pub(crate) go_type: String,
    /// Go expression; empty for values that no expression gives.
    pub(crate) expr: String,
    /// Names of the type's constants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) labels: Vec<Label>,
}

/// A parameter or result that is not shown.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Hidden {
    pub(crate) name: String,
    pub(crate) reason: String,
}

/// A function that a rule matches and that cannot have probes.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Skipped {
    /// Index of the rule in the plan.
    #[serde(skip_serializing)]
    pub(crate) rule: usize,
    pub(crate) name: String,
    pub(crate) reason: String,
}

/// A mistake in a rule.
#[derive(Debug, Deserialize)]
pub(crate) struct Problem {
    /// Index of the rule in the plan.
    pub(crate) rule: usize,
    /// Field of the rule, such as `args.cmd`.
    pub(crate) field: String,
    /// Offset of the mistake in the field's value, in bytes.
    pub(crate) offset: usize,
    /// Length of the mistake in bytes; 0 if it is not known.
    pub(crate) length: usize,
    pub(crate) message: String,
}

/// The built program.
#[derive(Clone, Debug)]
pub(crate) struct Helper {
    program: PathBuf,
}

impl Helper {
    /// Builds the program for a toolchain, unless the cache has it.
    pub(crate) fn build(toolchain: &Toolchain) -> Result<Helper, InjectError> {
        let program = cached::path(&format!("{}{}", cached::HELPER, identity(toolchain)))?;
        if program.is_file() {
            cached::mark_used(&program);
            return Ok(Helper { program });
        }
        // Compilers run in parallel, and each may build it: the last rename wins.
        let folder = program.with_extension(format!("build-{}", std::process::id()));
        let written = write_source(&folder);
        let built = written
            .map_err(|source| InjectError::Write { path: folder.clone(), source })
            .and_then(|()| {
                let mut go = isolated(&toolchain.go());
                go.args(["build", "-trimpath", "-ldflags=-s -w", "-o", "helper", "."]);
                output(go.current_dir(&folder), "building the helper of `usdt-gen inject`")
            })
            .and_then(|_| {
                std::fs::rename(folder.join("helper"), &program)
                    .map_err(|source| InjectError::Write { path: program.clone(), source })
            });
        // What is left of the folder does no harm.
        let _ = std::fs::remove_dir_all(&folder);
        built.map(|()| Helper { program })
    }

    /// Runs the program for one package.
    pub(crate) fn run(&self, request: &Request<'_>) -> Result<Response, InjectError> {
        let failed = |source| InjectError::Run { program: self.program.clone(), source };
        let input = serde_json::to_vec(request).map_err(|e| failed(e.into()))?;
        let mut child = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        // The program reads all of its input before it writes.
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&input).map_err(failed)?;
        }
        let out = child.wait_with_output().map_err(failed)?;
        if !out.status.success() {
            return Err(InjectError::Failed {
                what: format!("reading package `{}`", request.package),
                output: String::from_utf8_lossy(&out.stderr).trim().to_owned(),
            });
        }
        serde_json::from_slice(&out.stdout).map_err(|e| failed(e.into()))
    }
}

/// Identifies a toolchain and the program's source.
fn identity(toolchain: &Toolchain) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    for (name, text) in SOURCE {
        hasher.write(name.as_bytes());
        hasher.write(text.as_bytes());
    }
    hasher.write(toolchain.goroot.as_os_str().as_encoded_bytes());
    // A toolchain may be updated in place. Development versions have no file VERSION, but a cache.
    for file in ["VERSION", "VERSION.cache"] {
        hasher.write(&std::fs::read(toolchain.goroot.join(file)).unwrap_or_default());
    }
    format!("{:016x}", hasher.finish())
}

fn write_source(folder: &Path) -> io::Result<()> {
    usdt_files::create_directories(folder)?;
    for (name, text) in SOURCE {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}
