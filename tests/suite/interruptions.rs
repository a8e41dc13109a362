//! Signals at moments in which the kernel changes sites.

use std::process::Stdio;
use std::time::{Duration, Instant};
use usdt_e2e::code::Code;
use usdt_e2e::soak::threads;
use usdt_e2e::{Need, Process, command, have, root, wait_for};

const SIGINT: i32 = 2;

/// Functions of the standard library: hundreds of sites.
const FUNCTIONS: [&str; 4] = ["func:fmt.*", "func:os.*", "func:reflect.*", "func:strconv.*"];

/// A tracer that ends while the kernel removes its breakpoints, or sets them, must not end the threads
/// that wait for it: the kernel would leave the other breakpoints in place.
#[test]
fn a_second_signal_leaves_no_breakpoint() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let app = folder.path().join("torture");
    let mut go = command("go");
    go.args(["build", "-o"]).arg(&app).arg("./torture");
    usdt_e2e::stdout(go.current_dir(root().join("tests/go/functions")));
    // It runs until its input ends.
    let mut target = command(&app);
    let target = target.args(["/dev/null", "0", "2"]).stdin(Stdio::piped()).spawn().unwrap();
    let target = Process(target);
    target.wait_for_exec(&app);
    let code = Code::of(target.pid(), &app).unwrap();
    let pid = target.pid().to_string();
    for round in 0..16 {
        // Two signals can become one, and then it writes more than a pipe takes.
        let mut tracer = command("usdt-attach");
        tracer.args(["count", "-p", &pid]).args(FUNCTIONS).stdout(Stdio::null());
        let mut tracer = Process(tracer.stderr(Stdio::null()).spawn().unwrap());
        // Every fourth one is interrupted while it attaches.
        if round % 4 == 3 {
            std::thread::sleep(Duration::from_millis(100 + 15 * round));
        } else {
            wait_for("the tracer", || tracer.is_attached());
            std::thread::sleep(Duration::from_millis(30));
        }
        tracer.signal(SIGINT);
        std::thread::sleep(Duration::from_micros(150 * round));
        tracer.signal(SIGINT);
        let mut signaled = Instant::now();
        let end = signaled + Duration::from_secs(30);
        while tracer.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "round {round}: {}", threads(tracer.pid()));
            std::thread::sleep(Duration::from_millis(2));
            // The first ones are lost if they came before it catches them, and SIGINT is ignored.
            if signaled.elapsed() > Duration::from_secs(1) {
                tracer.signal(SIGINT);
                signaled = Instant::now();
            }
        }
        code.wait_until_restored().unwrap();
    }
}
