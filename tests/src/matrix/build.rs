//! The programs of the matrix and how they are built.

use crate::output;
use crate::{Process, command, root};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A build mode of a Go program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Static,
    Pie,
    External,
    /// A package of the program other than the probes uses cgo.
    Cgo,
    /// A shared library, loaded by a C program.
    Shared,
    Plugin,
    Race,
    Stripped,
    /// `strip` runs after sealing.
    StrippedAfter,
}

/// A way of sealing a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seal {
    None,
    Toolexec,
    /// `usdt-gen seal` after the build.
    Afterwards,
}

impl Kind {
    pub(super) const ALL: [Kind; 9] = [
        Kind::Static,
        Kind::Pie,
        Kind::External,
        Kind::Cgo,
        Kind::Shared,
        Kind::Plugin,
        Kind::Race,
        Kind::Stripped,
        Kind::StrippedAfter,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Static => "static",
            Kind::Pie => "pie",
            Kind::External => "external",
            Kind::Cgo => "cgo",
            Kind::Shared => "c-shared",
            Kind::Plugin => "plugin",
            Kind::Race => "race",
            Kind::Stripped => "stripped",
            Kind::StrippedAfter => "strip-after",
        }
    }

    /// Returns the flags of `go build` and the value of `-ldflags`.
    fn flags(self) -> (&'static [&'static str], &'static str) {
        match self {
            Kind::Static | Kind::StrippedAfter => (&[], ""),
            Kind::Pie => (&["-buildmode=pie"], ""),
            Kind::External => (&[], "-linkmode=external"),
            Kind::Cgo => (&["-tags=with_cgo"], ""),
            Kind::Shared => (&["-buildmode=c-shared"], ""),
            Kind::Plugin => (&["-buildmode=plugin"], ""),
            Kind::Race => (&["-race"], ""),
            Kind::Stripped => (&[], "-s -w"),
        }
    }
}

impl Seal {
    pub(super) const ALL: [Seal; 3] = [Seal::None, Seal::Toolexec, Seal::Afterwards];

    pub(super) fn name(self) -> &'static str {
        match self {
            Seal::None => "unsealed",
            Seal::Toolexec => "toolexec",
            Seal::Afterwards => "seal",
        }
    }
}

/// A built program, ready to be started.
pub(super) struct Built {
    /// The file that contains the probes.
    pub(super) file: PathBuf,
    /// The program to run, which loads `file` if it is another file.
    program: PathBuf,
    argument: Option<PathBuf>,
}

impl Built {
    pub(super) fn new(
        release: &str,
        kind: Kind,
        seal: Seal,
        folder: &Path,
    ) -> Result<Built, String> {
        let file = folder.join(if kind == Kind::Shared { "libticks.so" } else { "ticks" });
        let package =
            if matches!(kind, Kind::Shared | Kind::Plugin) { "./shared" } else { "./ticks" };
        let (flags, linker) = kind.flags();
        // perf finds probes by build id, and Go before 1.24 writes none by default. The name of the
        // temporary folder makes it unique.
        let id: String = folder
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .rev()
            .map(|b| format!("{b:02x}"))
            .collect();
        let mut go = go(release);
        go.args(["build", "-o"]).arg(&file).args(flags);
        go.arg(format!("-ldflags={linker} -B 0x{}", id.get(..40).unwrap_or(&id)));
        if seal == Seal::Toolexec {
            go.arg("-toolexec=usdt-gen toolexec");
        }
        output(go.arg(package))?;
        if seal == Seal::Afterwards {
            output(command("usdt-gen").arg("seal").arg(&file))?;
        }
        if kind == Kind::StrippedAfter {
            output(command("strip").arg(&file))?;
        }
        let (mut program, mut argument) = (file.clone(), None);
        if kind == Kind::Shared {
            program = folder.join("host");
            let rpath = format!("-Wl,-rpath,{}", folder.display());
            output(
                command("cc")
                    .arg("-o")
                    .arg(&program)
                    .arg(root().join("tests/c/ticks.c"))
                    .arg(&file)
                    .arg(rpath),
            )?;
        }
        if kind == Kind::Plugin {
            program = folder.join("host");
            output(self::go(release).args(["build", "-o"]).arg(&program).arg("./host"))?;
            argument = Some(file.clone());
        }
        Ok(Built { file, program, argument })
    }

    /// Starts the program and waits until `file` is mapped. The process is killed when the result
    /// is dropped.
    pub(super) fn start(&self) -> Result<Process, String> {
        let mut command = Command::new(&self.program);
        let command = command.args(&self.argument).stdin(Stdio::null()).stdout(Stdio::null());
        let running =
            Process(command.spawn().map_err(|e| format!("cannot start the program: {e}"))?);
        let name = self.file.to_string_lossy().into_owned();
        let maps = format!("/proc/{}/maps", running.pid());
        let end = Instant::now() + Duration::from_secs(10);
        while !std::fs::read_to_string(&maps).is_ok_and(|maps| maps.contains(&name)) {
            if Instant::now() > end {
                return Err("the program did not map its probes within 10 s".to_owned());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(running)
    }
}

/// Returns the go command of a release, which it downloads if necessary.
fn go(release: &str) -> Command {
    let mut go = command("go");
    go.current_dir(root().join("tests/go")).env("GOTOOLCHAIN", format!("go{release}"));
    go
}
