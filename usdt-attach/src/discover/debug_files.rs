//! Separate files with debug information (DWARF), as `objcopy --only-keep-debug` writes them.
//!
//! A file is used for a binary if both have the same build ID. Without one, only a file that the user
//! names is used: a wrong one would make every argument wrong.

use super::file_bytes::SMALL;
use super::{FileBytes, Object, ScannedObject};
use crate::error::{Error, Result};
use gobinary::GoBinary;
use gobinary::dwarf::{DebugInfo, DebugInfoError, has_debug_info};
use stapsdt::elf::View;
use stapsdt::escape::Escaped;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Where distributions install debug information.
const SYSTEM_FOLDER: &str = "/usr/lib/debug";

/// An open file with the debug information (DWARF) of a Go binary.
///
/// ```no_run
/// use std::path::Path;
/// use usdt_attach::discover::DebugFile;
/// use usdt_attach::{Target, Tracer};
///
/// # fn main() -> usdt_attach::Result<()> {
/// let plan = Tracer::builder()
///     .target(Target::executable("/usr/bin/app"))
///     .probes(["func:main.(*Store).Get"])
///     .debug_files([DebugFile::open(Path::new("app.debug"))?])
///     .plan()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DebugFile(Arc<Object>);

impl DebugFile {
    /// Opens a file with debug information, compressed or not.
    ///
    /// # Errors
    ///
    /// `NotFound` or `Permission` if the file cannot be opened; `InvalidObject` if it is not an ELF
    /// file, is damaged, or has no debug information.
    pub fn open(path: &Path) -> Result<DebugFile> {
        let object = Object::open(path, path)?;
        // The thread may hold a larger part of the binary.
        let bytes = object.bytes_with_limit(SMALL);
        let view = object.view(&bytes)?;
        if !has_debug_info(&view) {
            return Err(Error::object(
                path,
                "it has no debug information (DWARF); pass the file that `objcopy --only-keep-debug` wrote, or the binary before it was stripped",
            ));
        }
        Ok(DebugFile(Arc::new(object)))
    }

    /// Returns the content, to be read by the thread that reads the binary.
    pub(super) fn bytes(&self, binary: &FileBytes) -> FileBytes {
        self.0.bytes().next_to(binary)
    }

    pub(super) fn object(&self) -> &Object {
        &self.0
    }

    /// Returns true if the file belongs to a binary, and false if that is not known.
    fn is_of(&self, binary: &FileBytes) -> std::result::Result<bool, DebugInfoError> {
        let bytes = self.bytes(binary);
        let go = GoBinary::read(binary).ok_or(DebugInfoError::NotElf)?;
        DebugInfo::is_of(&go, &bytes)
    }
}

/// Checks that each file belongs to one of the Go binaries that were found.
///
/// # Errors
///
/// `InvalidObject` if a file belongs to none of them: the message names the build IDs.
pub fn check_debug_files(found: &[ScannedObject], files: &[DebugFile]) -> Result<()> {
    for file in files {
        let mut problem = None;
        for one in found {
            let bytes = one.object.bytes();
            if GoBinary::read(&bytes).is_none() {
                continue;
            }
            match file.is_of(&bytes) {
                Ok(_) => {
                    problem = None;
                    break;
                }
                Err(error) => {
                    let binary = Escaped::new(&one.object.path);
                    problem.get_or_insert_with(|| match error {
                        DebugInfoError::OtherBuildId { expected, found } => format!(
                            "it is not the debug information of {binary}: its build ID is `{found}`, that of {binary} is `{expected}`; pass the file that was made from this build"
                        ),
                        error => error.to_string(),
                    });
                }
            }
        }
        if let Some(problem) = problem {
            return Err(Error::object(&file.0.path, problem));
        }
    }
    Ok(())
}

/// Returns the debug information of a Go binary: one of the files that the user names or, if the
/// binary has none itself, one of the system. `None` if there is no such file.
///
/// # Errors
///
/// Fails if the user names files, and the binary has debug information neither in one of them nor
/// elsewhere.
pub(super) fn find(
    object: &Object,
    bytes: &FileBytes,
    files: &[DebugFile],
) -> std::result::Result<Option<DebugFile>, &'static str> {
    let Some(go) = GoBinary::read(bytes) else { return Ok(None) };
    if let Some(file) = files.iter().find(|file| file.is_of(bytes).is_ok()) {
        return Ok(Some(file.clone()));
    }
    if go.has_dwarf() {
        return Ok(None);
    }
    match system_file(object, bytes) {
        None if !files.is_empty() => Err(
            "the files with debug information belong to other binaries, so that arguments of its functions have no names and types",
        ),
        found => Ok(found),
    }
}

/// Returns the debug information of a binary that the system has.
fn system_file(object: &Object, bytes: &FileBytes) -> Option<DebugFile> {
    let view = View::read(bytes).ok()?;
    let absolute = std::path::absolute(&object.path).unwrap_or_default();
    let link = view.section(".gnu_debuglink").and_then(|section| view.section_data(section));
    let paths = system_paths(Path::new(SYSTEM_FOLDER), view.build_id(), link, &absolute);
    let opened = paths.iter().filter_map(|path| DebugFile::open(path).ok());
    opened.into_iter().find(|file| file.is_of(bytes) == Ok(true))
}

/// Returns where the debug information of a binary can be, as gdb(1) describes it: by its build ID, and
/// by the name in its section `.gnu_debuglink`.
fn system_paths(
    folder: &Path,
    build_id: Option<&[u8]>,
    link: Option<&[u8]>,
    binary: &Path,
) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    if let Some([first, rest @ ..]) = build_id
        && !rest.is_empty()
    {
        let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
        paths.push(folder.join(format!(".build-id/{first:02x}/{rest}.debug")));
    }
    let name = link.and_then(|link| link.split(|byte| *byte == 0).next());
    let name = name.and_then(|name| std::str::from_utf8(name).ok()).map(Path::new);
    // Both are data of the binary, and must not lead out of the folder.
    let is_plain = |path: &Path| {
        path.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir))
    };
    let is_name = |name: &&Path| name.file_name() == Some(name.as_os_str());
    if let (Some(name), Some(parent)) = (name.filter(is_name), binary.parent())
        && is_plain(parent)
        && let Ok(parent) = parent.strip_prefix("/")
    {
        paths.push(folder.join(parent).join(name));
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(build_id: Option<&[u8]>, link: &[u8], binary: &str) -> Vec<String> {
        let paths = system_paths(Path::new("/d"), build_id, Some(link), Path::new(binary));
        paths.into_iter().map(|path| path.into_os_string().into_string().unwrap()).collect()
    }

    #[test]
    fn finds_files_by_build_id_and_by_name() {
        let both =
            paths(Some(&[0xab, 0xcd, 1]), b"app.debug\0\0\0\x12\x34\x56\x78", "/usr/bin/app");
        assert_eq!(both, ["/d/.build-id/ab/cd01.debug", "/d/usr/bin/app.debug"]);
        assert_eq!(paths(Some(&[0xab]), b"", "/usr/bin/app"), [""; 0]);
    }

    #[test]
    fn follows_no_name_out_of_the_folder() {
        for link in [&b"../etc/x\0"[..], b"..\0", b"/etc/x\0", b"a/b\0", b".\0", b"\0", b"\xff\0"] {
            assert_eq!(paths(None, link, "/usr/bin/app"), [""; 0], "{link:?}");
        }
        assert_eq!(paths(None, b"x\0", "/usr/../../app"), [""; 0]);
        assert_eq!(paths(None, b"x\0", "relative/app"), [""; 0]);
        assert_eq!(paths(None, b"x\0", "/"), [""; 0]);
    }
}
