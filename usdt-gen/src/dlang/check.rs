//! Names and types resolved, rules enforced: the syntax tree becomes a [`Model`].

use super::ast::{Attributes, Base, File, Item, Name, Param, Probe, Provider, Type};
use super::types;
use crate::diagnostic::{Diagnostic, Span};
use crate::provider::{self, MAX_WORDS, Model};
use indexmap::IndexMap;
use std::collections::{HashMap, HashSet};

/// Longest name DTrace keeps, `DTRACE_PROVNAMELEN` and `DTRACE_NAMELEN` without the NUL.
const MAX_NAME: usize = 63;

/// Builds the model; whatever is wrong is reported and left out.
pub(super) fn check(file: &File, diagnostics: &mut Vec<Diagnostic>) -> Model {
    let mut checker = Checker { typedefs: HashMap::new(), diagnostics };
    checker.collect_typedefs(file);
    let mut providers: IndexMap<String, provider::Provider> = IndexMap::new();
    for item in &file.items {
        let Item::Provider(ast) = item else { continue };
        checker.provider_name(&ast.name);
        if providers.contains_key(&ast.name.text) {
            checker.report(
                Diagnostic::error(
                    ast.name.span.clone(),
                    format!("provider `{}` is declared twice", ast.name.text),
                    "declared again here",
                )
                .help("put all probes of a provider into one block"),
            );
            continue;
        }
        let model = checker.provider(ast);
        providers.insert(ast.name.text.clone(), model);
    }
    for item in &file.items {
        if let Item::Attributes(attributes) = item {
            checker.attributes(attributes, &mut providers);
        }
    }
    if providers.is_empty() && checker.diagnostics.iter().all(|d| !d.is_error()) {
        checker.report(
            Diagnostic::error(0..0, "no provider in this file", "nothing to generate from")
                .help("declare one: `provider app { probe request__start(uint64_t id, string path); };`"),
        );
    }
    Model { providers }
}

struct Checker<'a> {
    /// What a declared name stands for.
    typedefs: HashMap<String, Type>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Checker<'_> {
    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn collect_typedefs(&mut self, file: &File) {
        for item in &file.items {
            if let Item::Typedef { name, ty } = item {
                self.typedefs.insert(name.text.clone(), ty.clone());
            }
        }
    }

    fn provider_name(&mut self, name: &Name) {
        self.length(name, "provider");
        if name.text.ends_with(|c: char| c.is_ascii_digit()) {
            self.report(
                Diagnostic::error(
                    name.span.clone(),
                    format!("provider name `{}` ends in a digit", name.text),
                    "ends in a digit",
                )
                .help("DTrace appends the process id to the name; end it in a letter or `_`"),
            );
        }
    }

    fn length(&mut self, name: &Name, what: &str) {
        if name.text.len() > MAX_NAME {
            let message = format!("{what} name is {} characters long", name.text.len());
            self.report(Diagnostic::error(name.span.clone(), message, format!("at most {MAX_NAME} fit")));
        }
    }

    fn attributes(&mut self, ast: &Attributes, providers: &mut IndexMap<String, provider::Provider>) {
        let Some(provider) = providers.get_mut(&ast.provider.text) else {
            self.report(Diagnostic::warning(
                ast.provider.span.clone(),
                format!("attributes for unknown provider `{}`", ast.provider.text),
                "ignored",
            ));
            return;
        };
        if ast.what == "args" {
            provider.stability = Some(ast.stability.clone());
        }
    }

    fn provider(&mut self, ast: &Provider) -> provider::Provider {
        let mut probes: IndexMap<String, provider::Probe> = IndexMap::new();
        for probe in &ast.probes {
            self.length(&probe.name, "probe");
            if probes.contains_key(&probe.name.text) {
                self.report(
                    Diagnostic::error(
                        probe.name.span.clone(),
                        format!("probe `{}` is declared twice", probe.name.text),
                        "declared again here",
                    )
                    .help("probes have no overloads: give this one a name of its own"),
                );
                continue;
            }
            let model = self.probe(probe);
            probes.insert(probe.name.text.clone(), model);
        }
        provider::Provider { name: ast.name.text.clone(), doc: ast.doc.clone(), stability: None, probes }
    }

    fn probe(&mut self, ast: &Probe) -> provider::Probe {
        let params = match ast.params.as_slice() {
            // `(void)` says explicitly that there is none.
            [Param { name: None, ty: Type { base: Base::Words(words), pointers: 0, .. } }]
                if words.as_slice() == ["void"] =>
            {
                Vec::new()
            }
            params => params.iter().filter_map(|p| self.param(p)).collect(),
        };
        let mut seen = HashSet::new();
        for name in ast.params.iter().filter_map(|p| p.name.as_ref()) {
            if !seen.insert(&name.text) {
                self.report(Diagnostic::error(
                    name.span.clone(),
                    format!("two arguments are called `{}`", name.text),
                    "used again here",
                ));
            }
        }
        for output in &ast.outputs {
            match &output.name {
                Some(name) if seen.contains(&name.text) => {}
                Some(name) => self.report(Diagnostic::error(
                    name.span.clone(),
                    format!("`{}` is no argument of this probe", name.text),
                    "outputs are matched to inputs by name",
                )),
                None => self.report(Diagnostic::error(
                    output.ty.span.clone(),
                    "output argument without a name",
                    "outputs are matched to inputs by name",
                )),
            }
        }
        let probe = provider::Probe { name: ast.name.text.clone(), doc: ast.doc.clone(), params };
        self.word_limit(ast, &probe);
        probe
    }

    fn word_limit(&mut self, ast: &Probe, probe: &provider::Probe) {
        let words = probe.words();
        if words <= MAX_WORDS {
            return;
        }
        let span = ast
            .params
            .get(ast.params.len().saturating_sub(1))
            .map_or(ast.name.span.clone(), |p| p.ty.span.clone());
        let pairs = words - probe.params.len();
        let counted = if pairs > 0 {
            format!(" ({} arguments, {pairs} of them pointer and length)", probe.params.len())
        } else {
            String::new()
        };
        self.report(
            Diagnostic::error(
                span,
                format!(
                    "probe `{}` has {words} argument words{counted}, tracers take {MAX_WORDS}",
                    ast.name.text
                ),
                "one too many here or before",
            )
            .help("drop or combine arguments, or pass a pointer to a struct that holds them"),
        );
    }

    fn param(&mut self, ast: &Param) -> Option<provider::Param> {
        let ty = self.resolve(&ast.ty, &ast.ty.span, 0)?;
        Some(provider::Param {
            name: ast.name.as_ref().map(|n| n.text.clone()),
            spelling: ast.ty.text.clone(),
            ty,
        })
    }

    /// Resolves a type used at `span`; reports and returns `None` where it cannot be an argument.
    fn resolve(&mut self, ty: &Type, span: &Span, depth: usize) -> Option<provider::Type> {
        let named = match &ty.base {
            Base::Named(name) => self.named(name, ty.pointers, span, depth)?,
            Base::Words(words) => {
                let is_char = words.iter().any(|w| w == "char") && words.iter().all(|w| w != "unsigned");
                match (types::arithmetic(words), ty.pointers) {
                    (_, 1) if is_char => return Some(provider::Type::CString),
                    (resolved, 0) => match resolved {
                        Some(resolved) => return Some(resolved),
                        None => return self.not_arithmetic(ty, span),
                    },
                    _ => None,
                }
            }
            Base::Aggregate(keyword, tag) if ty.pointers == 0 => {
                let tag = if tag.is_empty() { "T" } else { tag };
                return self.by_value(keyword, tag, span);
            }
            Base::Enum if ty.pointers == 0 => return Some(provider::Type::Int { size: 4, signed: true }),
            Base::Ellipsis => {
                self.report(
                    Diagnostic::error(
                        span.clone(),
                        "a probe cannot have a variable number of arguments",
                        "not here",
                    )
                    .help("declare each argument; twelve words are the limit"),
                );
                return None;
            }
            Base::Aggregate(..) | Base::Enum => None,
        };
        Some(named.unwrap_or(provider::Type::Pointer))
    }

    /// `Some(None)`: a pointer to it; `None`: reported.
    fn named(
        &mut self,
        name: &str,
        pointers: usize,
        span: &Span,
        depth: usize,
    ) -> Option<Option<provider::Type>> {
        if let Some(ty) = self.typedefs.get(name).cloned() {
            if depth >= 32 {
                self.report(Diagnostic::error(
                    span.clone(),
                    format!("type `{name}` is defined by itself"),
                    "used here",
                ));
                return None;
            }
            let whole = Type { pointers: ty.pointers + pointers, ..ty };
            return self.resolve(&whole, span, depth + 1).map(Some);
        }
        if let Some(ty) = types::named(name) {
            return Some((pointers == 0).then_some(ty));
        }
        let mut diagnostic =
            Diagnostic::error(span.clone(), format!("unknown type `{name}`"), "not declared in this file");
        let nearest = types::nearest(name, self.typedefs.keys().map(String::as_str));
        diagnostic = diagnostic.help(match nearest {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("declare it before the provider, for example `typedef uint64_t {name};`"),
        });
        self.report(diagnostic);
        None
    }

    fn not_arithmetic<T>(&mut self, ty: &Type, span: &Span) -> Option<T> {
        let (message, help) = if ty.text.contains("void") {
            ("`void` is no argument type", "write `()` for a probe without arguments, `void *` for a pointer")
        } else {
            ("these words spell no C type", "`long` is 8 bytes here; wider numbers do not fit an argument")
        };
        self.report(Diagnostic::error(span.clone(), message, format!("`{}`", ty.text)).help(help));
        None
    }

    fn by_value<T>(&mut self, keyword: &str, tag: &str, span: &Span) -> Option<T> {
        self.report(
            Diagnostic::error(
                span.clone(),
                format!("a {keyword} cannot be passed by value"),
                "an argument is at most 8 bytes",
            )
            .help(format!("pass a pointer (`{keyword} {tag} *`), or list the fields a tracer needs")),
        );
        None
    }
}
