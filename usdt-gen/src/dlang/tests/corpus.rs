//! The corpus: files that reproduce the shapes that definitions in the wild have, and the mistakes people make.

use crate::dlang::{Options, Parsed, parse_with, print};
use crate::model::{FieldType, Model};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

/// Every file of a folder, by name.
fn files(name: &str) -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let stem = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (stem(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// The texts of all of them, those with mistakes as well.
pub(in crate::dlang) fn texts() -> Vec<String> {
    ["files", "mistakes"].into_iter().flat_map(files).map(|(_, text)| text).collect()
}

fn read(name: &str, text: &str) -> Parsed {
    // Paths in messages are relative, wherever the tests run.
    let root = folder("include");
    let options = Options {
        include: vec![PathBuf::from("include")],
        folder: PathBuf::from("include"),
        read: Arc::new(move |path| {
            std::fs::read(root.join(path.strip_prefix("include").unwrap_or(path)))
        }),
        ..Options::default()
    };
    parse_with(&format!("{name}.d"), text, &options)
}

fn messages(parsed: &Parsed) -> String {
    parsed.diagnostics.iter().map(|d| format!("{}\n\n", d.render(&parsed.sources, false))).collect()
}

/// Everything the model knows and its printed form leaves open.
fn describe(model: &Model) -> String {
    let mut out = String::new();
    for e in &model.enums {
        let values: Vec<String> =
            e.values.iter().map(|(name, value, _)| format!("{name}={value}")).collect();
        let sign = if e.signed { "-" } else { "" };
        let _ = writeln!(out, "enum {}: {sign}{} {}", e.name, e.size, values.join(" "));
    }
    for (at, s) in model.structs.iter().enumerate() {
        let kind = if s.union { "union" } else { "struct" };
        let _ = writeln!(out, "{kind} #{at} {:?}: size {} align {}", s.name, s.size, s.align);
        for f in &s.fields {
            let bits =
                f.bits.map_or(String::new(), |(shift, width)| format!(" bits {shift}+{width}"));
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
fn every_shape_gives_its_golden_model() {
    let files = files("files");
    assert!(files.len() >= 40, "{}", files.len());
    let mut failures = Vec::new();
    for (name, text) in files {
        let parsed = read(&name, &text);
        let messages = messages(&parsed);
        let Some(model) = parsed.model else {
            failures.push(format!("{name}: {messages}"));
            continue;
        };
        // A thousand probes tell no more than a few.
        let mut shown = model.clone();
        for provider in shown.providers.values_mut() {
            provider.probes.truncate(4);
        }
        insta::assert_snapshot!(
            format!("corpus__{name}"),
            format!("{messages}{}", describe(&shown))
        );
        let printed = print(&model);
        let again = read(&name, &printed);
        if again.model.as_ref() != Some(&model) {
            let now = again.model.as_ref().map(describe).unwrap_or_default();
            failures.push(format!("{name} differs:\n{printed}\n{now}{}", self::messages(&again)));
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
fn every_mistake_is_explained() {
    for (name, text) in files("mistakes") {
        let parsed = read(&name, &text);
        assert!(!parsed.diagnostics.is_empty(), "{name}");
        insta::assert_snapshot!(format!("mistake__{name}"), messages(&parsed));
    }
}

/// Member types refer to structs and enums that exist.
#[test]
fn indices_are_those_of_the_model() {
    fn check(ty: &FieldType, model: &Model) -> bool {
        match ty {
            FieldType::Struct(at) | FieldType::StructPointer(at) => *at < model.structs.len(),
            FieldType::Enum(at) => *at < model.enums.len(),
            FieldType::Array(element, _) => check(element, model),
            _ => true,
        }
    }
    for (name, text) in files("files") {
        let Some(model) = read(&name, &text).model else { continue };
        let fields = model.structs.iter().flat_map(|s| &s.fields);
        assert!(fields.into_iter().all(|f| check(&f.ty, &model)), "{name}");
    }
}
