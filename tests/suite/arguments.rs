//! Every argument of every type, as each installed tracer reads it at run time.

use std::collections::HashMap;
use usdt_e2e::{
    Copy, Fixture, Mode, Need, Process, command, copy, have, root, semaphore, stdout, wait_for,
};

/// The value that a tracer must read.
enum Expected {
    /// An integer of a size in bytes.
    Is(u32, i128),
    /// Any address above the zero page.
    Address,
    /// Any plausible goroutine id.
    Goroutine,
}
use Expected::{Address, Goroutine, Is};

/// Returns the arguments of the first hit of each probe of `hits -types`.
fn expected() -> Vec<(&'static str, Vec<Expected>)> {
    let twelve = (1..=12).map(|n| Is(4, if n % 2 == 0 { -n } else { n }));
    vec![
        (
            "types",
            vec![
                Is(1, -1),
                Is(1, -128),
                Is(2, -32768),
                Is(4, i32::MIN.into()),
                Is(8, i64::MIN.into()),
                Is(1, 255),
                Is(2, 65535),
                Is(4, u32::MAX.into()),
                Goroutine,
            ],
        ),
        (
            "more__types",
            vec![
                Is(8, u64::MAX.into()),
                Is(4, 1.5f32.to_bits().into()),
                Is(8, (-2.25f64).to_bits().into()),
                Is(1, 1),
                Address,
                Address,
                Is(8, 3),
                Address,
                Is(8, 9),
                Address,
                Goroutine,
            ],
        ),
        ("twelve", twelve.collect()),
    ]
}

/// Compares the values that a tracer read, which may be sign-extended or zero-extended to 64 bits.
fn compare(tracer: &str, read: &HashMap<String, Vec<u64>>) {
    for (probe, expected) in expected() {
        let values =
            read.get(probe).unwrap_or_else(|| panic!("{tracer} read no {probe}: {read:?}"));
        assert_eq!(values.len(), expected.len(), "{tracer} {probe}: {values:x?}");
        for (index, (value, expected)) in values.iter().zip(&expected).enumerate() {
            let is_expected = match expected {
                Is(size, wanted) => {
                    let mask = u64::MAX >> (64 - 8 * size);
                    value & mask == *wanted as u64 & mask
                }
                Address => *value > 0xffff,
                Goroutine => (1..1000).contains(value),
            };
            assert!(is_expected, "{tracer} {probe} argument {index}: {values:x?}");
        }
    }
}

fn parse_hex(words: &str) -> Vec<u64> {
    words.split_whitespace().map(|w| u64::from_str_radix(w, 16).unwrap()).collect()
}

fn app(mode: Mode) -> Copy {
    copy(&Fixture::get("hits", mode))
}

#[test]
fn libbpf_reads_every_argument() {
    if !have(&[Need::Bpf, Need::Program("clang"), Need::File("/usr/include/bpf/usdt.bpf.h")]) {
        return;
    }
    let app = app(Mode::Sealed);
    let (object, loader) = usdt_e2e::libbpf(app.folder.path());
    let target = Process::start(command(&app.path).args(["-types", "-signal", "-linger", "500ms"]));
    let tracers: Vec<(&str, Process)> = ["types", "more__types", "twelve", "nothing", "keywords"]
        .into_iter()
        .map(|probe| {
            let provider = if probe == "keywords" { "other_provider" } else { "e2e" };
            let args = [object.to_str().unwrap(), app.as_str(), provider, probe];
            (probe, Process::start(command(&loader).args(args)))
        })
        .collect();
    wait_for("libbpf to attach", || tracers.iter().all(|(_, tracer)| tracer.bpf_link_count() > 0));
    target.signal(2);
    assert!(target.finish().0.success());
    let mut read = HashMap::new();
    for (probe, tracer) in tracers {
        let (status, out, errors) = tracer.finish();
        assert!(status.success(), "{probe}: {errors}");
        read.insert(probe.to_owned(), parse_hex(out.lines().next().unwrap_or_default()));
    }
    compare("libbpf", &read);
}

#[test]
fn bcc_reads_every_argument() {
    if !have(&[Need::Bpf, Need::Bcc, Need::File("/usr/lib/python3/dist-packages/bcc/__init__.py")])
    {
        return;
    }
    let app = app(Mode::Sealed);
    let target = Process::start(command(&app.path).args(["-types", "-signal", "-linger", "500ms"]));
    let pid = target.pid().to_string();
    let tracer = Process::start(
        command("/usr/bin/python3").arg(root().join("tests/python/bcc_args.py")).args([
            &pid,
            app.as_str(),
            "types:9",
            "twelve:12",
            "more__types:11",
        ]),
    );
    let (status, out, errors) = tracer.finish();
    assert!(status.success(), "{errors}");
    let read = out
        .lines()
        .filter_map(|l| l.split_once(' '))
        .map(|(name, rest)| (name.to_owned(), parse_hex(rest)));
    compare("bcc", &read.collect());
    target.finish();
}

#[test]
fn gdb_reads_every_argument() {
    if !have(&[Need::Program("gdb")]) {
        return;
    }
    let app = app(Mode::Sealed);
    let mut gdb = command("gdb");
    gdb.args(["-nx", "-batch", "-iex", "set auto-load no"]);
    for (probe, _) in expected() {
        gdb.args(["-ex", &format!("break -probe-stap e2e:{probe}")]);
    }
    gdb.args(["-ex", "run"]);
    for (probe, args) in expected() {
        // This probe fires three times; only its first hit is compared.
        let repeats = if probe == "more__types" { 3 } else { 1 };
        let list: Vec<String> = (0..args.len()).map(|n| format!("$_probe_arg{n}")).collect();
        let format = vec!["%lx"; args.len()].join(" ");
        gdb.args([
            "-ex",
            &format!("printf \"SEEN {probe} %d {format}\\n\", $_probe_argc, {}", list.join(", ")),
        ]);
        for _ in 0..repeats {
            gdb.args(["-ex", "continue"]);
        }
    }
    let out = stdout(gdb.args(["--args", app.as_str(), "-types"]));
    let mut read = HashMap::new();
    for line in out.lines().filter_map(|l| l.strip_prefix("SEEN ")) {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        let values = parse_hex(words[2]);
        assert_eq!(words[1], values.len().to_string(), "$_probe_argc of {}", words[0]);
        read.insert(words[0].to_owned(), values);
    }
    compare("gdb", &read);
}

/// Removes perf's uprobe events from the kernel when the test ends.
struct PerfEvents<'a> {
    buildid_dir: &'a str,
}

impl Drop for PerfEvents<'_> {
    fn drop(&mut self) {
        // Some events may not exist if defining them failed.
        let _ = command("perf")
            .args(["--buildid-dir", self.buildid_dir, "probe", "-q", "-d", "sdt_e2e:*"])
            .output();
    }
}

#[test]
fn perf_reads_every_argument() {
    if !have(&[Need::Bpf, Need::Program("perf"), Need::File("/sys/kernel/tracing/uprobe_events")]) {
        return;
    }
    let app = app(Mode::BuildId);
    let (cache, data) = (app.folder.path().join("cache"), app.folder.path().join("data"));
    std::fs::create_dir(&cache).unwrap();
    let (cache, data) = (cache.to_str().unwrap(), data.to_str().unwrap());
    let perf = |args: &[&str]| stdout(command("perf").args(["--buildid-dir", cache]).args(args));
    perf(&["buildid-cache", "--add", app.as_str()]);
    let events = PerfEvents { buildid_dir: cache };
    perf(&["probe", "-q", "sdt_e2e:*"]);
    perf(&["record", "-q", "-e", "sdt_e2e:*", "-o", data, app.as_str(), "-types"]);
    let out = perf(&["script", "-i", data]);
    let mut read = HashMap::new();
    for line in out.lines() {
        let Some((_, event)) = line.split_once("sdt_e2e:") else { continue };
        let Some((name, rest)) = event.split_once(':') else { continue };
        let values = rest.split_whitespace().filter_map(|w| w.split_once('=')).map(|(_, v)| v);
        let values = values.map(|v| v.parse::<i128>().unwrap() as u64).collect();
        read.entry(name.to_owned()).or_insert(values);
    }
    compare("perf", &read);
    drop(events);
}

/// The kernel counts semaphores per attachment and decrements them when the tracer dies.
#[test]
fn killed_consumer_releases_its_semaphore() {
    if !have(&[Need::Bpf, Need::Program("clang"), Need::File("/usr/include/bpf/usdt.bpf.h")]) {
        return;
    }
    let app = app(Mode::Sealed);
    let (object, loader) = usdt_e2e::libbpf(app.folder.path());
    let address = usdt_e2e::semaphore_of(&app.path, "other_provider:keywords");
    let target = Process::start(command(&app.path).args(["-types", "-linger", "1s"]));
    let args = [object.to_str().unwrap(), app.as_str(), "other_provider", "keywords"];
    let tracer = Process::start(command(&loader).args(args));
    wait_for("libbpf's semaphore", || semaphore(target.pid(), address) == 1);
    drop(tracer);
    wait_for("the semaphore to be decremented", || semaphore(target.pid(), address) == 0);
}
