//! Kernel headers. libbcc explains their absence badly, so they are checked first.

use std::path::{Path, PathBuf};

/// Checks that libbcc will find kernel headers: those that `BCC_KERNEL_SOURCE` names, installed ones,
/// or those that the kernel itself provides.
///
/// # Errors
///
/// Fails with the folder where the headers of the running kernel belong.
pub(crate) fn find() -> Result<(), PathBuf> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let folder = Path::new("/lib/modules").join(release.as_ref()).join("build");
    if std::env::var_os("BCC_KERNEL_SOURCE").is_some()
        || folder.exists()
        || Path::new("/sys/kernel/kheaders.tar.xz").exists()
    {
        Ok(())
    } else {
        Err(folder)
    }
}
