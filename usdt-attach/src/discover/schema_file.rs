//! Schema files: argument names and types for probes whose binary has none.

use super::{Probe, ScannedObject, SchemaSource};
use crate::discover::select::normalized_name;
use crate::error::{Error, Result, Warning, WarningKind};
use stapsdt::argspec;
use stapsdt::schema::{self, Schema};
use std::path::Path;
use std::sync::Arc;
use usdt_files::TEXT_LIMIT;

/// Names and types of probe arguments, read from a file that `usdt-gen schema` wrote.
///
/// Use it for binaries whose notes carry no argument names: binaries whose descriptions were
/// stripped, and probes that usdt-gen did not generate.
///
/// ```no_run
/// use std::path::Path;
/// use usdt_attach::discover::{SchemaFile, scan_file};
///
/// # fn main() -> usdt_attach::Result<()> {
/// let mut objects = [scan_file(Path::new("/usr/bin/app"))?];
/// SchemaFile::read(Path::new("app.schema.json"))?.apply(&mut objects);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SchemaFile(Schema);

impl SchemaFile {
    /// Reads a schema file of at most 16 MiB: a regular file, or a pipe that is an open descriptor
    /// of this process and named as `/dev/fd/N`.
    ///
    /// # Errors
    ///
    /// `NotFound` or `Permission` if the file cannot be opened; `InvalidObject` if it is not a
    /// schema, or a schema of another version.
    pub fn read(path: &Path) -> Result<SchemaFile> {
        let open = |source| Error::open(path, source);
        let wrong = |problem: String| Error::object(path, problem);
        let text = usdt_files::read_text(path, TEXT_LIMIT).map_err(open)?;
        let schema: Schema = serde_json::from_str(&text)
            .map_err(|e| wrong(format!("not a schema that `usdt-gen schema` wrote: {e}")))?;
        if schema.version != schema::VERSION {
            return Err(wrong(format!(
                "schema version {}, expected {}; write it again with this release's `usdt-gen schema`",
                schema.version,
                schema::VERSION
            )));
        }
        Ok(SchemaFile(schema))
    }

    /// Gives names and types to the arguments of probes that have none in their binary. They
    /// replace those of known providers.
    ///
    /// A description that does not have as many argument words as the probe's note is not used; a
    /// warning is added to the object instead.
    pub fn apply(&self, found: &mut [ScannedObject]) {
        for one in found {
            let replaceable =
                |probe: &Probe| matches!(probe.schema_source, None | Some(SchemaSource::Known));
            for probe in one.probes.iter_mut().filter(|probe| replaceable(probe)) {
                let provider = self.0.providers.iter().find(|p| p.name == probe.provider);
                // Some tools write probe names with `-` for `__`, as DTrace does.
                let Some(description) = provider.and_then(|p| {
                    p.probes
                        .iter()
                        .find(|d| normalized_name(&d.name) == normalized_name(&probe.name))
                }) else {
                    continue;
                };
                let words = argspec::split(&probe.args).count();
                if description.words() == words {
                    let probe = Arc::make_mut(probe);
                    probe.schema = Some(description.clone());
                    probe.schema_source = Some(SchemaSource::File);
                } else {
                    let message = format!(
                        "{}: ignored its schema, which has {} argument words where the note has {words}",
                        probe.full_name(),
                        description.words()
                    );
                    one.warnings.push(Warning::new(WarningKind::InvalidNote, message));
                }
            }
        }
    }
}
