//! What one scan of a target found.

use crate::discover::ScannedObject;
use crate::error::Error;
use crate::target::program::Program;

/// What a scan found.
pub(super) struct NewObjects {
    pub(super) objects: Vec<ScannedObject>,
    /// Why other files were not read.
    pub(super) skipped: Vec<String>,
    /// Why objects are missing.
    pub(super) result: std::result::Result<(), Error>,
    /// True if the next poll has to scan the whole target for more objects.
    pub(super) has_more: bool,
}

impl NewObjects {
    /// Adds the files that processes of a program map.
    pub(super) fn add_libraries(&mut self, libraries: NewObjects, program: &mut Program) {
        for scanned in libraries.objects {
            if !program.is_version(&scanned) {
                program.add_library(scanned.object.id);
                self.objects.push(scanned);
            }
        }
        self.skipped.extend(libraries.skipped);
        self.has_more |= libraries.has_more;
        if self.result.is_ok() {
            self.result = libraries.result;
        }
    }
}

impl Default for NewObjects {
    fn default() -> NewObjects {
        NewObjects { objects: Vec::new(), skipped: Vec::new(), result: Ok(()), has_more: false }
    }
}
