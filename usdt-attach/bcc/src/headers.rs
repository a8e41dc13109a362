//! Kernel headers, whose absence libbcc explains badly.

use std::path::{Path, PathBuf};

/// Checks that libbcc will find kernel headers: named by `BCC_KERNEL_SOURCE`, installed, or in the kernel itself.
///
/// # Errors
///
/// Fails with the folder where the headers of the running kernel are installed.
pub(crate) fn find() -> Result<(), PathBuf> {
    let release = rustix::system::uname();
    let folder =
        Path::new("/lib/modules").join(release.release().to_string_lossy().as_ref()).join("build");
    let elsewhere = std::env::var_os("BCC_KERNEL_SOURCE").is_some();
    if elsewhere || folder.exists() || Path::new("/sys/kernel/kheaders.tar.xz").exists() {
        Ok(())
    } else {
        Err(folder)
    }
}
