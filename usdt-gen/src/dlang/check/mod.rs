//! Resolves names and types, enforces the rules of the language, and turns the syntax tree into a
//! [`Model`].

mod resolve;
mod structs;

use super::ast::{Attributes, Base, File, Name, Param, Probe, Provider, Type};
use crate::dlang::diagnostic::{Diagnostic, Diagnostics};
use crate::dlang::source::{Sources, Span};
use crate::model::{self, GoName, MAX_WORDS, Model};
use indexmap::IndexMap;
use resolve::Resolver;
use std::collections::HashMap;

/// The longest name that DTrace keeps: `DTRACE_PROVNAMELEN` and `DTRACE_NAMELEN` without the NUL.
const MAX_NAME_LEN: usize = 63;

/// Builds the model. Declarations with errors are reported and left out. `missing_headers` are
/// included files that were not found.
pub(super) fn check(
    sources: &Sources,
    file: &File,
    missing_headers: &[String],
    diagnostics: &mut Diagnostics,
) -> Model {
    let mut checker =
        Checker { resolver: Resolver::new(sources, file, missing_headers, diagnostics) };
    let mut providers: IndexMap<String, model::Provider> = IndexMap::new();
    let mut spans: HashMap<&str, Span> = HashMap::new();
    for ast in &file.providers {
        checker.check_provider_name(&ast.name);
        if let Some(first) = spans.get(ast.name.text.as_str()) {
            checker.report(
                Diagnostic::error(
                    ast.name.span.clone(),
                    format!("provider `{}` is declared twice", ast.name.text),
                    "declared again here",
                )
                .related(first.clone(), "first declared here")
                .help("put all probes of a provider into one block"),
            );
            continue;
        }
        spans.insert(&ast.name.text, ast.name.span.clone());
        let model = checker.provider(ast);
        providers.insert(ast.name.text.clone(), model);
    }
    for attributes in &file.attributes {
        checker.apply_attributes(attributes, &mut providers);
    }
    if providers.is_empty() && !checker.resolver.diagnostics.has_errors() {
        checker.report(
            Diagnostic::error(0..0, "no provider in this file", "nothing to generate from").help(
                "declare one: `provider app { probe request__start(uint64_t id, string path); };`",
            ),
        );
    }
    let (enums, structs) = checker.resolver.finish();
    Model { providers, enums, structs }
}

struct Checker<'a> {
    resolver: Resolver<'a>,
}

impl Checker<'_> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.resolver.diagnostics.push(diagnostic);
    }

    fn check_provider_name(&mut self, name: &Name) {
        self.check_length(name, "provider");
        if name.text.ends_with(|c: char| c.is_ascii_digit()) {
            self.report(
                Diagnostic::error(
                    name.span.clone(),
                    format!("provider name `{}` ends in a digit", name.text),
                    "ends in a digit",
                )
                .help("DTrace appends the process ID to the name; end it with a letter or `_`"),
            );
        }
    }

    fn check_length(&mut self, name: &Name, what: &str) {
        if name.text.len() > MAX_NAME_LEN {
            let message = format!("{what} name is {} characters long", name.text.len());
            self.report(Diagnostic::error(
                name.span.clone(),
                message,
                format!("the limit is {MAX_NAME_LEN}"),
            ));
        }
    }

    fn apply_attributes(
        &mut self,
        ast: &Attributes,
        providers: &mut IndexMap<String, model::Provider>,
    ) {
        let Some(provider) = providers.get_mut(&ast.provider.text) else {
            self.report(Diagnostic::warning(
                ast.provider.span.clone(),
                format!("attributes for unknown provider `{}`", ast.provider.text),
                "ignored",
            ));
            return;
        };
        if ast.subject == "args" {
            provider.stability = Some(ast.stability.clone());
        }
    }

    fn provider(&mut self, ast: &Provider) -> model::Provider {
        let mut probes: IndexMap<String, model::Probe> = IndexMap::new();
        let mut spans: HashMap<&str, Span> = HashMap::new();
        for probe in &ast.probes {
            self.check_length(&probe.name, "probe");
            if let Some(first) = spans.get(probe.name.text.as_str()) {
                self.report(
                    Diagnostic::error(
                        probe.name.span.clone(),
                        format!("probe `{}` is declared twice", probe.name.text),
                        "declared again here",
                    )
                    .related(first.clone(), "first declared here")
                    .help("probes cannot be overloaded: give this probe another name"),
                );
                continue;
            }
            spans.insert(&probe.name.text, probe.name.span.clone());
            let model = self.probe(probe);
            probes.insert(probe.name.text.clone(), model);
        }
        model::Provider {
            name: ast.name.text.clone(),
            doc: ast.doc.clone(),
            stability: None,
            probes,
        }
    }

    fn probe(&mut self, ast: &Probe) -> model::Probe {
        let inputs = without_void(&ast.params);
        let params: Vec<model::Param> = inputs.iter().filter_map(|p| self.param(p)).collect();
        let mut names: HashMap<&str, (usize, Span)> = HashMap::new();
        for (at, param) in inputs.iter().enumerate() {
            let Some(name) = &param.name else { continue };
            if let Some((_, first)) = names.get(name.text.as_str()) {
                self.report(
                    Diagnostic::error(
                        name.span.clone(),
                        format!("two arguments are named `{}`", name.text),
                        "used again here",
                    )
                    .related(first.clone(), "first used here"),
                );
            } else {
                names.insert(&name.text, (at, name.span.clone()));
            }
        }
        for line in ast.doc.lines().filter(|line| line.starts_with("@go ")) {
            let message = format!("`{line}` does not name an argument of this probe");
            self.report(Diagnostic::warning(ast.name.span.clone(), message, "ignored"));
        }
        let mut outputs = Vec::new();
        for output in without_void(&ast.outputs) {
            match &output.name {
                Some(name) => match names.get(name.text.as_str()) {
                    Some((input, _)) => {
                        let spelling = self.resolver.spelling(&output.ty);
                        outputs.push(model::Output { input: *input, spelling });
                    }
                    None => self.report(Diagnostic::error(
                        name.span.clone(),
                        format!("`{}` is not an argument of this probe", name.text),
                        "outputs are matched to inputs by name",
                    )),
                },
                None => self.report(Diagnostic::error(
                    output.ty.span.clone(),
                    "output argument without a name",
                    "outputs are matched to inputs by name",
                )),
            }
        }
        let probe = model::Probe {
            name: ast.name.text.clone(),
            doc: ast.doc.clone(),
            params,
            outputs,
            symbol: None,
        };
        self.check_word_count(ast, &probe);
        probe
    }

    /// Reports a probe with more argument words than tracers accept.
    fn check_word_count(&mut self, ast: &Probe, probe: &model::Probe) {
        let words = probe.words();
        if words <= MAX_WORDS {
            return;
        }
        // Point to the first argument that exceeds the limit.
        let mut sum = 0;
        let fitting = probe.params.iter().take_while(|p| {
            sum += p.ty.words();
            sum <= MAX_WORDS
        });
        let span =
            ast.params.get(fitting.count()).map_or(ast.name.span.clone(), |p| p.ty.span.clone());
        let pairs = words - probe.params.len();
        let counted = if pairs > 0 {
            format!(
                " ({} arguments, {pairs} of them passed as pointer and length)",
                probe.params.len()
            )
        } else {
            String::new()
        };
        self.report(
            Diagnostic::error(
                span,
                format!(
                    "probe `{}` has {words} argument words{counted}; tracers accept {MAX_WORDS}",
                    ast.name.text
                ),
                "the first argument beyond the limit",
            )
            .help("drop or combine arguments, or pass a pointer to a struct that holds them"),
        );
    }

    /// Returns the type of an argument after its `@go` annotation is applied.
    fn apply_go_annotation(&mut self, ast: &Param, ty: model::Type) -> model::Type {
        let Some(go_type) = &ast.go else { return ty };
        let span = ast.name.as_ref().map_or_else(|| ast.ty.span.clone(), |name| name.span.clone());
        let Some(name) = GoName::ALL.into_iter().find(|name| name.spelling() == go_type) else {
            let known: Vec<&str> = GoName::ALL.iter().map(|name| name.spelling()).collect();
            self.report(
                Diagnostic::error(
                    span,
                    format!("`@go {go_type}` is not a supported Go type"),
                    "for this argument",
                )
                .help(format!("use one of: {}", known.join(", "))),
            );
            return ty;
        };
        if let Some(ty) = ty.as_go(name) {
            return ty;
        }
        self.report(
            Diagnostic::error(
                span,
                format!("`@go {go_type}` does not fit `{}`", ast.ty.spelling()),
                "has another size or signedness",
            )
            .help(format!("declare it as `{}`", name.c_type())),
        );
        ty
    }

    fn param(&mut self, ast: &Param) -> Option<model::Param> {
        if let Some((name, ty)) = self.resolver.reversed_declaration(ast) {
            let message = format!("unknown type `{name}`");
            self.report(
                Diagnostic::error(ast.ty.span.clone(), message, "not declared in this file")
                    .help(format!("write the type before the name: `{ty} {name}`")),
            );
            return None;
        }
        let ty = self.resolver.argument(&ast.ty)?;
        let ty = self.apply_go_annotation(ast, ty);
        Some(model::Param {
            name: ast.name.as_ref().map(|n| n.text.clone()),
            spelling: self.resolver.spelling(&resolve::decay(&ast.ty)),
            ty,
            doc: ast.doc.clone(),
            labels: Vec::new(),
        })
    }
}

/// Returns the parameters. A single `void` means that there are none.
fn without_void(params: &[Param]) -> &[Param] {
    match params {
        [Param { name: None, ty: Type { base: Base::Words(words), derived, .. }, .. }]
            if derived.is_empty() && words.as_slice() == ["void"] =>
        {
            &[]
        }
        params => params,
    }
}
