//! Control groups and mounts that are removed when they are dropped.

use crate::{Copy, command, output};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A control group (v2) with a group `inner` below it.
pub struct Cgroup {
    mount: tempfile::TempDir,
    name: String,
}

impl Cgroup {
    /// Creates the group.
    ///
    /// # Errors
    ///
    /// Fails if cgroup2 cannot be mounted.
    pub fn new() -> Result<Cgroup, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mount = tempfile::tempdir().map_err(|e| e.to_string())?;
        output(Command::new("mount").args(["-t", "cgroup2", "none"]).arg(mount.path()))?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("usdt-e2e-{}-{number}", std::process::id());
        let group = Cgroup { mount, name };
        std::fs::create_dir_all(group.path().join("inner")).map_err(|e| e.to_string())?;
        Ok(group)
    }

    /// The folder of the group.
    pub fn path(&self) -> PathBuf {
        self.mount.path().join(&self.name)
    }

    /// Returns a command that moves itself into `folder` of the group and then executes the
    /// program.
    pub fn command(&self, folder: &str, app: &Copy, args: &str) -> Command {
        let mut shell = command("sh");
        let procs = self.path().join(folder).join("cgroup.procs");
        shell.args(["-c", &format!("echo $$ > {}; exec {} {args}", procs.display(), app.as_str())]);
        shell
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in [self.path().join("inner"), self.path()] {
            for _ in 0..100 {
                // Killed processes leave the group a moment later.
                if std::fs::remove_dir(&folder).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let _ = Command::new("umount").arg(self.mount.path()).status();
    }
}

/// Mounts, the last of which is removed first.
#[derive(Default)]
pub struct Mounts(Vec<PathBuf>);

impl Mounts {
    /// Mounts something on `place`, as mount(8) does with these arguments before it.
    ///
    /// # Errors
    ///
    /// Fails as mount(8) does.
    pub fn mount(&mut self, args: &[&str], place: &Path) -> Result<(), String> {
        output(Command::new("mount").args(args).arg(place))?;
        self.0.push(place.to_owned());
        Ok(())
    }

    /// Mounts a writable layer over `lower`, as a container engine does, and returns where. Its
    /// folders are in `folder`, and their names begin with `name`.
    ///
    /// # Errors
    ///
    /// Fails if the folders exist, and if overlayfs cannot be mounted.
    pub fn overlay(&mut self, lower: &Path, folder: &Path, name: &str) -> Result<PathBuf, String> {
        let [upper, work, root] =
            ["upper", "work", "root"].map(|part| folder.join(format!("{name}-{part}")));
        for part in [&upper, &work, &root] {
            std::fs::create_dir(part).map_err(|e| format!("{}: {e}", part.display()))?;
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            upper.display(),
            work.display()
        );
        self.mount(&["-t", "overlay", "overlay", "-o", &options], &root)?;
        Ok(root)
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for place in self.0.iter().rev() {
            let _ = Command::new("umount").arg("-l").arg(place).status();
        }
    }
}
