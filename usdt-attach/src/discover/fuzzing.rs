//! Entry points of the fuzz targets.

use super::linker::Linker;
use super::{mounts, process, process_memory, process_state};
use std::path::Path;

pub(crate) fn process_files(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        process::parse_mapping(line);
        if let Some((range, device)) = process_memory::parse(line) {
            let _ = (range.is_empty(), device.and_then(mounts::parse_device));
        }
    }
    mounts::parse_table(bytes).for_each(drop);
    process_state::parse(bytes);
    process_memory::environment(bytes);
}

pub(crate) fn linker(path: &Path) {
    Linker::of_executable(path);
    Linker::of_file(path);
}
