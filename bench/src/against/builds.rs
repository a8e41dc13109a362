//! A build of the tools, and the programs that are built with it.

use crate::harness;
use std::path::PathBuf;

/// The tools that are compared.
pub(super) const TOOLS: [&str; 2] = ["usdt-gen", "usdt-attach"];

/// A build of the tools.
pub(super) struct Build {
    /// The folder that holds the tools.
    tools: PathBuf,
    /// The folder for programs that are built with them.
    programs: PathBuf,
    /// The folder for what the tools write. It is in memory, if possible: flushing files to a disk
    /// takes a time that is not the tool's.
    pub(super) output: PathBuf,
}

impl Build {
    pub(super) fn new(name: &str, tools: PathBuf) -> Result<Build, String> {
        for tool in TOOLS {
            if !tools.join(tool).is_file() {
                return Err(format!("{} has no `{tool}`", tools.display()));
            }
        }
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { harness::folder() };
        let output = parent.join(format!("usdt-bench-{}-{name}", std::process::id()));
        let programs = harness::folder().join(name);
        for folder in [&output, &programs] {
            std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        Ok(Build { tools, programs, output })
    }

    pub(super) fn tool(&self, name: &str) -> PathBuf {
        self.tools.join(name)
    }

    /// Returns the bytes of a tool.
    pub(super) fn content(&self, name: &str) -> Result<Vec<u8>, String> {
        let path = self.tool(name);
        std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Builds a program of `bench/go`, or the benchmarks of a package.
    pub(super) fn go(&self, subcommand: &[&str], package: &str) -> Result<PathBuf, String> {
        let out = self.programs.join(package.trim_start_matches("./"));
        harness::go_with(&self.tools, subcommand, package, &out)?;
        Ok(out)
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        // A failure leaves files that the next start of the machine removes.
        let _ = std::fs::remove_dir_all(&self.output);
    }
}
