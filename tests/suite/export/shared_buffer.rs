//! The event buffer that the spans of all files share.

use super::nested_spans::Collector;
use super::*;
use usdt_e2e::{Need, have, semaphore, semaphore_of, text, usdt_gen};

/// Four goroutines do 50 pieces of work. The program waits for a line before and after that.
const PROGRAM: &str = r#"package main

import (
	"bufio"
	"fmt"
	"os"
	"sync"

	"shared/probes"
)

func main() {
	in := bufio.NewReader(os.Stdin)
	in.ReadString('\n')
	var wait sync.WaitGroup
	for i := 0; i < 4; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for n := int32(0); n < 50; n++ {
				probes.WorkStart(n)
				probes.WorkEnd(n)
			}
		}()
	}
	wait.Wait()
	fmt.Println("done")
	in.ReadString('\n')
}
"#;
/// Pieces of work of a program.
const WORK: usize = 200;

/// A program with a provider of its own, because an agent attaches to the programs of all tests.
struct Program {
    app: Copy,
    provider: &'static str,
}

/// Builds the program.
fn build(provider: &'static str) -> Program {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "go.mod", "module shared\n\ngo 1.21\n");
    write(folder.path(), "main.go", PROGRAM);
    std::fs::create_dir(folder.path().join("probes")).unwrap();
    let probes = "probe work__start(int n);\n\tprobe work__end(int n);";
    let definition = format!("provider {provider} {{\n\t{probes}\n}};\n");
    let definition = write(folder.path(), "probes/probes.d", definition);
    let out = usdt_gen(&[&definition]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let path = folder.path().join("app");
    let mut go = command("go");
    go.args(["build", "-toolexec=usdt-gen toolexec", "-o"]).arg(&path).arg(".");
    stdout(go.current_dir(folder.path()));
    Program { app: Copy { path, folder }, provider }
}

/// Starts a copy of the program, which is a file of its own, and waits until it is attached to.
fn start(Program { app, provider }: &Program) -> (Copy, Process) {
    let copy = copy(&app.path);
    let program = start_worker(&copy.path);
    let address = semaphore_of(&copy.path, &format!("{provider}:work__end"));
    wait_for("the agent", || semaphore(program.pid(), address) == 1);
    (copy, program)
}

/// The number of event buffers that a process has mapped.
fn buffers(pid: u32) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    maps.lines().filter(|line| line.ends_with("bpf-map")).count()
}

/// Starts an agent that exports spans. Returns it with its port and the collector.
fn start_agent(Program { app, provider }: &Program, limits: &str) -> (Process, u16, Collector) {
    let (collector, port) = (Collector::start(), free_port());
    let config = format!(
        r#"{limits}
[prometheus]
listen = "127.0.0.1:{port}"
[otlp]
endpoint = "http://127.0.0.1:{}"
[[span]]
start = "{provider}:work-start"
end = "{provider}:work-end"
name = "work"
"#,
        collector.port
    );
    let config = write(app.folder.path(), "agent.toml", &config);
    let mut agent = command(tools().join("usdt-attach"));
    let agent = Process::start(agent.args(["agent", "--config", &config]));
    wait_for("the endpoint", || get(port, "/healthz") == "ok\n");
    (agent, port, collector)
}

/// Waits until this number of programs have done their work, and stops the agent.
fn finish(agent: Process, port: u16, collector: &Collector, programs: usize) {
    wait_for_spans(port, programs * WORK);
    let (status, _, errors) = agent.interrupt();
    assert!(status.success(), "{errors}");
    let hits = 2 * programs * WORK;
    assert!(errors.contains(&format!("{hits} hits: {hits} delivered, 0 dropped")), "{errors}");
    assert_eq!(collector.spans()["work"].len(), programs * WORK);
}

/// The agent's memory does not grow with the number of files, and every span arrives, also those of
/// files that no process runs any more.
#[test]
fn spans_of_all_files_share_a_buffer() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = build("shared");
    let (agent, port, collector) = start_agent(&app, "");
    let mut programs = vec![start(&app)];
    let mapped = buffers(agent.pid());
    programs.extend((1..6).map(|_| start(&app)));
    assert_eq!(buffers(agent.pid()), mapped, "all files share the buffer");
    programs.iter_mut().for_each(|(_, program)| work(program));
    programs.truncate(3);
    wait_for("the agent to release files", || {
        total(&get(port, "/metrics"), "usdt_attach_files") == Some(3.0)
    });
    programs.push(start(&app));
    work(&mut programs[3].1);
    finish(agent, port, &collector, 7);
}

/// A buffer that is too small to be shared is that of one file.
#[test]
fn files_have_a_small_buffer_each() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let app = build("unshared");
    let (agent, port, collector) = start_agent(&app, "[limits]\nbuffer = 65536\n");
    let mut programs = vec![start(&app)];
    let mapped = buffers(agent.pid());
    programs.push(start(&app));
    assert!(buffers(agent.pid()) > mapped);
    programs.iter_mut().for_each(|(_, program)| work(program));
    finish(agent, port, &collector, 2);
}
