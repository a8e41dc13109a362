//! The program that is traced, and the root folder that it can run in.

use crate::{output, root};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A folder with the program, its libraries, and everything that these need, so that it can be the
/// root folder of a process.
pub(super) struct Image {
    folder: tempfile::TempDir,
    provider: String,
}

impl Image {
    /// Builds the program with a provider of its own, so that a tracer of the whole host sees no
    /// other test.
    pub(super) fn build() -> Result<Image, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let provider = format!("targets_{}_{number}", std::process::id());
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let image = Image { folder, provider };
        std::fs::create_dir(image.path().join("run")).map_err(|e| e.to_string())?;
        image.compile(&["-shared", "-fPIC", "-DLINKED"], "liblinked.so")?;
        image.compile(&["-shared", "-fPIC", "-DLOADED"], "libloaded.so")?;
        let (search, rpath) = (format!("-L{}", image.path().display()), "-Wl,-rpath,$ORIGIN:/");
        image.compile(&[&search, "-Wl,--no-as-needed", "-llinked", "-ldl", rpath], "targets")?;
        image.add_dependencies()?;
        Ok(image)
    }

    fn compile(&self, options: &[&str], name: &str) -> Result<(), String> {
        output(
            Command::new("cc")
                .args(["-O2", "-o"])
                .arg(self.path().join(name))
                .arg(root().join("tests/c/targets.c"))
                .arg(format!("-DPROVIDER={}", self.provider))
                .args(options),
        )
        .map(drop)
    }

    /// Copies the libraries of the C compiler's target, and the dynamic linker.
    fn add_dependencies(&self) -> Result<(), String> {
        let listing = output(Command::new("ldd").arg(self.path().join("targets")))?;
        let paths = listing.split_whitespace().filter(|word| word.starts_with('/'));
        for path in paths.filter(|path| !Path::new(path).starts_with(self.path())) {
            let copy = self.path().join(path.trim_start_matches('/'));
            let parent = copy.parent().unwrap_or(self.path());
            std::fs::create_dir_all(parent).map_err(|e| e.to_string())?;
            std::fs::copy(path, &copy).map_err(|e| format!("{path}: {e}"))?;
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn provider(&self) -> &str {
        &self.provider
    }
}
