//! The demo: generate, build, run, list and trace in two minutes.

use crate::command::{Explain, Failure, Outcome, Running, command, execute, privileged, root};
use crate::setup;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

/// Seconds of tracing.
const SECONDS: u32 = 10;
/// Number of events shown.
const SHOWN_EVENTS: usize = 24;

pub(crate) fn run(_: &[String]) -> Outcome {
    print_step("1. Install bpftrace and a Go toolchain, build the two tools");
    let tools = setup::demo()?;
    tools.build()?;

    print_step("2. Generate the probe package, build and seal the service");
    let module = root().join("go-stubs");
    execute(tools.go("go", &["generate", "./examples/httpd/..."]).current_dir(&module))?;
    let folder = root().join("target/demo");
    std::fs::create_dir_all(&folder).explain("cannot create target/demo")?;
    let app = folder.join("httpd");
    let app_text = app.display().to_string();
    execute(
        tools
            .go(
                "go",
                &["build", "-toolexec=usdt-gen toolexec", "-o", &app_text, "./examples/httpd"],
            )
            .current_dir(&module),
    )?;
    let load = folder.join("load").display().to_string();
    execute(tools.go("go", &["build", "-o", &load, "./examples/httpd/load"]).current_dir(&module))?;

    print_step("3. Start the service and send it requests");
    let mut service = Running(
        command(&app, &["-addr", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .explain("cannot start the service")?,
    );
    let stdout =
        service.0.stdout.take().ok_or_else(|| Failure("the service has no output".into()))?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).explain("cannot read the service's output")?;
    let url = line
        .trim()
        .strip_prefix("listening on ")
        .ok_or_else(|| Failure(format!("the service printed an unexpected line: {line}")))?;
    println!("the service listens on {url}, process {}", service.0.id());
    let duration = format!("{}s", 3 * SECONDS);
    let _traffic = Running(
        command(&load, &["-url", url, "-clients", "4", "-duration", &duration, "-pause", "200ms"])
            .stdout(Stdio::null())
            .spawn()
            .explain("cannot start the clients")?,
    );

    let attach = root().join("target/debug/usdt-attach");
    let pid = service.0.id().to_string();
    print_step("4. List the probes of the running process");
    execute(&mut privileged(&attach, &["list", "-p", &pid]))?;

    print_step(&format!("5. Trace requests and cache accesses for {SECONDS} seconds"));
    let seconds = format!("{SECONDS}s");
    let lines = trace(
        &attach,
        &["trace", "-p", &pid, "--duration", &seconds, "httpd:request-*", "httpd:cache-*"],
    )?;
    if lines == 0 {
        return Err(Failure("usdt-attach printed no event".into()));
    }

    print_step("6. Count requests by method and path with bpftrace");
    bpftrace(&app)?;
    println!(
        "\nThe demo is complete; the service and its clients are stopped. Continue with README.md and docs/start.md"
    );
    Ok(())
}

/// Prints the first events as they arrive, and counts all of them.
fn trace(program: &Path, args: &[&str]) -> Outcome<usize> {
    eprintln!("$ usdt-attach {}", args.join(" "));
    let mut tracer = Running(
        privileged(program, args)
            .stdout(Stdio::piped())
            .spawn()
            .explain("cannot start usdt-attach")?,
    );
    let stdout =
        tracer.0.stdout.take().ok_or_else(|| Failure("usdt-attach has no output".into()))?;
    let mut count = 0;
    for line in BufReader::new(stdout).lines() {
        let line = line.explain("cannot read the events")?;
        match count {
            0..SHOWN_EVENTS => println!("{line}"),
            SHOWN_EVENTS => println!("… further events are counted, not shown"),
            _ => {}
        }
        count += 1;
    }
    let status = tracer.0.wait().explain("cannot wait for usdt-attach")?;
    if status.success() {
        Ok(count)
    } else {
        Err(Failure(format!("usdt-attach failed ({status})")))
    }
}

/// Counts requests with bpftrace for three seconds.
fn bpftrace(app: &Path) -> Outcome {
    let program = format!(
        "usdt:{}:httpd:request__start {{ @requests[str(arg1, arg2), str(arg3, arg4)] = count(); \
         }} interval:s:3 {{ exit(); }}",
        app.display()
    );
    eprintln!(
        "$ bpftrace -e 'usdt:target/demo/httpd:httpd:request__start {{ @requests[str(arg1, \
         arg2), str(arg3, arg4)] = count(); }} …'"
    );
    let result =
        privileged("bpftrace", &["-e", &program]).output().explain("cannot run bpftrace")?;
    // Without CAP_SYS_RESOURCE bpftrace warns that it cannot raise a limit, which current kernels
    // do not use.
    let errors = String::from_utf8_lossy(&result.stderr);
    for line in errors.lines().filter(|l| !l.contains("RLIMIT_MEMLOCK")) {
        eprintln!("{line}");
    }
    print!("{}", String::from_utf8_lossy(&result.stdout).replace("\n\n", "\n"));
    if result.status.success() {
        Ok(())
    } else {
        Err(Failure(format!("bpftrace failed ({})", result.status)))
    }
}

fn print_step(text: &str) {
    println!("\n== {text}");
}
