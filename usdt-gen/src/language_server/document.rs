//! An open document: its content, and what its last analysis found.

use super::project::{ReadDirective, Settings, settings};
use super::text::Lines;
use super::uri;
use crate::dlang::outline::Outline;
use crate::dlang::source::Span;
use crate::dlang::{self, Analysis, Options};
use crate::golang::{self, Function, GenerateError, Package};
use lsp_types::{Location, Range, TextDocumentContentChangeEvent, Uri};
use stapsdt::escape::Escaped;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use usdt_files::TEXT_LIMIT;

/// The content of open documents by path. It is what the editor shows, so it is read instead of the
/// file.
pub(super) type Contents = BTreeMap<PathBuf, Arc<str>>;

/// Name of a document that is not saved yet, in messages.
const UNSAVED: &str = "probes.d";

/// An open document.
pub(super) struct Document {
    pub(super) uri: Uri,
    pub(super) version: i32,
    pub(super) text: Arc<str>,
    /// `None` for a document that is not a file.
    pub(super) path: Option<PathBuf>,
    pub(super) settings: Settings,
    /// Result of parsing `text`.
    pub(super) analysis: Analysis,
    pub(super) outline: Outline,
    /// The Go functions of the probes without errors, or why there is no package.
    pub(super) functions: Result<Vec<Function>, GenerateError>,
    /// The included files by their name in messages.
    pub(super) included: BTreeMap<String, PathBuf>,
}

impl Document {
    /// Analyzes the content of a document.
    pub(super) fn new(
        uri: Uri,
        version: i32,
        text: Arc<str>,
        settings: Settings,
        contents: &Contents,
    ) -> Document {
        let path = uri::to_path(&uri);
        let (analysis, included) = analyze(path.as_deref(), &text, &settings, contents);
        let outline = analysis.outline();
        let functions = golang::functions(&analysis.model, Package::default());
        Document { uri, version, text, path, settings, analysis, outline, functions, included }
    }

    /// Returns the options that the project has for a document.
    pub(super) fn find_settings(uri: &Uri, read_directive: ReadDirective) -> Settings {
        uri::to_path(uri).map_or_else(Settings::default, |path| settings(&path, read_directive))
    }

    /// Returns the directory that relative paths begin at.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.path.as_deref().and_then(Path::parent)
    }

    /// Returns the position of a span, which can be in an included file.
    pub(super) fn location(&self, span: &Span) -> Option<Location> {
        let place = self.analysis.sources.locate(span)?;
        let range = Lines::new(place.content).range(&(place.start..place.end));
        if self.analysis.sources.in_main(span) {
            return Some(Location::new(self.uri.clone(), range));
        }
        let path = self.included.get(place.file)?;
        Some(Location::new(uri::from_path(path)?, range))
    }

    /// Returns the range of a span of this document. `None` if it is in an included file.
    pub(super) fn range(&self, span: &Span) -> Option<Range> {
        let in_main = self.analysis.sources.in_main(span);
        in_main.then(|| Lines::new(&self.text).range(span))
    }
}

/// Returns the content after an edit, and `None` if it is too large.
pub(super) fn edited(text: &str, change: &TextDocumentContentChangeEvent) -> Option<String> {
    let new = match change.range {
        None => change.text.clone(),
        Some(range) => {
            let lines = Lines::new(text);
            let (start, end) = (lines.offset(range.start), lines.offset(range.end));
            let (before, after) = (text.get(..start.min(end))?, text.get(end.max(start)..)?);
            [before, change.text.as_str(), after].concat()
        }
    };
    fits(&new).then_some(new)
}

/// Returns true if a document is as small as a definition must be.
pub(super) fn fits(text: &str) -> bool {
    text.len() as u64 <= TEXT_LIMIT
}

/// Parses as `go generate` in the directory of the document would, so messages are the same.
fn analyze(
    path: Option<&Path>,
    text: &str,
    settings: &Settings,
    contents: &Contents,
) -> (Analysis, BTreeMap<String, PathBuf>) {
    let included = Arc::new(Mutex::new(BTreeMap::new()));
    let mut options = Options {
        defines: settings.defines.clone(),
        include_dirs: settings.include_dirs.clone(),
        strict: settings.strict,
        ..Options::default()
    };
    if let Some(directory) = path.and_then(Path::parent) {
        let (directory, contents) = (directory.to_owned(), contents.clone());
        let included = Arc::clone(&included);
        options.read_file = Arc::new(move |name: &Path| {
            let path = uri::normalized(&directory.join(name));
            let content = match contents.get(&path) {
                Some(content) => content.as_bytes().to_vec(),
                None => usdt_files::read(&path, TEXT_LIMIT)?,
            };
            let mut included = included.lock().unwrap_or_else(PoisonError::into_inner);
            included.insert(Escaped::new(name).to_string(), path);
            Ok(content)
        });
    }
    let name = path
        .and_then(Path::file_name)
        .map_or(UNSAVED.into(), |name| Escaped::new(Path::new(name)).to_string());
    let analysis = dlang::analyze(&name, text, &options);
    let included = std::mem::take(&mut *included.lock().unwrap_or_else(PoisonError::into_inner));
    (analysis, included)
}
