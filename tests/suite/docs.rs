//! The book's examples, run as they stand there.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use usdt_e2e::{Need, Process, command, free_port, have, root, stdout, text, wait_for};

/// A block of code: the words behind its fence, and its text.
struct Block {
    info: String,
    text: String,
    /// What a comment in front of it says that its output has.
    expected: Option<String>,
    /// Imports and variables that a comment in front of it gives it.
    around: Option<String>,
}

fn blocks(page: &str) -> Vec<Block> {
    let page = std::fs::read_to_string(root().join("docs").join(page)).unwrap();
    let (mut out, mut expected, mut around) = (Vec::new(), None, None);
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line == "<!-- go:" {
            around = Some(
                lines.by_ref().take_while(|line| *line != "-->").collect::<Vec<_>>().join("\n"),
            );
        }
        if let Some(text) = line.strip_prefix("<!-- expect: ") {
            expected = text.strip_suffix(" -->").map(str::to_owned);
        }
        let Some(info) = line.strip_prefix("```") else { continue };
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let (info, text) = (info.to_owned(), text.join("\n"));
        out.push(Block { info, text, expected: expected.take(), around: around.take() });
    }
    out
}

/// Runs a script as a reader would, who is root here.
fn shell(folder: &Path, script: &str) -> String {
    let mut shell = command("timeout");
    // Its own build cache of perf's stays in the folder; the go command's is shared.
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
fn every_one_liner_works() {
    let tools = ["bpftrace", "perf", "gdb", "tplist-bpfcc", "curl"].map(Need::Program);
    if !have(&[&[Need::Bpf, Need::Bcc][..], &tools].concat()) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let overlay = root().join("target/e2e/overlay");
    let list = stdout(command("usdt-gen").args(["overlay", "-o"]).arg(overlay));
    let module = root().join("go-stubs");
    let mut build = command("go");
    build
        .args(["build", "-toolexec=usdt-gen toolexec"])
        .arg(format!("-overlay={}", list.trim()))
        .arg("-o");
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

    let failures = format!("while sleep 0.1; do curl -s -o /dev/null {url}/items/none; done");
    let _failures = Process::start(command("sh").args(["-c", &failures]));

    let cookbook = blocks("cookbook.md");
    let liners: VecDeque<Block> =
        cookbook.into_iter().filter(|block| block.info == "console").collect();
    assert!(liners.len() >= 25, "{}", liners.len());
    let run = |block: Block| {
        let line = block.text.strip_prefix("# ").expect("a line for root");
        let line = line.replace("$(pidof app)", &app.pid().to_string());
        let line = line.replace("127.0.0.1:9465", &format!("127.0.0.1:{}", free_port()));
        let expected =
            block.expected.as_ref().unwrap_or_else(|| panic!("nothing is expected of {line}"));
        let out = shell(folder.path(), &line);
        assert!(out.contains(expected), "{line}\n`{expected}` is not in\n{out}");
    };
    // bcc counts semaphores by itself, and the kernel takes no site of which somebody else has it do so at the time.
    let of_bcc = |block: &Block| block.text.contains("bpfcc");
    let (first, others): (VecDeque<Block>, VecDeque<Block>) = liners.into_iter().partition(of_bcc);
    first.into_iter().for_each(&run);
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

/// Writes the files of a page and runs its commands, in their order, in one shell; what they print.
fn follow(page: &str, program: &str, listens: &str, meanwhile: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    // What the program was started as is what is ended.
    let mut script = String::from("set -e\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n");
    let own = format!("127.0.0.1:{}", free_port());
    let export = format!("127.0.0.1:{}", free_port());
    let local = |text: &str| text.replace(listens, &own).replace("127.0.0.1:9464", &export);
    for block in blocks(page) {
        match block.info.split_once(',') {
            Some((_, file)) => {
                let text = local(&block.text);
                script.push_str(&format!("cat > {file} <<'END OF FILE'\n{text}\nEND OF FILE\n"));
            }
            None if block.info == "console" => {
                for line in block.text.lines() {
                    let line = line.strip_prefix("$ ").unwrap_or_else(|| panic!("{page}: {line}"));
                    let line = local(line)
                        .replace("sudo ", "")
                        .replace(&format!("$(pidof {program})"), "$program");
                    script.push_str(&format!(
                        "echo {}\n{line}\n",
                        shell_quoted(&format!("$ {line}"))
                    ));
                    if line == format!("./{program} &") {
                        script.push_str("program=$!\n");
                        script.push_str(&format!("for i in $(seq 100); do curl -s -o /dev/null http://{own}/ && break; sleep 0.1; done\n"));
                        script.push_str(&local(meanwhile));
                    }
                }
            }
            None => {}
        }
    }
    shell(folder.path(), &script)
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn expect(out: &str, expected: &[&str]) {
    for text in expected {
        assert!(out.contains(text), "`{text}` is not in\n{out}");
    }
}

#[test]
fn the_start_leads_to_a_histogram() {
    if !have(&[Need::Bpf, Need::Program("curl")]) {
        return;
    }
    let requests = "while sleep 0.2; do curl -s -o /dev/null http://127.0.0.1:8081/order; done &\n";
    let out = follow("start.md", "shop", "127.0.0.1:8081", requests);
    expect(
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

#[test]
fn the_tutorial_leads_to_a_histogram() {
    if !have(&[Need::Bpf, Need::Program("curl")]) {
        return;
    }
    let out = follow("tutorial.md", "lookup", "127.0.0.1:8082", "");
    expect(
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
            "usdt_lookup_find_end_latency_seconds_count 1",
        ],
    );
}

/// A message that is looked up is one that a program prints.
#[test]
fn messages_in_the_book_are_messages_of_the_tools() {
    let page = std::fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let mut source = String::new();
    for folder in ["usdt-attach", "usdt-gen/src", "stapsdt/src", "cli-common/src"] {
        read_all(&root().join(folder), &mut source);
    }
    // A message that is too long for a line of source.
    let source = source.replace("\\\n", "");
    let source: String = source.split_whitespace().collect::<Vec<_>>().join(" ");
    let own = page.split("\n# ").filter(|part| !part.starts_with("Of other programs"));
    let mut count = 0;
    for heading in own.flat_map(str::lines).filter_map(|line| line.strip_prefix("## `")) {
        let message = heading.trim_end_matches('`');
        for part in message.split('…').map(str::trim).filter(|part| part.len() > 3) {
            assert!(source.contains(part), "no tool says `{part}`");
        }
        count += 1;
    }
    assert!(count >= 15, "{count}");
}

fn read_all(folder: &Path, out: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// The words of a command as a shell has them, up to a pipe, a redirection or what comes behind it.
fn words(line: &str) -> Vec<String> {
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

/// All of them, and what a visitor sees first.
fn pages() -> Vec<String> {
    std::fs::read_dir(root().join("docs"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.ends_with(".md"))
        .chain(["../README.md".to_owned()])
        .collect()
}

/// Commands in the book are such that the programs take: every one of them, on every page.
#[test]
fn commands_in_the_book_are_commands_of_the_tools() {
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
                // Remarks stand behind a `#`.
                let line = line.split("  #").next().unwrap_or_default();
                let words = words(line);
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

/// Go code in the book compiles, with the imports and variables that stand in front of it in a comment. What is a
/// program's is compiled where the program is.
#[test]
fn go_code_in_the_book_compiles() {
    if !have(&[Need::Program("go")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        usdt_e2e::write(folder.path(), name, text);
    };
    let stubs = ["", "/usdtgrpc", "/usdtotel"]
        .map(|module| format!("use {}/go-stubs{module}", root().display()));
    write("go.work", &format!("go 1.26.0\nuse .\n{}\n", stubs.join("\n")));
    write("go.mod", "module usdt.local/book\ngo 1.26.0\n");
    // A driver, for an import that only a reader has.
    write(
        "pq/pq.go",
        "package pq\n\nimport \"database/sql/driver\"\n\ntype Driver struct{ driver.Driver }\n",
    );
    let mut count = 0;
    for page in pages() {
        for block in blocks(&page) {
            match &block.around {
                _ if block.info == "c" && page == "../README.md" => {
                    write("probes/probes.d", &block.text)
                }
                _ if block.info != "go" => {}
                None if block.text.starts_with("package probes") => {
                    write("probes/gen.go", &format!("{}\n", block.text));
                }
                None => panic!("{page} does not say what is around this:\n{}", block.text),
                Some(around) => {
                    count += 1;
                    let used: String =
                        (block.text.lines().filter_map(|line| line.split_once(" := ")))
                            .map(|(name, _)| format!("\n_ = {name}"))
                            .collect();
                    let code = format!(
                        "package book\n\n{around}\n\nfunc _() {{\n{}{used}\n}}\n",
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
