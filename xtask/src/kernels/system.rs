//! The file system of an emulated machine, which is kept in memory. It holds the suite, the tools
//! and the traced programs, each at the path where the suite expects it.

use super::arch::{AMD64, Arch};
use super::cpio::{pack, temporary_folder};
use super::debian::{self, Release, create};
use crate::command::{Explain, Failure, Outcome, command, execute, execute_quietly, output, root};
use crate::suite;
use crate::tools::Tools;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Debian release of the libraries that arm64 programs use: the one of the cross compiler.
const ARM64_LIBRARIES: &str = "bookworm";
const ARM64_PACKAGES: &[&str] = &["busybox-static", "libc6", "libgcc-s1"];

/// Programs that tests start and that busybox lacks or implements in part.
const PROGRAMS: &[&str] = &["bash", "setpriv", "unshare", "nsenter", "mount", "cp", "kill", "chrt"];

/// Builds the archive that the kernel unpacks, with the service that has injected probes on request.
pub(super) fn build(tools: &Tools, arch: &Arch, with_all: bool) -> Outcome<PathBuf> {
    let cross = cross(arch)?;
    let built = root().join("target").join(arch.target).join("debug");
    let mut cargo = cross.cargo(&[
        "build",
        "-p",
        "usdt-gen",
        "-p",
        "usdt-attach",
        "-p",
        "usdt-attach-cli",
        "--bins",
        "--examples",
        "--features",
        "usdt-attach/tokio",
    ]);
    execute(&mut cargo)?;
    let mut compile = cross.cargo(&["test", "-p", "usdt-e2e", "--no-run", "--message-format=json"]);
    let suite = suite::executable(&output(&mut compile)?)?;

    let folder = temporary_folder()?;
    let system = System { folder: &folder, cross: &cross };
    for folder_name in
        ["proc", "sys", "dev", "tmp", "run", "etc", "root", "usr/bin", "bin", "lib", "lib64"]
    {
        create(&folder.join(folder_name))?;
    }
    system.busybox()?;
    system.program(Path::new(&suite), Path::new("/suite"))?;
    let tools_folder = root().join("target/debug");
    let examples = ["examples/agent", "examples/tokio_agent", "examples/aggregator"];
    for name in ["usdt-attach", "usdt-gen"].into_iter().chain(examples) {
        system.program(&built.join(name), &tools_folder.join(name))?;
    }
    for program in fixtures(tools, &cross, with_all)? {
        let name = program.file_name().unwrap_or_default();
        system.copy(&program, &root().join("target/e2e").join(name))?;
    }
    // The suite runs in this folder.
    create(&system.at(&root().join("tests")))?;
    for (name, text) in
        [("passwd", "root:x:0:0::/root:/bin/sh\n"), ("hosts", "127.0.0.1 localhost\n")]
    {
        fs::write(folder.join("etc").join(name), text)
            .explain("cannot write the machine's file system")?;
    }
    if arch.name == AMD64.name {
        for program in PROGRAMS {
            let found = output(Command::new("which").arg(program))?;
            let file = fs::canonicalize(found.trim()).explain(&format!("cannot find {program}"))?;
            let _ = fs::remove_file(folder.join("bin").join(program));
            system.program(&file, &Path::new("/bin").join(program))?;
        }
    }
    let archive = debian::folder().join(format!("system-{}.cpio", arch.name));
    pack(&folder, &archive)?;
    fs::remove_dir_all(&folder).explain("cannot remove the unpacked file system")?;
    Ok(archive)
}

/// Downloads the requirements to build for an architecture.
pub(super) fn fetch(arch: &Arch) -> Outcome {
    cross(arch).map(|_| ())
}

/// The file system while it is built.
struct System<'a> {
    folder: &'a Path,
    cross: &'a Cross,
}

impl System<'_> {
    /// Returns the place of a path of the machine in the folder.
    fn at(&self, path: &Path) -> PathBuf {
        self.folder.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn copy(&self, file: &Path, place: &Path) -> Outcome {
        let place = self.at(place);
        place.parent().map_or(Ok(()), create)?;
        fs::copy(file, place).explain(&format!("cannot copy {}", file.display())).map(|_| ())
    }

    /// Adds a program without its symbols, and the libraries that it loads.
    fn program(&self, file: &Path, place: &Path) -> Outcome {
        let to = self.at(place);
        to.parent().map_or(Ok(()), create)?;
        execute_quietly(Command::new(self.cross.tool("strip")).arg("-o").arg(&to).arg(file))?;
        for library in self.cross.libraries(file)? {
            if !self.at(&library).exists() {
                self.copy(
                    &self.cross.sysroot.join(library.strip_prefix("/").unwrap_or(&library)),
                    &library,
                )?;
            }
        }
        Ok(())
    }

    /// Adds busybox and its applets.
    fn busybox(&self) -> Outcome {
        let host = Path::new("/bin/busybox");
        let packaged =
            ["usr/bin/busybox", "bin/busybox"].map(|place| self.cross.sysroot.join(place));
        let packaged = packaged.iter().find(|file| file.exists());
        self.copy(packaged.map_or(host, PathBuf::as_path), Path::new("/bin/busybox"))?;
        // Tests that need more than busybox's setpriv look for the real one.
        let applets = output(Command::new(host).arg("--list"))?;
        for applet in applets.lines().filter(|a| !["busybox", "setpriv"].contains(a)) {
            symlink("busybox", self.folder.join("bin").join(applet))
                .explain("cannot link an applet")?;
        }
        Ok(())
    }
}

/// The tools to build programs for an architecture.
struct Cross {
    arch: &'static str,
    target: &'static str,
    /// Root of the file system with its libraries.
    sysroot: PathBuf,
}

/// Installs the Rust target and the libraries of an architecture.
fn cross(arch: &Arch) -> Outcome<Cross> {
    let installed =
        output(&mut command("rustc", &["--print", "target-libdir", "--target", arch.target]))?;
    if !Path::new(installed.trim()).exists() {
        execute(&mut command("rustup", &["target", "add", arch.target]))?;
    }
    if arch.name == AMD64.name {
        return Ok(Cross { arch: arch.name, target: arch.target, sysroot: PathBuf::from("/") });
    }
    let sysroot = debian::cache()?.join("libraries-arm64");
    Release::new(ARM64_LIBRARIES, arch.name)?.unpack(ARM64_PACKAGES, &sysroot)?;
    Ok(Cross { arch: arch.name, target: arch.target, sysroot })
}

impl Cross {
    fn is_native(&self) -> bool {
        self.arch == AMD64.name
    }

    /// Returns the name of a program of binutils or of the compiler.
    fn tool(&self, name: &str) -> String {
        if self.is_native() { name.to_owned() } else { format!("aarch64-linux-gnu-{name}") }
    }

    fn cargo(&self, args: &[&str]) -> Command {
        let mut cargo = command("cargo", args);
        cargo.args(["--quiet", "--target", self.target]);
        if !self.is_native() {
            cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", self.tool("gcc"));
        }
        cargo
    }

    /// Returns the absolute paths of the libraries that a program loads.
    fn libraries(&self, program: &Path) -> Outcome<Vec<PathBuf>> {
        if self.is_native() {
            let listing = output(Command::new("ldd").arg(program))?;
            let words =
                listing.lines().filter_map(|l| l.split_whitespace().find(|w| w.starts_with('/')));
            return Ok(words.map(PathBuf::from).collect());
        }
        let mut out: Vec<PathBuf> = Vec::new();
        let mut files = vec![program.to_owned()];
        while let Some(file) = files.pop() {
            for library in self.direct_libraries(&file)? {
                if !out.contains(&library) {
                    files.push(self.sysroot.join(library.strip_prefix("/").unwrap_or(&library)));
                    out.push(library);
                }
            }
        }
        Ok(out)
    }

    /// Returns the libraries that a file names, and its loader.
    fn direct_libraries(&self, file: &Path) -> Outcome<Vec<PathBuf>> {
        let shown = output(Command::new(self.tool("readelf")).arg("-d").arg("-l").arg(file))?;
        let between =
            |line: &str, from, to| Some(line.split_once(from)?.1.split_once(to)?.0.to_owned());
        let mut out = Vec::new();
        for line in shown.lines() {
            if let Some(loader) = between(line, "interpreter: ", "]") {
                out.push(PathBuf::from(loader));
            } else if let Some(name) = between(line, "Shared library: [", "]") {
                let places = ["lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu", "lib"];
                let place =
                    places.iter().find(|place| self.sysroot.join(place).join(&name).exists());
                let place =
                    place.ok_or_else(|| Failure(format!("{} needs {name}", file.display())))?;
                out.push(Path::new("/").join(place).join(name));
            }
        }
        Ok(out)
    }
}

/// Builds the Go programs of the suite for the architecture.
fn fixtures(tools: &Tools, cross: &Cross, with_all: bool) -> Outcome<Vec<PathBuf>> {
    let mut build = command("cargo", &["run", "--quiet", "-p", "usdt-e2e", "--bin", "fixtures"]);
    if with_all {
        build.args(["--", "all"]);
    }
    build.env("PATH", tools.path());
    if !cross.is_native() {
        build.env("GOARCH", cross.arch).env("CGO_ENABLED", "1").env("CC", cross.tool("gcc"));
    }
    Ok(output(&mut build)?.lines().map(PathBuf::from).collect())
}
