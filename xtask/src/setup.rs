//! What the build and the tests need, installed where it is missing. Safe to run again.

use crate::command::{Explain, Failure, Outcome, command, execute, output, privileged, root};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What this machine offers after setting up.
pub(crate) struct Tools {
    /// Folder of the `go` command.
    pub(crate) go_bin: PathBuf,
    /// Kernel headers and libbcc are there.
    pub(crate) bcc: bool,
}

/// Debian packages: program or file that shows it is there, package. `KERNEL` stands for the running kernel's
/// architecture in Debian's spelling.
const PACKAGES: &[(&str, &str)] = &[
    ("/usr/bin/gcc", "gcc"),
    ("/usr/include/stdio.h", "libc6-dev"),
    ("/usr/include/bcc/bcc_common.h", "libbpfcc-dev"),
    ("/usr/sbin/tplist-bpfcc", "bpfcc-tools"),
    ("/usr/bin/bpftrace", "bpftrace"),
    ("/usr/bin/perf", "linux-perf"),
    ("/usr/bin/gdb", "gdb"),
    ("/usr/bin/stap", "systemtap"),
    ("/usr/include/x86_64-linux-gnu/sys/sdt.h", "systemtap-sdt-dev"),
    ("/usr/bin/clang", "clang"),
    ("/usr/bin/ld.lld", "lld"),
    ("/usr/include/bpf/usdt.bpf.h", "libbpf-dev"),
    ("/usr/lib/python3/dist-packages/bcc/__init__.py", "python3-bpfcc"),
    ("/usr/bin/readelf", "binutils"),
    ("/usr/bin/eu-strip", "elfutils"),
    ("/usr/bin/qemu-aarch64", "qemu-user"),
    ("/usr/bin/valgrind", "valgrind"),
    ("/usr/bin/curl", "curl"),
    ("/usr/bin/prometheus", "prometheus"),
    ("/usr/bin/systemd-analyze", "systemd"),
    ("/usr/bin/podman", "podman"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/lib/python3/dist-packages/jsonschema/__init__.py", "python3-jsonschema"),
    ("/usr/lib/postgresql", "postgresql"),
];

/// What machines with other kernels are made with.
const EMULATORS: &[(&str, &str)] = &[
    ("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    ("/usr/bin/qemu-system-aarch64", "qemu-system-arm"),
    ("/usr/bin/aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    ("/usr/aarch64-linux-gnu/include/stdio.h", "libc6-dev-arm64-cross"),
    ("/usr/share/doc/busybox-static", "busybox-static"),
    ("/usr/bin/cpio", "cpio"),
];

/// Oldest Go that builds generated packages, and the one fetched where there is none.
const OLDEST_GO: u32 = 21;
const FETCHED_GO: &str = "1.26.0";

pub(crate) fn run() -> Outcome<Tools> {
    packages(PACKAGES)?;
    let go_bin = go()?;
    mounts();
    Ok(Tools { go_bin, bcc: headers()? && Path::new("/usr/include/bcc/bcc_common.h").exists() })
}

impl Tools {
    /// A command of the Go toolchain, with freshly built tools of ours on its path.
    pub(crate) fn go(&self, program: &str, args: &[&str]) -> Command {
        let mut command = command(self.go_bin.join(program), args);
        command.env("PATH", self.path());
        command
    }

    /// `PATH` with the Go toolchain and our own tools in front.
    pub(crate) fn path(&self) -> String {
        let rest = std::env::var("PATH").unwrap_or_default();
        format!("{}:{}:{rest}", root().join("target/debug").display(), self.go_bin.display())
    }
}

/// For the emulated machines, beside what everything needs.
pub(crate) fn emulators() -> Outcome {
    packages(EMULATORS)
}

fn packages(wanted: &[(&str, &'static str)]) -> Outcome {
    let missing: Vec<&str> =
        wanted.iter().filter(|(file, _)| !Path::new(file).exists()).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(Failure(format!(
            "this is no Debian-like system; install the equivalents of: {}",
            missing.join(" ")
        )));
    }
    eprintln!("installing {}", missing.join(" "));
    apt(&["update", "-q"])?;
    let mut args = vec!["install", "-q", "-y", "--no-install-recommends"];
    args.extend(&missing);
    apt(&args)
}

fn apt(args: &[&str]) -> Outcome {
    let mut words = vec!["DEBIAN_FRONTEND=noninteractive", "apt-get"];
    words.extend(args);
    execute(privileged("env", &words).stdout(Stdio::null()))
}

/// Folder of a Go toolchain that is new enough: on the path, in the usual place, fetched before, or fetched now.
fn go() -> Outcome<PathBuf> {
    let fetched = root().join("target/go").join(FETCHED_GO).join("bin");
    let on_path = std::env::var("PATH").unwrap_or_default();
    let usual = [PathBuf::from("/usr/local/go/bin"), PathBuf::from("/usr/lib/go/bin"), fetched.clone()];
    let places = std::env::split_paths(&on_path).chain(usual);
    if let Some(bin) = places.into_iter().find(|bin| version(bin).is_some_and(|minor| minor >= OLDEST_GO)) {
        return Ok(bin);
    }
    fetch_go(&fetched)?;
    Ok(fetched)
}

/// The minor version of the Go in a folder.
fn version(bin: &Path) -> Option<u32> {
    let go = bin.join("go");
    if !go.exists() {
        return None;
    }
    let out = Command::new(go).arg("version").output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    let number = text.split_whitespace().find_map(|w| w.strip_prefix("go1."))?;
    number.split('.').next()?.parse().ok()
}

/// Debian's Go may be too old to build with but can fetch a newer one: toolchains are modules.
fn fetch_go(bin: &Path) -> Outcome {
    eprintln!("fetching Go {FETCHED_GO}");
    if !Path::new("/usr/bin/go").exists() {
        apt(&["update", "-q"])?;
        apt(&["install", "-q", "-y", "--no-install-recommends", "golang-go", "ca-certificates"])?;
    }
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let module = format!("golang.org/toolchain@v0.0.1-go{FETCHED_GO}.linux-{arch}");
    let mut download = Command::new("/usr/bin/go");
    download.args(["mod", "download", "-json", &module]).current_dir("/").env("GOFLAGS", "-mod=mod");
    let answer = output(&mut download)?;
    let folder = answer
        .lines()
        .find_map(|l| l.trim().strip_prefix("\"Dir\": \"")?.strip_suffix("\","))
        .ok_or_else(|| Failure(format!("the go command did not say where {module} is")))?;
    let target = bin.parent().unwrap_or(bin);
    std::fs::create_dir_all(target).explain("cannot create target/go")?;
    run_quietly(&["cp", "-r", &format!("{folder}/."), &target.display().to_string()])?;
    // Module files are read-only and not executable.
    run_quietly(&["chmod", "-R", "u+rwX", &target.display().to_string()])?;
    for tools in ["bin", "pkg/tool"] {
        run_quietly(&["chmod", "-R", "a+rx", &target.join(tools).display().to_string()])?;
    }
    Ok(())
}

fn run_quietly(words: &[&str]) -> Outcome {
    let (program, args) = words.split_first().ok_or_else(|| Failure("nothing to run".into()))?;
    run_command(program, args)
}

fn run_command(program: &str, args: &[&str]) -> Outcome {
    output(&mut command(program, args)).map(|_| ())
}

/// libbcc and SystemTap look for the running kernel's headers. Where its own are not packaged, Debian's nearest
/// serve: our programs use none of what differs.
fn headers() -> Outcome<bool> {
    let release = output(&mut command("uname", &["-r"]))?;
    let modules = Path::new("/lib/modules").join(release.trim());
    if modules.join("build").exists() {
        return Ok(true);
    }
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    if !Path::new("/usr/bin/apt-get").exists() {
        return Ok(false);
    }
    let own = format!("linux-headers-{}", release.trim());
    let generic = format!("linux-headers-{arch}");
    apt(&["update", "-q"])?;
    if apt(&["install", "-q", "-y", "--no-install-recommends", &own]).is_err() {
        apt(&["install", "-q", "-y", "--no-install-recommends", &generic])?;
    }
    let newest = |suffix: &str| -> Option<PathBuf> {
        let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/src")
            .ok()?
            .filter_map(|e| Some(e.ok()?.path()))
            .filter(|p| {
                let name = p.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("linux-headers-") && name.ends_with(suffix)
            })
            .collect();
        found.sort();
        found.pop()
    };
    let (Some(build), Some(source)) = (newest(&format!("-{arch}")), newest("-common")) else {
        return Ok(false);
    };
    execute(&mut privileged("mkdir", &["-p", &modules.display().to_string()]))?;
    for (link, target) in [("build", build), ("source", source)] {
        let link = modules.join(link).display().to_string();
        execute(&mut privileged("ln", &["-sfn", &target.display().to_string(), &link]))?;
    }
    Ok(modules.join("build").exists())
}

/// bpftrace and perf want tracefs; some machines boot without.
fn mounts() {
    if !Path::new("/sys/kernel/tracing/README").exists() && Path::new("/sys/kernel/tracing").exists() {
        // Refused in containers; what needs it says so.
        let _ = execute(&mut privileged("mount", &["-t", "tracefs", "tracefs", "/sys/kernel/tracing"]));
    }
}
