//! Tests on the corpus: definitions with the constructs of real-world files, and definitions with
//! common mistakes.

use crate::dlang::{Options, Parsed, parse_with, print};
use crate::model::{FieldType, Model};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn corpus_dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

/// Returns the names and sources of all files in a directory of the corpus, sorted by name.
fn files(name: &str) -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(corpus_dir(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let stem = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (stem(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// Returns the sources of the whole corpus.
pub(in crate::dlang) fn all_sources() -> Vec<String> {
    ["files", "mistakes"].into_iter().flat_map(files).map(|(_, source)| source).collect()
}

fn parse_file(name: &str, source: &str) -> Parsed {
    // Paths in messages are relative, so that they do not depend on the working directory.
    let root = corpus_dir("include");
    let options = Options {
        include_dirs: vec![PathBuf::from("include")],
        source_dir: PathBuf::from("include"),
        read_file: Arc::new(move |path| {
            std::fs::read(root.join(path.strip_prefix("include").unwrap_or(path)))
        }),
        ..Options::default()
    };
    parse_with(&format!("{name}.d"), source, &options)
}

fn messages(parsed: &Parsed) -> String {
    parsed.diagnostics.iter().map(|d| format!("{}\n\n", d.render(&parsed.sources, false))).collect()
}

/// Describes a model, including what its printed form does not show.
fn describe(model: &Model) -> String {
    let mut out = String::new();
    for e in &model.enums {
        let values: Vec<String> =
            e.values.iter().map(|v| format!("{}={}", v.name, v.value)).collect();
        let sign = if e.signed { "-" } else { "" };
        let _ = writeln!(out, "enum {}: {sign}{} {}", e.name, e.size, values.join(" "));
    }
    for (at, s) in model.structs.iter().enumerate() {
        let kind = if s.is_union { "union" } else { "struct" };
        let _ = writeln!(out, "{kind} #{at} {:?}: size {} align {}", s.name, s.size, s.align);
        for f in &s.fields {
            let bits = f.bits.map_or(String::new(), |b| format!(" bits {}+{}", b.shift, b.width));
            let name = f.name.as_deref().unwrap_or("-");
            let _ = writeln!(out, "  {:>3}{bits} {name}: {} = {:?}", f.offset, f.spelling, f.ty);
        }
    }
    for provider in model.providers.values() {
        let _ =
            writeln!(out, "provider {} {:?} {:?}", provider.name, provider.stability, provider.doc);
        for probe in provider.probes.values() {
            let _ = writeln!(out, "  {} {:?}", probe.name, probe.doc);
            for p in &probe.params {
                let name = p.name.as_deref().unwrap_or("-");
                let _ = write!(out, "    {name}: {} = {:?}", p.spelling, p.ty);
                let _ = writeln!(
                    out,
                    "{}",
                    if p.doc.is_empty() { String::new() } else { format!(" {:?}", p.doc) }
                );
            }
            for o in &probe.outputs {
                let _ = writeln!(out, "    -> {}: {}", o.input, o.spelling);
            }
        }
    }
    out
}

#[test]
fn models_match_their_snapshots() {
    let files = files("files");
    assert!(files.len() >= 40, "{}", files.len());
    let mut failures = Vec::new();
    for (name, source) in files {
        let parsed = parse_file(&name, &source);
        let messages = messages(&parsed);
        let Some(model) = parsed.model else {
            failures.push(format!("{name}: {messages}"));
            continue;
        };
        // A few of a thousand probes are enough for a snapshot.
        let mut shown = model.clone();
        for provider in shown.providers.values_mut() {
            provider.probes.truncate(4);
        }
        insta::assert_snapshot!(
            format!("corpus__{name}"),
            format!("{messages}{}", describe(&shown))
        );
        let printed = print(&model);
        let again = parse_file(&name, &printed);
        if again.model.as_ref() != Some(&model) {
            let model = again.model.as_ref().map(describe).unwrap_or_default();
            failures.push(format!("{name} differs:\n{printed}\n{model}{}", self::messages(&again)));
        }
        crate::golang::generate(
            &model,
            &format!("{name}.d"),
            crate::golang::Package::named("corpus"),
        )
        .unwrap();
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn messages_match_their_snapshots() {
    for (name, source) in files("mistakes") {
        let parsed = parse_file(&name, &source);
        assert!(!parsed.diagnostics.is_empty(), "{name}");
        insta::assert_snapshot!(format!("mistake__{name}"), messages(&parsed));
    }
}

#[test]
fn member_types_refer_to_existing_types() {
    fn is_valid(ty: &FieldType, model: &Model) -> bool {
        match ty {
            FieldType::Struct(at) | FieldType::StructPointer(at) => *at < model.structs.len(),
            FieldType::Enum(at) => *at < model.enums.len(),
            FieldType::Array(element, _) => is_valid(element, model),
            _ => true,
        }
    }
    for (name, source) in files("files") {
        let Some(model) = parse_file(&name, &source).model else { continue };
        let fields = model.structs.iter().flat_map(|s| &s.fields);
        assert!(fields.into_iter().all(|f| is_valid(&f.ty, &model)), "{name}");
    }
}
