//! Names and types from a file, for probes whose binary has none.

use super::ScannedObject;
use crate::discover::select::normal;
use crate::error::{Error, Result, Warning, WarningKind};
use stapsdt::argspec;
use stapsdt::schema::{self, Schema};
use std::path::Path;
use std::sync::Arc;

/// A schema file: what `usdt-gen schema` prints.
#[derive(Clone, Debug)]
pub struct SchemaFile(Schema);

/// Larger files are no schemas.
const LARGEST: u64 = 64 << 20;

impl SchemaFile {
    /// Reads it.
    pub fn read(path: &Path) -> Result<SchemaFile> {
        let open = |source| Error::open(path, source);
        let wrong = |problem: String| Error::object(path, problem);
        if std::fs::metadata(path).map_err(open)?.len() > LARGEST {
            return Err(wrong("too large for a schema".into()));
        }
        let text = std::fs::read_to_string(path).map_err(open)?;
        let schema: Schema = serde_json::from_str(&text)
            .map_err(|e| wrong(format!("no schema as `usdt-gen schema` prints it: {e}")))?;
        if schema.version != schema::VERSION {
            return Err(wrong(format!(
                "a schema of version {}; this tool reads 1",
                schema.version
            )));
        }
        Ok(SchemaFile(schema))
    }

    /// Names the arguments of probes that have no description. A description with another number of words than
    /// the probe has is of something else.
    pub fn apply(&self, found: &mut [ScannedObject]) {
        for one in found {
            for probe in one.probes.iter_mut().filter(|p| p.schema.is_none()) {
                let provider = self.0.providers.iter().find(|p| p.name == probe.provider);
                // Some emitters write notes in DTrace's spelling.
                let Some(description) = provider
                    .and_then(|p| p.probes.iter().find(|d| normal(&d.name) == normal(&probe.name)))
                else {
                    continue;
                };
                let words = argspec::parse(&probe.args, probe.arch).len();
                if description.words() == words {
                    Arc::make_mut(probe).schema = Some(description.clone());
                } else {
                    let message = format!(
                        "{}: described with {} argument words, but it has {words}; the description is not used",
                        probe.full_name(),
                        description.words()
                    );
                    one.warnings.push(Warning::new(WarningKind::InvalidNote, message));
                }
            }
        }
    }
}
