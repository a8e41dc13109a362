//! Runs the examples of the documentation exactly as they are printed.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use usdt_e2e::{
    Need, Process, command, free_port, have, root, runtime_flags, stdout, text, wait_for,
};

/// A code block: the words after its fence, and its content.
pub(crate) struct Block {
    pub(crate) info: String,
    pub(crate) text: String,
    /// Expected part of the output, from an `expect:` comment before the block.
    pub(crate) expected: Option<String>,
    /// Imports and variables for Go code, from a `go:` comment before the block.
    context: Option<String>,
}

/// Returns the code blocks of a page in `docs`.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let page = std::fs::read_to_string(root().join("docs").join(page)).unwrap();
    let (mut out, mut expected, mut context) = (Vec::new(), None, None);
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line == "<!-- go:" {
            context = Some(
                lines.by_ref().take_while(|line| *line != "-->").collect::<Vec<_>>().join("\n"),
            );
        }
        if let Some(text) = line.strip_prefix("<!-- expect: ") {
            expected = text.strip_suffix(" -->").map(str::to_owned);
        }
        let Some(info) = line.strip_prefix("```") else { continue };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let (info, text) = (info.to_owned(), text.join("\n"));
        out.push(Block { info, text, expected: expected.take(), context: context.take() });
    }
    out
}

/// Runs a script as a reader would, here as root.
pub(crate) fn run_script(folder: &Path, script: &str) -> String {
    let mut shell = command("timeout");
    // HOME is a temporary folder, so that perf's build-id cache stays there; the caches of the go
    // command are shared.
    let cache = stdout(command("go").args(["env", "GOCACHE"]));
    let modules = stdout(command("go").args(["env", "GOMODCACHE"]));
    shell.args(["-k", "5", "120", "bash", "-c", script]).current_dir(folder).stdin(Stdio::null());
    shell
        .env("HOME", folder)
        .env("GOCACHE", cache.trim())
        .env("GOMODCACHE", modules.trim())
        .env("PAGER", "cat");
    let out = shell.output().unwrap();
    let all = format!("{}{}", text(&out.stdout), text(&out.stderr));
    assert!(out.status.success(), "{script}\n{}\n{all}", out.status);
    all
}

#[test]
fn cookbook_one_liners_work() {
    let tools = ["bpftrace", "perf", "gdb", "tplist-bpfcc", "curl"].map(Need::Program);
    if !have(&[&[Need::Bpf, Need::Bcc][..], &tools].concat()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let module = root().join("go-stubs");
    let mut build = command("go");
    build.env("GOFLAGS", runtime_flags(&command("go"))).args(["build", "-o"]);
    stdout(build.arg(folder.path().join("app")).arg("./examples/httpd").current_dir(&module));
    let load = folder.path().join("load");
    stdout(
        command("go")
            .args(["build", "-o"])
            .arg(&load)
            .arg("./examples/httpd/load")
            .current_dir(&module),
    );
    let address = format!("127.0.0.1:{}", free_port());
    let app = Process::start(command(folder.path().join("app")).args(["-addr", &address]));
    wait_for("the service", || std::net::TcpStream::connect(&address).is_ok());
    let url = format!("http://{address}");
    let _load = Process::start(command(&load).args([
        "-url",
        &url,
        "-clients",
        "2",
        "-duration",
        "10m",
        "-pause",
        "20ms",
    ]));

    let cookbook = blocks("cookbook.md");
    let one_liners: VecDeque<Block> =
        cookbook.into_iter().filter(|block| block.info == "console").collect();
    assert!(one_liners.len() >= 25, "{}", one_liners.len());
    let run = |block: Block| {
        let line = block.text.strip_prefix("# ").expect("one-liners start with `# `");
        let line = line.replace("$(pidof app)", &app.pid().to_string());
        let line = line.replace("127.0.0.1:9465", &format!("127.0.0.1:{}", free_port()));
        let expected =
            block.expected.as_ref().unwrap_or_else(|| panic!("no `expect:` comment before {line}"));
        let out = run_script(folder.path(), &line);
        assert!(out.contains(expected), "{line}\n`{expected}` is not in\n{out}");
    };
    // bcc increments semaphores itself. The kernel refuses to attach such a site while another
    // tracer lets the kernel count its semaphore.
    let uses_bcc = |block: &Block| block.text.contains("bpfcc");
    let (bcc_lines, others): (VecDeque<Block>, VecDeque<Block>) =
        one_liners.into_iter().partition(uses_bcc);
    bcc_lines.into_iter().for_each(&run);
    let queue = Mutex::new(others);
    let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(block) = next() {
                    run(block);
                }
            });
        }
    });
}

/// Follows a page: writes its files and runs its commands, in order, in one shell. Returns their
/// output.
fn follow_page(page: &str, program: &str, listens: &str, background: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let export_address = format!("127.0.0.1:{}", free_port());
    let start = format!("./{program} &\n");
    let ready = format!(
        "for i in $(seq 100); do curl -s -o /dev/null http://{listens}/ && break; sleep 0.1; done\n"
    );
    // This machine has the tools already, and other programs of the same name may run on it.
    let script = page_script(page, |line| line != "sudo sh install.sh")
        .replace("sudo ", "")
        .replace(&format!("$(pidof {program})"), "$program")
        .replace(&start, &format!("{start}program=$!\n{ready}{background}"))
        .replace(listens, &address)
        .replace("127.0.0.1:9464", &export_address);
    // On exit, the shell kills the background jobs that it started.
    let exit = "set -e\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n";
    run_script(folder.path(), &format!("{exit}{script}"))
}

/// Returns a script that writes the files of a page and runs the commands for which `runs` is true,
/// in the order of the page. It prints each command before it runs it.
pub(crate) fn page_script(page: &str, runs: impl Fn(&str) -> bool) -> String {
    let mut script = String::new();
    for block in blocks(page) {
        match block.info.split_once(',') {
            Some((_, file)) => {
                let text = block.text;
                script.push_str(&format!("cat > {file} <<'END OF FILE'\n{text}\nEND OF FILE\n"));
            }
            None if block.info == "console" => {
                let lines = block.text.lines();
                let commands = lines.map(|line| {
                    line.strip_prefix("$ ").unwrap_or_else(|| panic!("{page}: {line}"))
                });
                for command in commands.filter(|command| runs(command)) {
                    let echo = shell_quoted(&format!("$ {command}"));
                    script.push_str(&format!("echo {echo}\n{command}\n"));
                }
            }
            None => {}
        }
    }
    script
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn assert_contains(out: &str, expected: &[&str]) {
    for text in expected {
        assert!(out.contains(text), "`{text}` is not in\n{out}");
    }
}

#[test]
fn quick_start_ends_with_a_histogram() {
    if !have(&[Need::Bpf, Need::Program("curl")]) {
        return;
    }
    let requests = "while sleep 0.2; do curl -s -o /dev/null http://127.0.0.1:8081/order; done &\n";
    let out = follow_page("start.md", "shop", "127.0.0.1:8081", requests);
    assert_contains(
        &out,
        &[
            "import \"example.com/shop/probes\"",
            "shop:request__start(uint64_t id, string method, string path)",
            "thank you",
            "shop:request__end\n",
            "values, min",
        ],
    );
}

/// The lines that set `GOFLAGS` seal, in a shell and in a Makefile. Where `usdt-gen` is not
/// installed, the Makefile builds a binary that is not sealed.
#[test]
fn documented_goflags_seal_builds() {
    if !have(&[Need::Program("go"), Need::Program("make"), Need::Program("readelf")]) {
        return;
    }
    let start = blocks("start.md");
    let text_of = |info: &str| {
        let block = start.iter().find(|block| block.info == info);
        block.unwrap_or_else(|| panic!("no block `{info}`")).text.clone()
    };
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| usdt_e2e::write(folder.path(), name, text);
    run_script(folder.path(), "go mod init example.com/shop 2>/dev/null && usdt-gen init");
    let call = "import \"example.com/shop/probes\"\n\nfunc main() { probes.RequestStart(1, \"GET\", \"/\") }";
    write("main.go", &format!("package main\n\n{call}\n"));
    write("Makefile", &format!("{}\n\napp:\n\tgo build -o app .\n", text_of("make")));
    let sections = "readelf -SW app | grep -c 'stapsdt' || true; rm app";
    let last_line = |script: &str| {
        let out = run_script(folder.path(), script);
        out.lines().next_back().unwrap_or_default().to_owned()
    };
    let sealed = "2";
    assert_eq!(last_line(&format!("{}\ngo build -o app .\n{sections}", text_of("sh"))), sealed);
    assert_eq!(last_line(&format!("make app\n{sections}")), sealed);
    // A `PATH` with the directories of the other programs only.
    let path = "PATH=$(dirname $(command -v go)):/usr/bin:/bin; ! command -v usdt-gen";
    assert_eq!(last_line(&format!("set -e; {path}; make app\n{sections}")), "0");
    // What the troubleshooting page says about the quotes.
    let unquoted = "GOFLAGS='-toolexec=usdt-gen toolexec' go build -o app . 2>&1 || true";
    assert_eq!(last_line(unquoted), "go: parsing $GOFLAGS: non-flag \"toolexec\"");
}

#[test]
fn tutorial_ends_with_a_histogram() {
    if !have(&[Need::Bpf, Need::Program("curl")]) {
        return;
    }
    let out = follow_page("tutorial.md", "lookup", "127.0.0.1:8082", "");
    assert_contains(
        &out,
        &[
            "net_http:server_request_start",
            "note: attaching to function entries, as the binary has no such probes: net_http:server_request_start",
            "path=\"/lookup\"",
            "GOROUTINES",
            "accepted  libbpf",
            "find__end cached=false",
            "find__end cached=true",
            "values, min",
            "usdt_lookup_find_end_latency_seconds_count{service=\"lookup\"} 1",
        ],
    );
}

/// Every message quoted as a heading on the troubleshooting page occurs in the source of a tool.
#[test]
fn troubleshooting_quotes_messages_of_the_tools() {
    let page = std::fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let mut source = String::new();
    for folder in ["usdt-attach", "usdt-gen/src", "gobinary/src", "stapsdt/src", "cli-common/src"] {
        read_sources(&root().join(folder), &mut source);
    }
    // Join string literals that continue on the next line.
    let source = source.replace("\\\n", "");
    let source: String = source.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut count = 0;
    let mut section = "";
    for heading in page.lines().filter(|line| line.starts_with('#')) {
        let title = heading.trim_start_matches('#').trim();
        let Some(message) = title.strip_prefix('`').and_then(|title| title.strip_suffix('`'))
        else {
            section = title;
            continue;
        };
        if section.contains("other programs") {
            continue;
        }
        for part in message.split('…').map(str::trim).filter(|part| part.len() > 3) {
            assert!(source.contains(part), "no tool prints `{part}`");
        }
        count += 1;
    }
    assert!(count >= 15, "{count}");
}

/// Appends all Rust sources below a folder.
fn read_sources(folder: &Path, out: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// Splits a command line into words like a shell, up to a pipe, a redirection or a separator.
fn shell_words(line: &str) -> Vec<String> {
    let (mut out, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '|' | '>' | ';') | (None, '&') => break,
            (None, ' ') => out.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    out.extend(word);
    out
}

/// Returns every page of `docs`, and the README.
fn pages() -> Vec<String> {
    std::fs::read_dir(root().join("docs"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.ends_with(".md"))
        .chain(["../README.md".to_owned()])
        .collect()
}

/// Every command in the documentation is accepted by the argument parser of its program.
#[test]
fn documented_commands_parse() {
    let mut count = 0;
    for page in pages() {
        for block in blocks(&page).into_iter().filter(|block| block.info == "console") {
            let prompts =
                block.text.lines().filter_map(|l| l.strip_prefix("$ ").or(l.strip_prefix("# ")));
            for line in prompts {
                let line = line
                    .replace("$(pidof app)", "1")
                    .replace("$(pidof lookup)", "1")
                    .replace("sudo ", "");
                // Comments start with `#`.
                let line = line.split("  #").next().unwrap_or_default();
                let words = shell_words(line);
                let command = match words.first().map(String::as_str) {
                    Some("usdt-attach") => usdt_attach_cli::commands::command(),
                    Some("usdt-gen") => usdt_gen::cli::command(),
                    _ => continue,
                };
                count += 1;
                let result = command.try_get_matches_from(&words);
                assert!(result.is_ok(), "{page}: {line}\n{}", result.unwrap_err());
            }
        }
    }
    assert!(count > 40, "{count}");
}

/// Go code in the documentation compiles, together with the imports and variables of the comment
/// before it. Complete programs are compiled by the tests that follow their page.
#[test]
fn documented_go_code_compiles() {
    if !have(&[Need::Program("go")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        usdt_e2e::write(folder.path(), name, text);
    };
    let stubs = ["", "/usdtgrpc", "/usdtotel", "/libraries"]
        .map(|module| format!("use {}/go-stubs{module}", root().display()));
    write("go.work", &format!("go 1.26.0\nuse .\n{}\n", stubs.join("\n")));
    write("go.mod", "module usdt.local/book\ngo 1.26.0\n");
    // A stand-in for a driver that the examples import.
    write(
        "pq/pq.go",
        "package pq\n\nimport \"database/sql/driver\"\n\ntype Driver struct{ driver.Driver }\n",
    );
    let mut count = 0;
    for page in pages() {
        for block in blocks(&page) {
            match &block.context {
                _ if block.info == "c" && page == "../README.md" => {
                    write("probes/probes.d", &block.text);
                }
                _ if block.info != "go" => {}
                None if block.text.starts_with("package probes") => {
                    write("probes/gen.go", &format!("{}\n", block.text));
                }
                None => {
                    panic!("{page} has no `<!-- go:` comment before this block:\n{}", block.text)
                }
                Some(context) => {
                    count += 1;
                    let used: String =
                        (block.text.lines().filter_map(|line| line.split_once(" := ")))
                            .map(|(name, _)| format!("\n_ = {name}"))
                            .collect();
                    let code = format!(
                        "package book\n\n{context}\n\nfunc _() {{\n{}{used}\n}}\n",
                        block.text
                    );
                    write(&format!("{count}/book.go"), &code);
                }
            }
        }
    }
    assert!(count >= 6, "{count}");
    stdout(command("go").args(["generate", "./..."]).current_dir(folder.path()));
    stdout(command("go").args(["vet", "./..."]).current_dir(folder.path()));
}
