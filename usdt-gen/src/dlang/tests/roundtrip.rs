//! Property test: a printed model parses to the same model.

use crate::dlang::{parse, print};
use crate::model::{
    Enum, Enumerator, FieldDecl, FieldType, MAX_WORDS, Model, Output, Param, Probe, Provider,
    Struct, StructName, Type,
};
use indexmap::IndexMap;
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn doc() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(String::new()),
        1 => "[A-Za-z*@{\"][a-z */.]{0,20}[a-z.](\n{1,2}[*A-Z][a-z]{1,9}){0,2}",
    ]
}

/// Generates names. The prefix keeps them distinct from types, keywords and other parts of the
/// model.
fn name(prefix: &'static str) -> impl Strategy<Value = String> {
    "[a-zA-Z_]{0,6}_?".prop_map(move |tail| format!("{prefix}{tail}"))
}

const SCALARS: [(&str, FieldType); 9] = [
    ("int", FieldType::Int { size: 4, signed: true }),
    ("unsigned long", FieldType::Int { size: 8, signed: false }),
    ("int16_t", FieldType::Int { size: 2, signed: true }),
    ("uint8_t", FieldType::Int { size: 1, signed: false }),
    ("char", FieldType::Char),
    ("double", FieldType::Float { size: 8 }),
    ("float", FieldType::Float { size: 4 }),
    ("bool", FieldType::Bool),
    ("void *", FieldType::Pointer),
];

fn enums() -> impl Strategy<Value = Vec<Enum>> {
    let value = prop_oneof![
        -3i128..300,
        Just(0xffff_ffff),
        Just(-0x8000_0000),
        Just(0x7fff_ffff_ffff_ffff)
    ];
    let one = (any::<bool>(), doc(), prop::collection::vec((value, doc()), 1..4));
    prop::collection::vec(one, 0..3).prop_map(|all| {
        let enums = all.into_iter().enumerate().filter_map(|(n, (has_tag, doc, values))| {
            let (size, signed) = Enum::representation(values.iter().map(|v| v.0))?;
            let values = values.into_iter().enumerate();
            let values = values
                .map(|(v, (value, doc))| Enumerator { name: format!("V{n}_{v}"), value, doc })
                .collect();
            Some(Enum { name: format!("enum{n}_t"), has_tag, doc, size, signed, values })
        });
        enums.collect()
    })
}

/// The random choices for a member: scalar type, other type, shape, array length, bit width and
/// documentation.
type MemberSeed = (Index, Index, u8, u64, u8, String);

/// The random choices for a struct: whether it is a union, whether it has a tag, documentation,
/// members.
type StructSeed = (bool, bool, String, Vec<MemberSeed>);

/// Returns structs of scalars, enums, earlier structs by value, and pointers to any struct.
fn structs(seeds: &[StructSeed], enums: &[Enum]) -> Vec<Struct> {
    let names: Vec<StructName> = seeds
        .iter()
        .enumerate()
        .map(|(n, (_, has_tag, ..))| {
            if *has_tag {
                StructName::Tag(format!("s{n}"))
            } else {
                StructName::Typedef(format!("s{n}_t"))
            }
        })
        .collect();
    let c_name = |at: usize, is_union: bool| match &names[at] {
        StructName::Tag(tag) => format!("{} {tag}", if is_union { "union" } else { "struct" }),
        StructName::Typedef(name) => name.clone(),
        StructName::Member { .. } => unreachable!("not generated"),
    };
    let unions: Vec<bool> = seeds.iter().map(|s| s.0).collect();
    let mut out: Vec<Struct> = Vec::new();
    for (n, (is_union, _, doc, fields)) in seeds.iter().enumerate() {
        let members =
            fields.iter().enumerate().map(|(f, (which, of, shape, length, width, doc))| {
                let (mut spelling, mut ty) = match shape % 6 {
                    0 if n > 0 => {
                        let at = of.index(n);
                        (c_name(at, unions[at]), FieldType::Struct(at))
                    }
                    1 => {
                        let at = of.index(names.len());
                        (format!("{} *", c_name(at, unions[at])), FieldType::StructPointer(at))
                    }
                    2 if !enums.is_empty() => {
                        let at = of.index(enums.len());
                        let tag = if enums[at].has_tag { "enum " } else { "" };
                        (format!("{tag}{}", enums[at].name), FieldType::Enum(at))
                    }
                    _ => {
                        let (spelling, ty) = which.get(&SCALARS);
                        ((*spelling).to_owned(), ty.clone())
                    }
                };
                let mut bit_width = (shape / 6 == 1).then_some(*width);
                let bits = match &ty {
                    FieldType::Int { size, .. } => size * 8,
                    FieldType::Char | FieldType::Bool => 8,
                    FieldType::Enum(at) => enums[*at].size * 8,
                    _ => 0,
                };
                bit_width = bit_width.filter(|w| *w <= bits && bits > 0);
                let has_name = bit_width.is_none_or(|w| w > 0);
                if shape / 6 == 2 && bit_width.is_none() {
                    // Brackets follow the stars of the element type.
                    spelling = format!(
                        "{spelling}{}[{length}]",
                        if spelling.ends_with('*') { "" } else { " " }
                    );
                    ty = FieldType::Array(Box::new(ty), *length);
                }
                let name = has_name.then(|| format!("f{f}"));
                FieldDecl { name, spelling, ty, doc: doc.clone(), bit_width }
            });
        let name = names[n].clone();
        out.extend(Struct::lay_out(name, *is_union, doc.clone(), members.collect(), &out, enums));
    }
    out
}

/// Returns the types that an argument can have, with their spellings.
fn param_types(enums: &[Enum], structs: &[Struct]) -> Vec<(String, Type)> {
    let mut types: Vec<(String, Type)> = [
        ("int", Type::Int { size: 4, signed: true }),
        ("uint64_t", Type::Int { size: 8, signed: false }),
        ("unsigned char", Type::Int { size: 1, signed: false }),
        ("my_count", Type::Int { size: 2, signed: false }),
        ("uintptr_t", Type::Uintptr),
        ("int64_t", Type::GoInt { signed: true }),
        ("uint64_t", Type::GoInt { signed: false }),
        ("int64_t", Type::Duration),
        ("double", Type::Float { size: 8 }),
        ("bool", Type::Bool),
        ("const char *", Type::CString),
        ("my_string", Type::CString),
        ("string", Type::String),
        ("bytes", Type::Bytes),
        ("error", Type::Error),
        ("void *", Type::Pointer),
        ("struct elsewhere *", Type::Pointer),
        ("my_handle", Type::Pointer),
        ("my_object *", Type::Pointer),
        ("int (*)(int, char *)", Type::Pointer),
    ]
    .map(|(spelling, ty)| (spelling.to_owned(), ty))
    .to_vec();
    for (index, e) in enums.iter().enumerate() {
        let tag = if e.has_tag { "enum " } else { "" };
        types.push((
            format!("{tag}{}", e.name),
            Type::Enum { index, size: e.size, signed: e.signed },
        ));
    }
    types.extend(
        (0..structs.len()).map(|index| (pointer_to(&structs[index]), Type::Struct { index })),
    );
    types
}

fn pointer_to(s: &Struct) -> String {
    match &s.name {
        StructName::Tag(tag) => format!("{} {tag} *", if s.is_union { "union" } else { "struct" }),
        StructName::Typedef(name) => format!("{name} *"),
        StructName::Member { .. } => unreachable!("not generated"),
    }
}

/// The random choices for a probe: name, documentation, arguments and outputs.
type ProbeSeed = (String, String, Vec<(Index, Option<String>, String)>, Vec<Index>);

fn probe(seed: ProbeSeed, types: &[(String, Type)]) -> Probe {
    let (name, doc, choices, outputs) = seed;
    let mut params: Vec<Param> = Vec::new();
    for (n, (which, name, doc)) in choices.into_iter().enumerate() {
        let (spelling, ty) = which.get(types).clone();
        let name = name.map(|name| format!("{name}{n}"));
        params.push(Param { name, spelling, ty, doc, labels: Vec::new() });
        if params.iter().map(|p| p.ty.words()).sum::<usize>() > MAX_WORDS {
            params.pop();
        }
    }
    let named: Vec<usize> = (0..params.len()).filter(|at| params[*at].name.is_some()).collect();
    let outputs = outputs.iter().filter(|_| !named.is_empty()).map(|o| *o.get(&named));
    let outputs =
        outputs.map(|input| Output { input, spelling: "translated_t *".into() }).collect();
    Probe { name, doc, params, outputs, symbol: None }
}

fn model() -> impl Strategy<Value = Model> {
    let member = (any::<Index>(), any::<Index>(), 0u8..18, 0u64..5, 0u8..20, doc());
    let members = prop::collection::vec(
        (any::<bool>(), any::<bool>(), doc(), prop::collection::vec(member, 0..5)),
        0..4,
    );
    let param = (any::<Index>(), prop::option::of(name("a")), doc());
    let probe_seed = (
        name("p"),
        doc(),
        prop::collection::vec(param, 0..5),
        prop::collection::vec(any::<Index>(), 0..3),
    );
    let stability = prop::option::of(select(vec!["Stable/Evolving/Common", "A/B/C"]));
    let provider = (name("q"), doc(), stability, prop::collection::vec(probe_seed, 0..4));
    (enums(), members, prop::collection::vec(provider, 1..3)).prop_map(|(enums, members, seeds)| {
        let structs = structs(&members, &enums);
        let types = param_types(&enums, &structs);
        let mut providers: IndexMap<String, Provider> = IndexMap::new();
        // The first probe has a pointer to every struct, because a model has no unused structs.
        let params = structs.iter().enumerate().map(|(index, s)| Param {
            name: None,
            spelling: pointer_to(s),
            ty: Type::Struct { index },
            doc: String::new(),
            labels: Vec::new(),
        });
        let first = Probe {
            name: "all".into(),
            doc: String::new(),
            params: params.collect(),
            outputs: Vec::new(),
            symbol: None,
        };
        let probes = IndexMap::from([(first.name.clone(), first)]);
        let all =
            Provider { name: "everything".into(), doc: String::new(), stability: None, probes };
        providers.insert(all.name.clone(), all);
        for (name, doc, stability, seeds) in seeds {
            let probes = seeds.into_iter().map(|seed| probe(seed, &types));
            let probes = probes.map(|p| (p.name.clone(), p)).collect();
            let stability = stability.map(str::to_owned);
            providers.insert(name.clone(), Provider { name, doc, stability, probes });
        }
        Model { providers, enums, structs }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_printed_model_parses_to_the_same_model(model in model()) {
        let printed = print(&model);
        let parsed = parse(&printed);
        let diagnostics = &parsed.diagnostics;
        prop_assert!(diagnostics.iter().all(|d| !d.is_error()), "{printed}\n{diagnostics:?}");
        prop_assert_eq!(parsed.model.as_ref(), Some(&model), "{}", printed);
    }
}
