//! One emulated machine, from its start to what its suite says.

use super::arch::Arch;
use super::cpio::{pack, tempfile};
use super::debian;
use crate::command::{Explain, Failure, Outcome, execute_quietly, root};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The whole suite takes four minutes; one that hangs ends some time.
const PATIENCE: Duration = Duration::from_secs(1200);

/// What its system says first, in front of the kernel's version.
const STARTED: &str = "Linux version ";

/// What the machine says last, followed by the suite's exit status.
const ENDED: &str = "suite ended with ";

pub(super) struct Machine<'a> {
    pub(super) name: &'a str,
    pub(super) arch: &'a Arch,
    pub(super) kernel: &'a Path,
    pub(super) system: &'a Path,
    /// How long programs wait between being enabled and their first hit.
    pub(super) settle: &'a str,
}

impl Machine<'_> {
    /// Starts it with the suite and these arguments.
    pub(super) fn run(&self, args: &[&str]) -> Outcome {
        let archive = debian::folder().join(format!("{}.cpio", self.name));
        let log = debian::folder().join(format!("{}.log", self.name));
        self.complete(args, &archive)?;
        let begin = Instant::now();
        eprintln!("starting {} with {}", self.name, args.join(" "));
        let said = self.boot_until_it_ends(&archive, &log)?;
        fs::remove_file(&archive).explain("cannot remove the machine's file system")?;
        // Behind whatever the firmware wrote to the same line.
        let after = |beginning| {
            said.lines().find_map(|l| l.split_once(beginning)).map(|(_, rest)| rest.trim())
        };
        let version = after(STARTED).and_then(|rest| rest.split(' ').next()).unwrap_or("no kernel");
        let result = after("test result: ").unwrap_or("no result");
        eprintln!("{} ({version}): {result}; {} s in all", self.name, begin.elapsed().as_secs());
        match after(ENDED) {
            Some("0") if result.contains(" 0 passed") => {
                Err(Failure(format!("no test of {} has such a name", self.name)))
            }
            Some("0") => Ok(()),
            Some(_) => {
                let from = said.find("\nfailures:").unwrap_or(0);
                eprintln!("{}", said.get(from..).unwrap_or_default());
                Err(Failure(format!("the suite failed on {}; see {}", self.name, log.display())))
            }
            None => {
                Err(Failure(format!("{} did not get to its end; see {}", self.name, log.display())))
            }
        }
    }

    /// The system, and behind it what this machine does with it.
    fn complete(&self, args: &[&str], archive: &Path) -> Outcome {
        let folder = tempfile()?;
        let init = folder.join("init");
        let tests = root().join("tests");
        let programs = root().join("target/e2e");
        // Programs stand where they stand here, which may be there.
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
             echo \"{ENDED}$?\"\n\
             poweroff -f\n",
            programs.display(),
            self.settle,
            scratch,
            tests.display(),
            args.join(" ")
        );
        fs::write(&init, script).explain("cannot write what the machine does")?;
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755))
            .explain("cannot make it a program")?;
        let own = folder.with_extension("cpio");
        pack(&folder, &own)?;
        fs::remove_dir_all(&folder).explain("cannot remove what the machine does")?;
        let mut shell = Command::new("sh");
        execute_quietly(
            shell
                .args(["-c", "cat \"$0\" \"$1\" > \"$2\""])
                .arg(self.system)
                .arg(&own)
                .arg(archive),
        )?;
        fs::remove_file(&own).explain("cannot remove what the machine does")
    }

    /// What the machine said. A kernel that dies, whose suite never gets to an end, is shown and started again: a
    /// defect of ours is there the next time, what emulators make of half-changed code is not.
    fn boot_until_it_ends(&self, archive: &Path, log: &Path) -> Outcome<String> {
        const MOST: u32 = 3;
        let mut said = String::new();
        for left in (0..MOST).rev() {
            self.boot(archive, log)?;
            said = fs::read_to_string(log)
                .explain("cannot read what the machine said")?
                .replace('\r', "");
            if said.contains(ENDED) {
                break;
            }
            let again = if left > 0 { "; once more" } else { "" };
            eprintln!("{} died{again}. Its last words:\n{}", self.name, last_lines(&said));
        }
        Ok(said)
    }

    fn boot(&self, archive: &Path, log: &Path) -> Outcome {
        let file = fs::File::create(log).explain("cannot write what the machine says")?;
        let (program, args) =
            self.arch.qemu.split_first().ok_or_else(|| Failure("no emulator".into()))?;
        let mut child = Command::new(program)
            .args(args)
            .args(["-smp", "2", "-m", "3G", "-nographic", "-no-reboot", "-nic", "none"])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(archive)
            .args(["-append", &format!("console={} quiet panic=-1", self.arch.console)])
            .stdin(Stdio::null())
            .stdout(file)
            .spawn()
            .explain(&format!("cannot start {program}"))?;
        let end = Instant::now() + PATIENCE;
        while child.try_wait().explain("cannot wait for the machine")?.is_none() {
            if Instant::now() > end {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure(format!("{} hangs; see {}", self.name, log.display())));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// What is worth showing of a long log.
fn last_lines(said: &str) -> String {
    const MOST: usize = 60;
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(MOST)..].join("\n")
}
