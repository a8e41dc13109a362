//! The whole way in two minutes: generate, build, run, list, trace.

use crate::command::{Explain, Failure, Outcome, Running, command, execute, privileged, root};
use crate::setup;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

/// Seconds of tracing shown.
const SECONDS: u32 = 10;
/// Events shown: enough to see, few enough to read.
const SHOWN: usize = 24;

pub(crate) fn run(_: &[String]) -> Outcome {
    say("1. Set up: bpftrace, a Go toolchain, our two tools");
    let tools = setup::demo()?;
    tools.build()?;

    say("2. Generate the probe package and build the service, sealed on the way");
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

    say("3. Start it and send it traffic");
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
        .ok_or_else(|| Failure(format!("the service said: {line}")))?;
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
    say("4. What can be traced in the running process");
    execute(&mut privileged(&attach, &["list", "-p", &pid]))?;

    say(&format!("5. {SECONDS} seconds of its requests, cache and background job"));
    let seconds = format!("{SECONDS}s");
    let lines = trace(
        &attach,
        &["trace", "-p", &pid, "--duration", &seconds, "httpd:request-*", "httpd:cache-*"],
    )?;
    if lines == 0 {
        return Err(Failure("no event came".into()));
    }

    say("6. The same probes through bpftrace: requests by method and path");
    bpftrace(&app)?;
    println!(
        "\nThat was all; the service and its clients are stopped. Next: README.md and docs/start.md"
    );
    Ok(())
}

/// Shows the first lines as they come, counts the rest.
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
            0..SHOWN => println!("{line}"),
            SHOWN => println!("… and more, which are counted here only"),
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

fn bpftrace(app: &Path) -> Outcome {
    let program = format!(
        "usdt:{}:httpd:request__start {{ @requests[str(arg1, arg2), str(arg3, arg4)] = count(); }} interval:s:3 {{ exit(); }}",
        app.display()
    );
    eprintln!(
        "$ bpftrace -e 'usdt:target/demo/httpd:httpd:request__start {{ @requests[str(arg1, arg2), str(arg3, arg4)] = count(); }} …'"
    );
    let result =
        privileged("bpftrace", &["-e", &program]).output().explain("cannot run bpftrace")?;
    // Without CAP_SYS_RESOURCE bpftrace says that it cannot raise a limit which current kernels do not use.
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

fn say(text: &str) {
    println!("\n== {text}");
}
