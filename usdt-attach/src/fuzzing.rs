//! Entry points of the fuzz targets.

use std::path::Path;

/// Parses bytes as the files of `/proc` that describe a process: its mappings, its state and its
/// mount table.
pub fn process_files(bytes: &[u8]) {
    crate::discover::fuzzing::process_files(bytes);
}

/// Finds the function of a dynamic linker in a file.
pub fn linker(path: &Path) {
    crate::discover::fuzzing::linker(path);
}

/// Looks up structs and functions in the type information of a kernel.
pub fn kernel_types(bytes: &[u8]) {
    crate::kernel::fuzzing::kernel_types(bytes);
}
