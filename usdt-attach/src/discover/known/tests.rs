use super::tables::PROVIDERS;
use super::*;
use proptest::prelude::*;

/// Every version of every probe, with its provider.
fn all() -> Vec<(&'static str, &'static KnownProbe)> {
    PROVIDERS.iter().flat_map(|p| p.probes.iter().map(|probe| (p.name, probe))).collect()
}

fn names(provider: &str, probe: &str, args: &str) -> Option<Vec<String>> {
    let schema = schema_for(provider, probe, args, Arch::X86_64)?;
    Some(schema.args.into_iter().map(|arg| arg.name).collect())
}

/// Returns the argument specification of a probe whose operands have the declared types.
fn declared_spec(probe: &KnownProbe) -> String {
    let words = probe.types().flat_map(|ty| {
        let (sign, float) =
            (if ty.signed { "-" } else { "" }, if ty.kind == Kind::Float { "f" } else { "" });
        let first = format!("{sign}{}{float}@8(%rsp)", ty.size);
        [Some(first), (ty.kind.words() == 2).then(|| "8@16(%rsp)".to_owned())]
    });
    words.flatten().collect::<Vec<_>>().join(" ")
}

#[test]
fn tables_are_sorted_and_complete() {
    assert!(PROVIDERS.is_sorted_by_key(|provider| provider.name));
    for provider in &PROVIDERS {
        assert!(provider.probes.is_sorted_by_key(|probe| probe.name), "{}", provider.name);
    }
    for (provider, probe) in all() {
        assert_eq!(probe.types().count(), probe.args.len(), "{provider}:{}", probe.name);
    }
}

#[test]
fn names_are_usable_in_filters() {
    for (provider, probe) in all() {
        let mut seen = std::collections::HashSet::new();
        for (name, _) in probe.args {
            let is_word =
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            assert!(is_word, "{provider}:{} has `{name}`", probe.name);
            assert!(seen.insert(*name), "{provider}:{} has `{name}` twice", probe.name);
            let is_taken = ["pid", "tid", "comm", "goid", "str", "nil"].contains(name);
            let is_position = name.strip_prefix("arg").is_some_and(|n| n.parse::<u32>().is_ok());
            assert!(!is_taken && !is_position, "{provider}:{} has `{name}`", probe.name);
        }
    }
}

#[test]
fn every_version_applies_to_notes_of_its_shape() {
    for (provider, probe) in all() {
        let found = schema_for(provider, probe.name, &declared_spec(probe), Arch::X86_64);
        assert_eq!(found, Some(probe.schema()), "{provider}:{}", probe.name);
    }
}

#[test]
fn other_shapes_and_names_get_no_schema() {
    for (provider, probe) in all() {
        let spec = declared_spec(probe);
        let other = |spec: &str| schema_for(provider, probe.name, spec, Arch::X86_64);
        let longer = format!("{spec} {}", ["8@%rax"; 12].join(" "));
        assert_eq!(other(longer.trim()), None, "{provider}:{}", probe.name);
        let is_pointer =
            |ty: &&KnownType| matches!(ty.kind, Kind::Cstring | Kind::Pointer | Kind::String);
        if probe.types().any(|ty| is_pointer(&ty)) {
            // An older version may have an integer where this one has a pointer.
            let found = other(&spec.replace("8@8(%rsp)", "4@8(%rsp)"));
            assert_ne!(found, Some(probe.schema()), "{provider}:{}", probe.name);
        }
        assert!(schema_for("my_program", probe.name, &spec, Arch::X86_64).is_none());
        assert!(schema_for(provider, "my_probe", &spec, Arch::X86_64).is_none());
    }
}

#[test]
fn the_shape_chooses_the_version() {
    let lock = |name, args| names("postgresql", name, args).unwrap();
    assert_eq!(lock("lwlock__acquire", "8@%rax 4@%r14d"), ["tranche", "mode"]);
    assert_eq!(lock("lwlock__acquire", "8@%rax -4@%ecx 4@%r14d"), ["tranche", "lock", "mode"]);
    assert_eq!(lock("lwlock__acquire", "-4@%eax 4@%r14d"), ["lock", "mode"]);
    let read = |args| names("postgresql", "buffer__read__start", args).unwrap().pop();
    let page = "-4@%eax 4@%ebx 4@%ecx 4@%edx 4@%edi";
    assert_eq!(read(&format!("{page} -4@%esi")).unwrap(), "backend");
    let before_16 = names("postgresql", "buffer__read__start", &format!("{page} -4@%esi 1@%al"));
    assert_eq!(before_16.unwrap()[5..], ["backend", "is_extend"]);
    let before_9_1 = names("postgresql", "buffer__read__start", &format!("{page} 1@%sil 1@%al"));
    assert_eq!(before_9_1.unwrap()[5..], ["is_local", "is_extend"]);
}

/// Constants have the size of the C expression, whatever the parameter's type.
#[test]
fn constants_and_wider_numbers_have_the_shape_of_any_parameter() {
    assert_eq!(
        names("ruby", "array__create", "-4@$0 8@%rax -4@4(%rsp)").unwrap(),
        ["length", "filename", "lineno"]
    );
    assert!(names("php", "exception__thrown", "8@$0").is_some());
    assert!(names("php", "exception__thrown", "-4@$0").is_some());
    assert!(names("php", "exception__thrown", "-4@$7").is_none());
    assert!(names("php", "exception__thrown", "-4@%eax").is_none());
    assert!(names("php", "exception__thrown", "8f@(%rax)").is_none());
    assert!(names("libvirt", "event_glib_update_timeout", "8@%rax 8@%rdx").is_some());
    assert!(names("libvirt", "event_glib_update_timeout", "8@%rax 8f@(%rdx)").is_none());
}

#[test]
fn strings_with_a_length_are_one_argument() {
    let schema = schema_for(
        "hotspot",
        "method__entry",
        "-8@%rax 8@%rdx -4@%ecx 8@%rsi -4@%edi 8@%r8 -4@%r9d",
        Arch::X86_64,
    );
    let args = schema.unwrap().args;
    let kinds: Vec<(&str, Kind)> = args.iter().map(|arg| (arg.name.as_str(), arg.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("java_thread", Kind::Int),
            ("class", Kind::String),
            ("method", Kind::String),
            ("signature", Kind::String)
        ]
    );
}

#[test]
fn probe_names_of_dtrace_are_the_same_probes() {
    assert_eq!(names("postgresql", "query-start", "8@%rdi").unwrap(), ["query"]);
}

proptest! {
    /// A schema always covers the operands of its note exactly.
    #[test]
    fn a_schema_covers_all_operands(
        index in 0..all().len(),
        operands in prop::collection::vec(
            prop::sample::select(vec![
                "8@%rax", "-4@%eax", "1@%al", "8@$0", "-4@$7", "8f@(%rax)", "4@8(%rsp)", "@", "8@%zz", "x y",
            ]),
            0..14,
        ),
    ) {
        let (provider, probe) = all()[index];
        let spec = operands.join(" ");
        for arch in [Arch::X86_64, Arch::Aarch64] {
            if let Some(schema) = schema_for(provider, probe.name, &spec, arch) {
                prop_assert_eq!(schema.words(), argspec::parse(&spec, arch).len());
                prop_assert_eq!(&schema.name, probe.name);
            }
        }
    }

    #[test]
    fn any_names_and_operands_are_accepted(provider: String, probe: String, args: String) {
        let _ = schema_for(&provider, &probe, &args, Arch::X86_64);
        for known in &PROVIDERS {
            let _ = schema_for(known.name, &probe, &args, Arch::Aarch64);
        }
    }
}
