//! Other tracers list the same probes, addresses and arguments in a sealed binary as `usdt-attach`.

use std::collections::BTreeMap;
use std::path::Path;
use usdt_e2e::{
    Copy, Fixture, Mode, Need, Process, command, copy, have, list_probes, semaphore, stdout, text,
    wait_for,
};

/// Probes by full name.
type Probes = BTreeMap<String, Probe>;

#[derive(Clone, Debug, PartialEq)]
struct Probe {
    address: u64,
    semaphore: u64,
    /// The argument specification, for example `8@%rax -4@%ebx`.
    args: String,
}

/// Returns the probes of a file as listed by `usdt-attach`.
fn list_by_name(path: &Path) -> Probes {
    list_probes(path)
        .iter()
        .map(|p| {
            let text = |key: &str| p[key].as_str().unwrap().to_owned();
            let number = |key: &str| p[key].as_u64().unwrap();
            let name = format!("{}:{}", text("provider"), text("probe"));
            let probe = Probe {
                address: number("address"),
                semaphore: number("semaphore"),
                args: text("args"),
            };
            (name, probe)
        })
        .collect()
}

fn parse_hex(text: &str) -> u64 {
    u64::from_str_radix(text.trim().trim_start_matches("0x"), 16).unwrap()
}

fn app() -> Copy {
    let app = copy(&Fixture::get("hits", Mode::Sealed));
    assert_eq!(list_by_name(&app.path).len(), 7, "all probes but the unused one");
    app
}

#[test]
fn readelf_prints_the_same_notes() {
    if !have(&[Need::Program("readelf")]) {
        return;
    }
    for mode in Mode::SEALED {
        let path = Fixture::get("hits", mode);
        let out = stdout(command("readelf").args(["-n", path.to_str().unwrap()]));
        let mut seen = Probes::new();
        let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
        for line in out.lines() {
            if let Some((key, value)) = line.trim().split_once(": ") {
                fields.insert(key, value);
            }
            if line.trim().starts_with("Arguments:") {
                let mut places = fields["Location"].split(", ");
                let address = parse_hex(places.next().unwrap());
                let semaphore = parse_hex(places.nth(1).unwrap().trim_start_matches("Semaphore: "));
                let args = line.trim().trim_start_matches("Arguments:").trim().to_owned();
                seen.insert(
                    format!("{}:{}", fields["Provider"], fields["Name"]),
                    Probe { address, semaphore, args },
                );
            }
        }
        assert_eq!(seen, list_by_name(&path), "{mode:?}");
    }
}

#[test]
fn bpftrace_lists_and_traces_every_build_mode() {
    if !have(&[Need::Bpf, Need::Program("bpftrace")]) {
        return;
    }
    for mode in Mode::SEALED {
        let app = copy(&Fixture::get("hits", mode));
        let out = stdout(command("bpftrace").args(["-l", &format!("usdt:{}:*", app.as_str())]));
        let mut names: Vec<&str> = out
            .lines()
            .filter_map(|l| l.split_once(&format!("{}:", app.as_str())))
            .map(|(_, n)| n)
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            list_by_name(&app.path).keys().map(String::as_str).collect::<Vec<_>>(),
            "{mode:?}"
        );
    }
    let app = app();
    let address = list_by_name(&app.path)["e2e:hit"].semaphore;
    // bpftrace increments a semaphore before it attaches its program to the site.
    let mut target = command(&app.path);
    let target = target.args(["-per", "100", "-linger", "3s"]).env("USDT_E2E_SETTLE", "300ms");
    let target = Process::start(target);
    let script = format!(
        "usdt:{}:e2e:hit {{ printf(\"%d %d %s\\n\", arg0, arg1, str(arg2, arg3)); if (arg1 == 99) {{ exit(); }} }}",
        app.as_str()
    );
    let tracer = Process::start(command("bpftrace").args(["-e", &script]));
    wait_for("bpftrace's semaphore", || semaphore(target.pid(), address) == 1);
    let (status, out, errors) = tracer.finish();
    assert!(status.success(), "{errors}");
    let lines: Vec<&str> =
        out.lines().filter(|l| l.split(' ').count() == 3 && !l.starts_with("Attaching")).collect();
    assert_eq!(lines.len(), 100, "{out}");
    for (n, line) in lines.iter().enumerate() {
        assert!(line.ends_with(&format!(" {n} {}{n}", "x".repeat(n % 40))), "{line}");
    }
    wait_for("the semaphore to be decremented", || semaphore(target.pid(), address) == 0);
}

/// A tracer that reads the registers of the C calling convention and ignores the note sees the
/// arguments.
#[test]
fn arguments_are_in_registers_of_the_c_calling_convention() {
    let app = app();
    let args = list_by_name(&app.path)["e2e:twelve"].args.clone();
    let registers =
        ["rdi", "rsi", "rdx", "rcx", "r8", "r9", "rax", "rbx", "r10", "r11", "r12", "r13"];
    assert_eq!(args, registers.map(|name| format!("-4@%{name}")).join(" "));
    if !have(&[Need::Bpf, Need::Program("bpftrace")]) {
        return;
    }
    let target = Process::start(
        command(&app.path).args(["-types", "-linger", "3s"]).env("USDT_E2E_SETTLE", "500ms"),
    );
    // The registers of PT_REGS_PARM1 to PT_REGS_PARM6. The target waits for the first probe.
    let values = ["di", "si", "dx", "cx", "r8", "r9"]
        .map(|name| format!("(int32)reg(\"{name}\")"))
        .join(", ");
    let script = format!(
        "usdt:{bin}:e2e:more__types {{ @more = count(); }}\n\
         usdt:{bin}:e2e:twelve {{ printf(\"%d %d %d %d %d %d\\n\", {values}); exit(); }}",
        bin = app.as_str()
    );
    let tracer = Process::start(command("bpftrace").args(["-e", &script]));
    let (status, out, errors) = tracer.finish();
    assert!(status.success(), "{errors}");
    assert!(out.lines().any(|line| line == "1 -2 3 -4 5 -6"), "{out}{errors}");
    assert!(target.finish().0.success());
}

#[test]
fn tplist_lists_every_probe() {
    if !have(&[Need::Program("tplist-bpfcc")]) {
        return;
    }
    for mode in Mode::SEALED {
        let path = Fixture::get("hits", mode);
        let out = stdout(command("tplist-bpfcc").args(["-vv", "-l", path.to_str().unwrap()]));
        let mut seen = Probes::new();
        let (mut name, mut semaphore, mut address, mut args) = (String::new(), 0, 0, Vec::new());
        let mut insert = |name: &str, semaphore: u64, address: u64, args: &[String]| {
            if !name.is_empty() {
                let args = args.join(" ");
                seen.insert(name.to_owned(), Probe { address, semaphore, args });
            }
        };
        for line in out.lines() {
            if let Some((full, rest)) = line.split_once(" [sema ") {
                insert(&name, semaphore, address, &args);
                (name, semaphore, args) =
                    (full.to_owned(), parse_hex(rest.trim_end_matches(']')), Vec::new());
            } else if let Some((_, place)) =
                line.rsplit_once(" 0x").filter(|(l, _)| l.contains("location #"))
            {
                address = parse_hex(place);
            } else if line.contains("argument #") {
                args.push(line.trim().to_owned());
            }
        }
        insert(&name, semaphore, address, &args);
        let expected = list_by_name(&path);
        assert_eq!(
            seen.keys().collect::<Vec<_>>(),
            expected.keys().collect::<Vec<_>>(),
            "{mode:?}\n{out}"
        );
        for (name, probe) in expected {
            let expected_args = Probe { args: bcc_arguments(&probe.args), ..probe };
            assert_eq!(seen[&name], expected_args, "{mode:?} {name}");
        }
    }
}

/// Returns the kernel's name of a register: `ax` for `rax`, `r8` for `r8`.
fn kernel_name(register: &str) -> &str {
    let short = register.strip_prefix('r').unwrap_or(register);
    if short.starts_with(|c: char| c.is_ascii_digit()) { register } else { short }
}

/// Converts arguments to the format of tplist: `-4@%rax` becomes `argument #1 4 signed   bytes @
/// ax`.
fn bcc_arguments(args: &str) -> String {
    let words = args.split_whitespace().enumerate().map(|(i, arg)| {
        let (size, place) = arg.split_once('@').unwrap();
        let sign = if size.starts_with('-') { "signed  " } else { "unsigned" };
        let place = kernel_name(place.trim_start_matches('%'));
        format!("argument #{} {} {sign} bytes @ {place}", i + 1, size.trim_start_matches('-'))
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Converts arguments to the format that perf passes to the kernel: `-4@%rax` becomes
/// `arg1=%ax:s32`.
fn perf_arguments(args: &str) -> String {
    let words = args.split_whitespace().enumerate().map(|(i, arg)| {
        let (size, place) = arg.split_once('@').unwrap();
        let sign = if size.starts_with('-') { 's' } else { 'u' };
        let bits = 8 * size.trim_start_matches('-').parse::<u32>().unwrap();
        let register = kernel_name(place.trim_start_matches('%'));
        format!("arg{}=%{register}:{sign}{bits}", i + 1)
    });
    words.collect::<Vec<_>>().join(" ")
}

fn argument_count(args: &str) -> usize {
    stapsdt::argspec::parse(args, stapsdt::argspec::Arch::X86_64).len()
}

#[test]
fn gdb_lists_every_probe() {
    if !have(&[Need::Program("gdb")]) {
        return;
    }
    for mode in Mode::SEALED {
        let path = Fixture::get("hits", mode);
        let out = stdout(command("gdb").args([
            "-nx",
            "-batch",
            "-ex",
            "info probes stap",
            path.to_str().unwrap(),
        ]));
        let seen: BTreeMap<String, (u64, u64)> = out
            .lines()
            .filter(|l| l.starts_with("stap "))
            .map(|l| {
                let words: Vec<&str> = l.split_whitespace().collect();
                (format!("{}:{}", words[1], words[2]), (parse_hex(words[3]), parse_hex(words[4])))
            })
            .collect();
        let expected: BTreeMap<String, (u64, u64)> = list_by_name(&path)
            .into_iter()
            .map(|(name, probe)| (name, (probe.address, probe.semaphore)))
            .collect();
        assert_eq!(seen, expected, "{mode:?}\n{out}");
    }
}

/// perf keeps its probe cache in a temporary folder.
#[test]
fn perf_lists_every_probe_and_its_file_offset() {
    if !have(&[Need::Program("perf")]) {
        return;
    }
    let app = copy(&Fixture::get("hits", Mode::BuildId));
    let cache = app.folder.path().join("perf");
    std::fs::create_dir(&cache).unwrap();
    let cache = cache.to_str().unwrap();
    stdout(command("perf").args(["--buildid-dir", cache, "buildid-cache", "--add", app.as_str()]));
    let out = stdout(
        command("perf")
            .args(["--buildid-dir", cache, "list", "--no-desc", "sdt"])
            .env("PAGER", "cat"),
    );
    for name in list_by_name(&app.path).keys() {
        assert!(out.contains(&format!("sdt_{name}")), "{name} is not in\n{out}");
    }
    // The cache holds the definitions that perf passes to the kernel: the file offset and, in
    // parentheses, the offset of the semaphore.
    let cached = read_files_below(Path::new(cache));
    let probes: Vec<&String> = cached.iter().filter(|t| t.contains("sdt_e2e")).collect();
    assert_eq!(probes.len(), 1);
    let data = std::fs::read(&app.path).unwrap();
    let view = stapsdt::elf::View::parse(&data).unwrap();
    for (name, probe) in list_by_name(&app.path) {
        let offset = view.vaddr_to_offset(probe.address).unwrap();
        let semaphore = view.vaddr_to_offset(probe.semaphore).unwrap();
        let definition = format!(":{offset:#x}({semaphore:#x}) {}", perf_arguments(&probe.args));
        let group = name.replace(':', "/");
        assert!(
            probes[0].lines().any(|l| l.contains(&format!("sdt_{group}"))
                && l.trim_end().ends_with(definition.trim_end())),
            "{name} {definition} is not in\n{}",
            probes[0]
        );
    }
}

/// Returns the content of every file below a folder.
fn read_files_below(folder: &Path) -> Vec<String> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            out.extend(read_files_below(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            out.push(text(&bytes));
        }
    }
    out
}

#[test]
fn systemtap_lists_every_probe() {
    if !have(&[Need::Program("stap")]) {
        return;
    }
    for mode in [Mode::Sealed, Mode::Pie, Mode::External, Mode::ExternalPie] {
        let path = Fixture::get("hits", mode);
        let probe = format!("process(\"{}\").provider(\"*\").mark(\"*\")", path.display());
        let out = stdout(command("stap").args(["-L", &probe]));
        let mut seen: Vec<(String, usize)> = out
            .lines()
            .filter(|l| l.contains(".mark(\""))
            .map(|l| {
                let quoted: Vec<&str> = l.split('"').collect();
                (format!("{}:{}", quoted[3], quoted[5]), l.matches("$arg").count())
            })
            .collect();
        seen.sort();
        let expected: Vec<(String, usize)> = list_by_name(&path)
            .into_iter()
            .map(|(name, probe)| (name, argument_count(&probe.args)))
            .collect();
        assert_eq!(seen, expected, "{mode:?}\n{out}");
    }
}
