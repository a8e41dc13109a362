//! Runtime probes by function entries of unmodified binaries, and by notes that a toolchain emits
//! itself.

use super::Traced;
use gobinary::{GoBinary, catalog};
use serde_json::Value;
#[cfg(target_arch = "x86_64")]
use stapsdt::{
    elf::View,
    note::{Format, Note},
};
use std::collections::{BTreeMap, BTreeSet};
use usdt_e2e::{
    Fixture, Mode, Need, attach, command, copy, have, json_lines, list_probes, stdout, text,
    usdt_gen,
};

/// Checks the same facts as the overlay's tests, on a stripped binary of the stock toolchain.
#[test]
fn traces_function_entries_of_an_unmodified_binary() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let globs = ["go:*", "net_http:*", "sql:*", "tls:*", "net:*"];
    let seen = Traced::run(Mode::PlainStripped, &globs);
    let notices = &seen.notices;
    assert!(
        notices.contains("note: attaching to function entries, as the binary has no such probes: "),
        "{notices}"
    );
    // Go 1.21 compiles this function without a frame, so that kernels cannot emulate its first
    // instruction. On arm64 the same is true of functions without a stack check.
    let left_out = "warning: skipped go:netpoll__ready at ";
    let without_check = cfg!(target_arch = "aarch64").then_some("warning: skipped go:syscall__");
    let is_expected = |line: &str| {
        line.starts_with(left_out) || without_check.is_some_and(|w| line.starts_with(w))
    };
    assert!(!notices.lines().any(|l| l.starts_with("warning") && !is_expected(l)), "{notices}");

    let created = seen.args("go", "goroutine__create").filter(|a| a["fn"] == seen.facts["Worker"]);
    assert_eq!(
        created.inspect(|a| assert_eq!(a["parent"], 1)).count() as u64,
        seen.number("Workers")
    );
    let exited = seen.ids("goroutine__exit");
    assert!(
        exited.len() as u64 >= seen.number("Workers") + seen.number("Sleepers"),
        "{}",
        exited.len()
    );
    assert_eq!(
        seen.events_of("go", "goroutine__exit").count(),
        exited.len(),
        "each goroutine exits once"
    );
    assert!(seen.ids("goroutine__start").is_superset(&exited));
    assert!(seen.events_of("go", "goroutine__block").all(|e| e["goid"] == e["args"]["id"]));
    let asleep =
        seen.args("go", "goroutine__block").filter(|a| a["reason"] == "sleep").count() as u64;
    assert!(asleep >= seen.number("Sleepers"), "{asleep}");
    assert!(seen.args("go", "stw__begin").any(|a| a["reason"] == "GC mark termination"));
    let calls = |probe: &str| seen.args("go", probe).filter(|a| a["id"] == 1).count();
    assert_eq!(calls("syscall__begin"), calls("syscall__end"));
    for probe in ["gc__start", "gc__mark__done", "gc__end"] {
        assert_eq!(seen.events_of("go", probe).count() as u64, seen.number("NumGC"), "{probe}");
    }
    assert!(seen.args("go", "gc__start").all(|a| a["heap"].as_u64().unwrap() > 100_000));
    assert_eq!(
        seen.events_of("go", "stw__begin").count(),
        seen.events_of("go", "stw__end").count()
    );
    let large = seen.args("go", "heap__alloc").filter(|a| a["size"] == 1 << 20);
    assert_eq!(large.count() as u64, seen.number("Large"));
    assert!(
        seen.events_of("go", "panic").count() >= seen.facts["Panics"].as_array().unwrap().len()
    );
    assert!(
        notices.contains(left_out)
            || seen.args("go", "netpoll__ready").any(|a| a["mode"] == 'r' as u32)
    );

    let sent = seen.facts["Requests"].as_array().unwrap();
    let served: Vec<&Value> = seen.args("net_http", "server_request_start").collect();
    assert_eq!(served.len(), sent.len());
    for (served, sent) in served.iter().zip(sent) {
        assert_eq!(served["method"], sent["Method"]);
        assert!(served["host"].as_str().unwrap().starts_with("127.0.0.1:"), "{served}");
        assert_eq!(served["path"], sent["Path"]);
    }
    let ends: BTreeMap<u64, &Value> = seen
        .args("net_http", "server_request_end")
        .map(|a| (a["id"].as_u64().unwrap(), a))
        .collect();
    assert_eq!(seen.events_of("net_http", "server_request_end").count(), sent.len());
    for (served, sent) in served.iter().zip(sent) {
        let Some(end) = ends.get(&served["id"].as_u64().unwrap()) else { continue };
        assert_eq!((&end["status"], &end["bytes"]), (&sent["Status"], &sent["Size"]), "{sent}");
    }
    for (probe, statements) in seen.facts["Statements"].as_object().unwrap() {
        let queries: Vec<&Value> = seen.args("sql", probe).map(|a| &a["query"]).collect();
        assert_eq!(queries, statements.as_array().unwrap().iter().collect::<Vec<_>>(), "{probe}");
    }
    let clients = seen.args("tls", "handshake_start").filter(|a| a["client"] == true).count();
    assert_eq!((clients, seen.events_of("tls", "handshake_start").count()), (3, 6));
    assert!(seen.args("net", "conn_close").any(|a| a["fd"].as_i64().unwrap() > 2));
}

/// Enum arguments, which are numbers in the program, are compared and aggregated by their labels.
#[test]
fn compares_and_groups_by_labels() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = copy(&Fixture::get("bridge", Mode::PlainStripped));
    let facts_file = app.folder.path().join("facts.json");
    let filter = "reason == \"sl*\" || reason == \"IO wait\"";
    let count = ["count", "--json", "--by", "reason", "--filter", filter, "go:goroutine-block"];
    let program = ["--", app.as_str(), facts_file.to_str().unwrap()];
    let out = attach(&[&count[..], &program[..]].concat());
    let rows = json_lines(&text(&out.stdout));
    let reasons: Vec<&str> =
        rows.iter().filter_map(|row| row["labels"]["reason"].as_str()).collect();
    assert_eq!(reasons.iter().collect::<BTreeSet<_>>().len(), 2, "{rows:?} {}", text(&out.stderr));
    assert!(reasons.contains(&"sleep") && reasons.contains(&"IO wait"), "{rows:?}");
}

/// Function entries are used only if the provider is named and the binary has no such probe.
#[test]
fn lists_function_entries_of_named_providers() {
    let list = |mode: Mode, glob: &str| -> Vec<Value> {
        let binary = Fixture::get("bridge", mode);
        json_lines(&stdout(command("usdt-attach").args(["list", "--json"]).arg(binary).arg(glob)))
    };
    assert!(list(Mode::PlainStripped, "go:*").iter().all(|p| p["source"] == "entry"));
    assert!(list(Mode::Runtime, "go:*").iter().all(|p| p["source"] == "note"));
    let app = Fixture::get("bridge", Mode::PlainStripped);
    let all = attach(&["list", app.to_str().unwrap()]);
    let hint = format!("usdt-attach list {} 'go:*'\n", app.display());
    let errors = text(&all.stderr);
    assert!(errors.contains(": no probes\n") && errors.ends_with(&hint), "{errors}");
}

/// Notes as the known fork of Go writes them: padding is counted in the descriptor size, there is
/// no `.stapsdt.base` and no semaphore, and sites are inside functions.
#[test]
#[cfg(target_arch = "x86_64")]
fn traces_notes_emitted_by_a_toolchain() {
    if !have(&[Need::Bpf, Need::Program("go")]) {
        return;
    }
    let app = copy(&Fixture::get("native", Mode::Plain));
    let data = std::fs::read(&app.path).unwrap();
    let view = View::parse(&data).unwrap();
    let symbols = stdout(command("go").args(["tool", "nm", app.as_str()]));
    let mut notes = Vec::new();
    for (function, provider, name, args) in [
        ("requestStart", "net_http", "server_request_start", "8@%rax 8@%rbx 8@%rcx 8@%rdi"),
        ("requestEnd", "net_http", "server_request_end", "-4@%ecx"),
        ("query", "sql", "query", "8@%rax 8@%rbx"),
        ("query", "own", "other", "8@%rbx"),
    ] {
        let symbol = format!(" main.{function}.abi0");
        let line =
            symbols.lines().find(|l| l.ends_with(&symbol)).unwrap_or_else(|| panic!("{symbols}"));
        let start = u64::from_str_radix(line.split_whitespace().next().unwrap(), 16).unwrap();
        let code = view.bytes_up_to(start, 32).unwrap();
        let note = Note {
            pc: start + code.windows(2).position(|two| two == [0x90, 0xc3]).unwrap() as u64,
            base: view.section(".text").unwrap().addr,
            semaphore: 0,
            provider: provider.into(),
            name: name.into(),
            args: args.into(),
        };
        let begin = notes.len();
        note.encode(Format::LE64, &mut notes).unwrap();
        let padded = (notes.len() - begin - 20) as u32;
        notes[begin + 4..begin + 8].copy_from_slice(&padded.to_le_bytes());
    }
    let file = app.folder.path().join("notes");
    std::fs::write(&file, notes).unwrap();
    let section = format!(".note.stapsdt={}", file.display());
    stdout(command("objcopy").args(["--add-section", &section, app.as_str()]));

    let listed =
        json_lines(&stdout(command("usdt-attach").args(["list", "--json"]).arg(&app.path)));
    let sources: Vec<&str> = listed.iter().map(|p| p["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["native", "native", "native", "note"]);
    let shown = stdout(command("usdt-attach").arg("list").arg(&app.path));
    assert!(
        shown.contains("net_http:server_request_start(string method, string path)\n"),
        "{shown}"
    );

    let out = attach(&["trace", "*", "--json", "--", app.as_str(), "3"]);
    let mut events = json_lines(&text(&out.stdout));
    assert_eq!(events.pop().unwrap()["summary"]["delivered"], 12);
    let seen = Traced { facts: Value::Null, events, notices: text(&out.stderr) };
    let served: Vec<String> = seen
        .args("net_http", "server_request_start")
        .map(|a| format!("{} {}", a["method"], a["path"]))
        .collect();
    assert_eq!(served, [r#""GET" "/item/0""#, r#""GET" "/item/1""#, r#""GET" "/item/2""#]);
    assert!(seen.events_of("net_http", "server_request_start").all(|e| e["goid"] == 1));
    let ends: Vec<&Value> =
        seen.args("net_http", "server_request_end").map(|a| &a["status"]).collect();
    assert_eq!(ends, [200, 201, 202]);
    let queries: Vec<&Value> = seen.args("sql", "query").map(|a| &a["query"]).collect();
    assert_eq!(queries, ["SELECT 0", "SELECT 1", "SELECT 2"]);
}

/// For releases in the catalog the DWARF is not read: it takes long to decompress and may be
/// missing.
#[test]
fn field_offset_table_matches_dwarf() {
    let data = std::fs::read(Fixture::get("bridge", Mode::Plain)).unwrap();
    let go = GoBinary::parse(&data).unwrap();
    let mut seen = 0;
    for field in catalog::all_fields() {
        let (listed, found) = (go.field_offset(field), go.field_offset_from_dwarf(field));
        assert_eq!(listed, found, "{}.{} in {:?}", field.structure, field.name, go.version());
        seen += usize::from(found.is_some());
    }
    assert!(seen > 5, "{seen}");
}

/// Every tracer finds the function entries in a copy that was sealed with `--entries`.
#[test]
#[cfg(target_arch = "x86_64")]
fn seal_writes_function_entries_as_notes() {
    let app = copy(&Fixture::get("bridge", Mode::PlainStripped));
    let seal = |args: &[&str]| {
        let out = usdt_gen(&[&["seal"], args, &[app.as_str()]].concat());
        assert!(out.status.success(), "{}", text(&out.stderr));
        std::fs::read(&app.path).unwrap()
    };
    let before = std::fs::read(&app.path).unwrap();
    let sealed = seal(&["--entries"]);
    assert_eq!(seal(&["--entries"]), sealed, "a second time changes nothing");
    assert_eq!(seal(&[]), sealed);
    let (view, old) = (View::parse(&sealed).unwrap(), View::parse(&before).unwrap());
    let code = |view: &View<'_>| {
        let text = view.segments.iter().find(|s| s.is_executable()).unwrap();
        view.bytes_at(text.vaddr + 4096, text.filesz - 8192).unwrap().to_vec()
    };
    assert_eq!(code(&view), code(&old));
    let listed = list_probes(&app.path);
    let find = |name: &str| listed.iter().find(|p| p["probe"] == name).unwrap();
    assert_eq!(find("server_request_start")["source"], "note");
    // The path is behind a pointer, which notes cannot express; the arguments after it keep their
    // positions.
    let args = find("server_request_start")["args"].as_str().unwrap();
    // The offset of the goroutine id depends on the release.
    let (args, goid) = args.rsplit_once(' ').unwrap();
    assert!(goid.starts_with("8@1") && goid.ends_with("(%r14)"), "{goid}");
    assert_eq!(
        args.split(' ').collect::<Vec<_>>(),
        ["8@(%rdi)", "8@8(%rdi)", "8@$0", "8@$0", "8@128(%rdi)", "8@136(%rdi)", "8@%rcx"]
    );
    let verdicts = json_lines(&text(&usdt_gen(&["verify", "--json", app.as_str()]).stdout));
    assert!(
        verdicts.len() > 100 && verdicts.iter().all(|v| v["verdict"] != "rejected"),
        "{verdicts:?}"
    );
}
