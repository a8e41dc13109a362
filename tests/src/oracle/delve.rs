//! The values that Delve reads: a client of its JSON-RPC interface.

use super::{Drive, Hit, Hits, Probe, Program};
use crate::{Process, command, free_port};
use serde_json::{Value, json};
use stapsdt::elf::View;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long Delve may take to start, and to answer a request.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a program under Delve, and returns what it shows at each breakpoint.
pub(super) fn hits(program: &Program, file: &Path, folder: &Path) -> Result<Hits, String> {
    let (listen, port) = (format!("127.0.0.1:{}", free_port()), free_port());
    let server = match program.drive {
        Drive::RunsToEnd => None,
        Drive::Client(_) => Some(program.start_server(file, folder, port)?),
    };
    let mut dlv = command("dlv");
    match &server {
        Some(server) => dlv.args(["attach", &server.pid().to_string()]),
        None => dlv.arg("exec").arg(file),
    };
    dlv.args(["--headless", "--api-version=2", "--check-go-version=false", "--listen", &listen]);
    if server.is_none() {
        dlv.arg("--").args(program.arguments(folder, port));
    }
    dlv.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _delve = Process(dlv.spawn().map_err(|e| format!("cannot run dlv: {e}"))?);
    let mut client = Client::connect(&listen, file)?;
    let pid = client.call("ProcessPid", &json!({}))?["Pid"].as_u64().ok_or("no PID")?;
    let _target = Target { pid, file };
    let mut probes = BTreeMap::new();
    for function in program.functions {
        for probe in [Probe::entry(function), Probe::returns(function)] {
            for id in client.add_breakpoints(&probe)? {
                probes.insert(id, probe.clone());
            }
        }
    }
    let drive = program.drive;
    let driver = std::thread::spawn(move || {
        let result = drive.run(port);
        if !matches!(drive, Drive::RunsToEnd) {
            // Delve answers that the process has ended.
            let _ = command("kill").args(["-9", &pid.to_string()]).status();
        }
        result
    });
    let mut hits = Hits::default();
    loop {
        let state = match client.call("Command", &json!({"name": "continue"})) {
            Ok(state) => state["State"].clone(),
            Err(problem) if problem.contains("has exited") => break,
            Err(problem) => return Err(problem),
        };
        if state["exited"] == true {
            break;
        }
        let threads = state["Threads"].as_array().cloned().unwrap_or_default();
        for thread in &threads {
            let id = thread["breakPoint"]["id"].as_u64();
            let Some(probe) = id.and_then(|id| probes.get(&id)) else { continue };
            let mut hit = values(&thread["breakPointInfo"], probe);
            for path in program.paths_of(probe) {
                hit.extend(client.evaluate(thread, path).map(|value| (path.to_owned(), value)));
            }
            hits.entry(probe.clone()).or_default().push(hit);
        }
    }
    driver.join().map_err(|_| "the driver panicked")??;
    Ok(hits)
}

/// The program that Delve runs. It goes on if Delve is killed, so it is killed first.
struct Target<'a> {
    pid: u64,
    file: &'a Path,
}

impl Drop for Target<'_> {
    fn drop(&mut self) {
        let exe = std::fs::read_link(format!("/proc/{}/exe", self.pid));
        if exe.is_ok_and(|exe| exe == self.file) {
            let _ = command("kill").args(["-9", &self.pid.to_string()]).status();
        }
    }
}

/// A connection to Delve.
struct Client {
    stream: BufReader<TcpStream>,
    requests: u64,
    /// The content of the program's file.
    code: Vec<u8>,
}

impl Client {
    fn connect(address: &str, program: &Path) -> Result<Client, String> {
        let code = std::fs::read(program).map_err(|e| e.to_string())?;
        let end = Instant::now() + TIMEOUT;
        loop {
            match TcpStream::connect(address) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(TIMEOUT)).map_err(|e| e.to_string())?;
                    return Ok(Client { stream: BufReader::new(stream), requests: 0, code });
                }
                Err(error) if Instant::now() > end => return Err(format!("dlv: {error}")),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn call(&mut self, method: &str, argument: &Value) -> Result<Value, String> {
        self.requests += 1;
        let request = json!({
            "method": format!("RPCServer.{method}"), "params": [argument], "id": self.requests
        });
        let failed = |error: std::io::Error| format!("dlv: {method}: {error}");
        self.stream.get_mut().write_all(request.to_string().as_bytes()).map_err(failed)?;
        let mut line = String::new();
        self.stream.read_line(&mut line).map_err(failed)?;
        let mut answer: Value =
            serde_json::from_str(&line).map_err(|e| format!("dlv: {method}: {e}: {line}"))?;
        match &answer["error"] {
            Value::Null => Ok(answer["result"].take()),
            error => Err(format!("dlv: {method}: {error}")),
        }
    }

    /// Returns true for a return instruction. Delve also stops where deferred functions run after a
    /// panic, which is before such an instruction.
    fn is_return(&self, address: u64) -> bool {
        let view = View::parse(&self.code).ok();
        let code = view.and_then(|view| view.bytes_at(address, 4));
        let expected: &[u8] =
            if cfg!(target_arch = "aarch64") { &[0xc0, 0x03, 0x5f, 0xd6] } else { &[0xc3] };
        code.is_some_and(|code| code.starts_with(expected))
    }

    /// Adds the breakpoints for a probe, and returns their numbers.
    fn add_breakpoints(&mut self, probe: &Probe) -> Result<Vec<u64>, String> {
        let mut ids = Vec::new();
        let places = if probe.is_return {
            let answer =
                self.call("FunctionReturnLocations", &json!({"FnName": probe.function}))?;
            let addresses = answer["Addrs"].as_array().cloned().unwrap_or_default();
            let returns =
                addresses.iter().filter_map(Value::as_u64).filter(|at| self.is_return(*at));
            returns.map(|at| json!({"addr": at, "traceReturn": true})).collect()
        } else {
            vec![json!({"functionName": probe.function})]
        };
        for mut place in places {
            place["line"] = json!(-1);
            place["continue"] = json!(true);
            place["LoadArgs"] = load_limits();
            let answer = self.call("CreateBreakpoint", &json!({"Breakpoint": place}))?;
            ids.extend(answer["Breakpoint"]["id"].as_u64());
        }
        Ok(ids)
    }

    /// Returns the value of an expression where a thread has stopped; `None` if it has none, such as
    /// an element beyond the length. A breakpoint could evaluate it, too, but Delve 1.27 then does not
    /// find types of Go 1.27.
    fn evaluate(&mut self, thread: &Value, expression: &str) -> Option<Value> {
        let scope = json!({"GoroutineID": thread["goroutineID"], "Frame": 0});
        let request = json!({"Scope": scope, "Expr": expression, "Cfg": load_limits()});
        value(&self.call("Eval", &request).ok()?["Variable"])
    }
}

/// How much of a value Delve reads.
fn load_limits() -> Value {
    json!({
        "FollowPointers": true, "MaxVariableRecurse": 2, "MaxStringLen": 1024, "MaxArrayValues": 8,
        "MaxStructFields": -1
    })
}

/// Returns what Delve knows at a breakpoint, by the names that `usdt-attach` gives to it. Values that
/// Delve cannot read are left out.
fn values(info: &Value, probe: &Probe) -> Hit {
    /// `api.VariableReturnArgument`.
    const IS_RESULT: u64 = 1 << 4;
    let list = |name: &str| info[name].as_array().cloned().unwrap_or_default();
    let is_result =
        |variable: &Value| variable["flags"].as_u64().is_some_and(|f| f & IS_RESULT != 0);
    let mut arguments = list("arguments");
    arguments.retain(|variable| is_result(variable) == probe.is_return);
    let mut hit = Hit::new();
    for (position, variable) in arguments.iter().enumerate() {
        let name = variable["name"].as_str().unwrap_or_default();
        let name = match name {
            result if result.starts_with("~r") => format!("ret{position}"),
            // Delve reads blank parameters from the stack, where nothing stores them.
            blank if blank.starts_with(['~', '_']) => continue,
            name => name.to_owned(),
        };
        hit.extend(value(variable).map(|value| (name, value)));
    }
    hit
}

/// Returns a value as `usdt-attach` prints it; `None` if it is of another kind, or cannot be read.
fn value(variable: &Value) -> Option<Value> {
    if variable["unreadable"].as_str().is_some_and(|reason| !reason.is_empty()) {
        return None;
    }
    let text = variable["value"].as_str()?;
    // A constant has its name before its number.
    let number = text.rsplit_once('(').map_or(text, |(_, number)| number.trim_end_matches(')'));
    // The kinds of the package `reflect`.
    match variable["kind"].as_u64()? {
        1 => Some(json!(text == "true")),
        2..=6 => number.parse::<i64>().ok().map(Value::from),
        7..=12 => number.parse::<u64>().ok().map(Value::from),
        13 | 14 => number.parse::<f64>().ok().map(Value::from),
        20 if variable["type"] == "error" => error(variable),
        25 if variable["type"] == "time.Time" => time(variable, text),
        24 => Some(json!(text)),
        _ => None,
    }
}

/// Returns a time as `usdt-attach` prints it. Delve shows the date and the seconds, and then the
/// reading of the monotonic clock; the nanoseconds are in the field `wall`.
fn time(variable: &Value, text: &str) -> Option<Value> {
    const NANOS: u64 = (1 << 30) - 1;
    let fields = variable["children"].as_array()?;
    let wall = fields.iter().find(|field| field["name"] == "wall")?["value"].as_str()?;
    let nanos = wall.parse::<u64>().ok()? & NANOS;
    let seconds = text.split(',').next()?.strip_suffix('Z')?;
    Some(json!(format!("{seconds}.{nanos:09}Z")))
}

/// Returns the message of an error of the types that have one, or the name of the type.
fn error(variable: &Value) -> Option<Value> {
    let data = variable["children"].get(0)?;
    let ty = data["type"].as_str().unwrap_or_default();
    if ty.is_empty() || data["kind"] == 0 || ty == "void" {
        return Some(Value::Null);
    }
    if ["*errors.errorString", "*fmt.wrapError", "*fmt.wrapErrors"].contains(&ty) {
        let message = &data["children"].get(0)?["children"].get(0)?["value"];
        return Some(message.clone());
    }
    // The runtime's name of a type has the last element of the path of its package.
    let (stars, path) = ty.split_at(ty.find(|c| c != '*').unwrap_or(0));
    Some(json!(format!("{stars}{}", path.rsplit('/').next().unwrap_or(path))))
}
