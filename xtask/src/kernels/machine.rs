//! Boots an emulated machine and runs the suite in it.

use super::arch::Arch;
use super::cpio::{pack, temporary_folder};
use super::debian;
use crate::command::{Explain, Failure, Outcome, execute_quietly, root};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Time after which a machine is considered stuck. The whole suite takes about four minutes.
const TIMEOUT: Duration = Duration::from_secs(1200);

/// Printed by the system at the start, before the kernel's version.
const VERSION_PREFIX: &str = "Linux version ";

/// Printed by the machine at the end, before the suite's exit status.
const STATUS_PREFIX: &str = "suite ended with ";

/// An emulated machine.
pub(super) struct Machine<'a> {
    pub(super) name: &'a str,
    pub(super) arch: &'a Arch,
    /// Image of the kernel.
    pub(super) kernel: &'a Path,
    /// Archive of the file system.
    pub(super) system: &'a Path,
    /// Number of CPUs.
    pub(super) cpus: &'a str,
    /// How long traced programs wait between being enabled and their first hit.
    pub(super) settle: &'a str,
}

impl Machine<'_> {
    /// Boots the machine, runs the suite with these arguments, and reports its result.
    pub(super) fn run(&self, args: &[&str]) -> Outcome {
        let archive = debian::folder().join(format!("{}.cpio", self.name));
        let log = debian::folder().join(format!("{}.log", self.name));
        self.write_archive(args, &archive)?;
        let begin = Instant::now();
        eprintln!("starting {} with {}", self.name, args.join(" "));
        let output = self.boot_until_complete(&archive, &log)?;
        fs::remove_file(&archive).explain("cannot remove the machine's file system")?;
        // The firmware may have written to the start of the line.
        let after =
            |prefix| output.lines().find_map(|l| l.split_once(prefix)).map(|(_, rest)| rest.trim());
        let version =
            after(VERSION_PREFIX).and_then(|rest| rest.split(' ').next()).unwrap_or("no kernel");
        let result = after("test result: ").unwrap_or("no result");
        eprintln!("{} ({version}): {result}; {} s in all", self.name, begin.elapsed().as_secs());
        match after(STATUS_PREFIX) {
            Some("0") if result.contains(" 0 passed") => {
                Err(Failure(format!("no test on {} matches the filters", self.name)))
            }
            Some("0") => Ok(()),
            Some(_) => {
                let from = output.find("\nfailures:").unwrap_or(0);
                eprintln!("{}", output.get(from..).unwrap_or_default());
                Err(Failure(format!("the suite failed on {}; see {}", self.name, log.display())))
            }
            None => Err(Failure(format!(
                "{} stopped before the suite was complete; see {}",
                self.name,
                log.display()
            ))),
        }
    }

    /// Writes the archive that the machine boots: the system, followed by an `init` that runs the
    /// suite.
    fn write_archive(&self, args: &[&str], archive: &Path) -> Outcome {
        let folder = temporary_folder()?;
        let init = folder.join("init");
        let tests = root().join("tests");
        let programs = root().join("target/e2e");
        // Programs have the same paths as on this machine, which may be below /tmp.
        let scratch = if root().starts_with("/tmp") {
            "chmod 1777 /tmp"
        } else {
            "mount -t tmpfs tmpfs /tmp"
        };
        let script = format!(
            "#!/bin/sh\n\
             export PATH=/bin:/usr/bin HOME=/root USDT_E2E_PREBUILT={} USDT_E2E_SETTLE={}\n\
             mount -t proc proc /proc\n\
             mount -t sysfs sysfs /sys\n\
             mount -t devtmpfs dev /dev\n\
             mkdir -p /dev/shm /dev/pts\n\
             mount -t devpts devpts /dev/pts\n\
             {}\n\
             mount -t tmpfs tmpfs /dev/shm\n\
             mount -t tracefs tracefs /sys/kernel/tracing\n\
             mount -t cgroup2 cgroup2 /sys/fs/cgroup\n\
             ip link set lo up\n\
             cat /proc/version\n\
             cd {}\n\
             /suite {} 2>&1\n\
             echo \"{STATUS_PREFIX}$?\"\n\
             poweroff -f\n",
            programs.display(),
            self.settle,
            scratch,
            tests.display(),
            args.join(" ")
        );
        fs::write(&init, script).explain("cannot write the machine's init")?;
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755))
            .explain("cannot make the machine's init executable")?;
        let init_archive = folder.with_extension("cpio");
        pack(&folder, &init_archive)?;
        fs::remove_dir_all(&folder).explain("cannot remove the machine's init")?;
        let mut shell = Command::new("sh");
        execute_quietly(
            shell
                .args(["-c", "cat \"$0\" \"$1\" > \"$2\""])
                .arg(self.system)
                .arg(&init_archive)
                .arg(archive),
        )?;
        fs::remove_file(&init_archive).explain("cannot remove the machine's init")
    }

    /// Boots until the suite completes, and returns the output of the machine.
    ///
    /// A kernel that crashes is started again, up to three times: a defect of ours occurs again, an
    /// error of the emulator usually does not.
    fn boot_until_complete(&self, archive: &Path, log: &Path) -> Outcome<String> {
        const ATTEMPTS: u32 = 3;
        let mut output = String::new();
        for left in (0..ATTEMPTS).rev() {
            self.boot(archive, log)?;
            output = fs::read_to_string(log)
                .explain("cannot read the machine's output")?
                .replace('\r', "");
            if output.contains(STATUS_PREFIX) {
                break;
            }
            let again = if left > 0 { "; retrying" } else { "" };
            eprintln!("{} crashed{again}. Its last output:\n{}", self.name, last_lines(&output));
        }
        Ok(output)
    }

    /// Boots the machine once and waits until it powers off.
    fn boot(&self, archive: &Path, log: &Path) -> Outcome {
        let file = fs::File::create(log).explain("cannot write the machine's log")?;
        let (program, args) =
            self.arch.qemu.split_first().ok_or_else(|| Failure("no emulator".into()))?;
        let mut child = Command::new(program)
            .args(args)
            .args(["-smp", self.cpus, "-m", "3G", "-nographic", "-no-reboot", "-nic", "none"])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(archive)
            .args(["-append", &format!("console={} quiet panic=-1", self.arch.console)])
            .stdin(Stdio::null())
            .stdout(file)
            .spawn()
            .explain(&format!("cannot start {program}"))?;
        let end = Instant::now() + TIMEOUT;
        while child.try_wait().explain("cannot wait for the machine")?.is_none() {
            if Instant::now() > end {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure(format!(
                    "{} does not power off; see {}",
                    self.name,
                    log.display()
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// Returns the last lines of a log.
fn last_lines(log: &str) -> String {
    const LIMIT: usize = 60;
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LIMIT)..].join("\n")
}
