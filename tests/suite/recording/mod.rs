//! The recording in the README: real commands with their real output, as an SVG.
//!
//! `cargo xtask golden recording` runs the commands and draws the picture. The test runs them again
//! and compares what they print, but for numbers and the length of bars.

mod svg;

use crate::docs::blocks;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use usdt_e2e::{Need, Process, command, free_port, have, root, stdout, text, wait_for};

/// The picture, relative to the root of the repository.
const FILE: &str = "docs/recording.svg";
/// If this variable is set, the test draws the picture.
const WRITE: &str = "USDT_RECORDING";

/// The commands, in a module with the program of the quick start.
const COMMANDS: [&str; 5] = [
    "grep 'probes[.]' main.go",
    "go build -toolexec='usdt-gen toolexec' -o shop . && ./shop &",
    "sudo usdt-attach trace --exe ./shop 'shop:*' --events 4",
    "sudo usdt-attach latency --exe ./shop shop:request-start shop:request-end --duration 3s",
    "sudo bpftrace -e 'usdt:./shop:shop:request__end { @[arg1] = count(); } interval:s:2 { exit(); }'",
];

/// A command and what it printed, with the escape sequences of colors.
struct Step {
    command: &'static str,
    output: String,
}

/// Runs the commands while the service gets requests.
fn record() -> Vec<Step> {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let address = format!("127.0.0.1:{}", free_port());
    let page = blocks("start.md");
    let program = page.iter().find(|block| block.info == "go,main.go").unwrap();
    let program = program.text.replace("127.0.0.1:8081", &address);
    usdt_e2e::write(folder, "main.go", format!("{program}\n"));
    stdout(command("go").args(["mod", "init", "example.com/shop"]).current_dir(folder));
    stdout(command("usdt-gen").arg("init").current_dir(folder));

    let mut service = None;
    let mut clients = None;
    let mut steps = Vec::new();
    for command in COMMANDS {
        let output = if let Some(build) = command.strip_suffix(" && ./shop &") {
            let built = run(folder, build);
            service = Some(Process::start(usdt_e2e::command(folder.join("shop")).arg("-")));
            wait_for("the service", || std::net::TcpStream::connect(&address).is_ok());
            let request = format!(
                "while sleep 0.03; do curl -s -o /dev/null http://{address}/orders/$((n++ % 7)); done"
            );
            clients = Some(Process::start(usdt_e2e::command("bash").args(["-c", &request])));
            built
        } else {
            run(folder, command)
        };
        steps.push(Step { command, output });
    }
    drop((clients, service));
    steps
}

/// Runs a command as root, with colors, and returns what it printed.
fn run(folder: &Path, line: &str) -> String {
    let line = line.replace("sudo ", "").replace("usdt-attach ", "usdt-attach --color always ");
    let mut shell = command("timeout");
    shell.args(["-k", "5", "60", "bash", "-c", &line]).current_dir(folder).stdin(Stdio::null());
    let out = shell.output().unwrap();
    let (printed, messages) = (text(&out.stdout), text(&out.stderr));
    assert!(out.status.success(), "{line}\n{printed}{messages}");
    // bpftrace reports limits of the machine that do not matter here.
    if line.starts_with("bpftrace") { printed } else { printed + &messages }
}

/// Returns the kinds of lines that a command printed: numbers, units and bars do not count.
fn kinds(output: &str) -> BTreeSet<String> {
    let lines = output.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| masked(&svg::plain(line))).collect()
}

fn masked(line: &str) -> String {
    let words = line.split('|').next().unwrap_or_default();
    let mut out = String::new();
    let mut in_number = false;
    for c in words.chars() {
        match c {
            '0'..='9' if !in_number => {
                in_number = true;
                out.push('0');
            }
            '0'..='9' | '.' if in_number => {}
            // The unit of a time.
            'n' | 'u' | 'm' | 's' if in_number => {}
            _ => {
                in_number = false;
                out.push(c);
            }
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn recording_shows_what_the_commands_print() {
    let programs = ["go", "bpftrace", "curl"].map(Need::Program);
    if !have(&[&[Need::Bpf][..], &programs].concat()) {
        return;
    }
    let steps = record();
    let path = root().join(FILE);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, svg::draw(&steps)).unwrap();
    }
    let shown = svg::commands_and_output(&std::fs::read_to_string(&path).unwrap());
    let commands: Vec<&str> = shown.iter().map(|(command, _)| command.as_str()).collect();
    assert_eq!(commands, COMMANDS, "run `cargo xtask golden recording`");
    for (step, (command, output)) in steps.iter().zip(&shown) {
        assert_eq!(
            kinds(&step.output),
            kinds(output),
            "{command} prints something else than {FILE} shows; run `cargo xtask golden recording`"
        );
    }
}

#[test]
fn numbers_units_and_bars_are_masked() {
    let line = "  [4.10us, 8.19us)   28 |@@@@  |";
    assert_eq!(masked(line), "[0, 0) 0");
    assert_eq!(masked("35 values, min 512ns, max 1.2s"), "0 values, min 0, max 0");
    assert_eq!(
        masked("12:00:01.5 7 g9 shop:request__end id=3"),
        "0:0:0 0 g0 shop:request__end id=0"
    );
    assert_eq!(masked("GET /a, not /b"), "GET /a, not /b");
}
