//! Injected probes in a small and in a large service, next to the other ways to see their requests.

use super::program::{self, Programs};
use super::{COLLECTOR, Setup, builds, caddy_arguments, listen, table};
use crate::harness::{self, our_tool, output, with_path};
use crate::results::Table;
use std::path::{Path, PathBuf};
use std::process::Command;
use usdt_e2e::root;

/// Rules for the handler: the same two events per request as those of the probes written by hand.
pub(super) const HANDLER: &str = "[[probe]]\nfunc = \"main.handleOrder\"\nargs = { method = \"r.Method\", path = \"r.URL.Path\" }\n";
/// Rules for [`FUNCTIONS`] functions: those that serve every request, and some that do not.
pub(super) const SERVER: &str = "[[probe]]\nfunc = \"main.*\"\n\
     [[probe]]\nfunc = \"net/http.(*conn).*\"\n\
     [[probe]]\nfunc = \"net/http.(*response).*\"\n\
     exclude = [\"*.CloseNotify\", \"*.closeNotify\", \"*.Hijack\", \"*Deadline\", \"*.sendExpectationFailed\"]\n\
     [[probe]]\nfunc = \"net/http.(*connReader).*\"\n[[probe]]\nfunc = \"net/http.(*chunkWriter).*\"\n\
     [[probe]]\nfunc = \"net/http.(*ServeMux).*\"\n";
const FUNCTIONS: usize = 50;
/// The bar for CPU per request with disabled probes in [`FUNCTIONS`] functions, as a ratio to the
/// plain service.
const BAR: f64 = 1.01;
/// The row that the bar is for.
const DISABLED: &str = "injected into 50 functions, disabled";
/// Index of the column with the CPU time per request.
const CPU: usize = 1;
/// Rules for the handlers of Caddy: its own server, and those of all modules.
const HANDLERS: &str = "[[probe]]\nfunc = \"github.com/caddyserver/caddy/v2/modules/caddyhttp.(*Server).ServeHTTP\"\n\
     args = { method = \"r.Method\", path = \"r.URL.Path\" }\n\
     [[probe]]\nfunc = \"github.com/caddyserver/caddy/v2/modules/...:*.ServeHTTP\"\n\
     args = { method = \"r.Method\", path = \"r.URL.Path\" }\noptional = true\n";

/// Rounds of the services. They resolve a percent.
const ROUNDS: usize = 40;

const COUNT_INJECTED: &[&str] = &["count", "main:handleOrder__*"];
const TRACE_INJECTED: &[&str] = &["trace", "main:handleOrder__*"];
const COUNT_FUNCTION: &[&str] = &["count", "func:main.handleOrder", "func:main.handleOrder%return"];
const TRACE_FUNCTION: &[&str] = &["trace", "func:main.handleOrder", "func:main.handleOrder%return"];

const COUNT_HANDLERS: &[&str] = &["count", "caddyhttp:Server_ServeHTTP__*"];
const TRACE_HANDLERS: &[&str] = &["trace", "caddyhttp:Server_ServeHTTP__*"];

pub(crate) fn run() -> Result<Vec<Table>, String> {
    let programs = Programs::small()?;
    let handler = injected("service-injected", HANDLER)?;
    let server = injected("service-injected-server", SERVER)?;
    let functions = functions(SERVER, &root().join("bench/go"), "./service")?;
    if functions != FUNCTIONS {
        return Err(format!("the rules match {functions} functions, not {FUNCTIONS}; change them"));
    }
    Ok(vec![serving(&programs, &handler, &server)?, serving_caddy()?, builds::run()?])
}

fn serving(programs: &Programs, handler: &Path, server: &Path) -> Result<Table, String> {
    let listen = listen();
    let plain = programs.named("plain")?;
    let by_hand = programs.named("probes")?;
    let mut setups = vec![
        Setup::new("no probes", plain, &listen),
        Setup::new("no probes, again", plain, &listen),
        Setup::new("injected into the handler, disabled", handler, &listen),
        Setup::new(DISABLED, server, &listen),
        Setup::new("written by hand, disabled", by_hand, &listen),
        Setup::new("injected into the handler, counted", handler, &listen).traced(COUNT_INJECTED),
        Setup::new("written by hand, counted", by_hand, &listen).traced(super::COUNT_OWN),
        Setup::new("function probes of the unmodified program, counted", plain, &listen)
            .traced(COUNT_FUNCTION),
        Setup::new("injected into the handler, traced", handler, &listen).traced(TRACE_INJECTED),
        Setup::new("written by hand, traced", by_hand, &listen).traced(super::TRACE_OWN),
        Setup::new("function probes of the unmodified program, traced", plain, &listen)
            .traced(TRACE_FUNCTION),
        Setup::new(
            "OpenTelemetry SDK, one span per request",
            plain,
            &[&listen[..], &["-otel", COLLECTOR]].concat(),
        ),
    ];
    if let Ok(instrumented) = programs.named("instrumented") {
        setups.push(super::orchestrion(instrumented));
    }
    if let Ok(instrumented) = programs.named("otelc") {
        setups.push(super::otelc(instrumented));
    }
    let table = table(
        "Injected probes in a small service",
        &format!(
            "`bench/go/service`, built by `usdt-gen inject`: the handler alone, and {FUNCTIONS} \
             functions of the program and of `net/http`, most of which serve every request. The bar \
             for the latter is {BAR} times the CPU per request of the first row. Traced probes and \
             function probes have two events per request."
        ),
        &setups,
        "/orders?items=100",
        ROUNDS,
    )?;
    let row = table.rows.iter().position(|row| row.name == DISABLED);
    let ratio = row.and_then(|row| table.ratio(row, CPU)).map_or(f64::NAN, |ratio| ratio.median);
    let verdict = if ratio <= BAR { "within" } else { "NOT within" };
    eprintln!("{DISABLED}: {ratio:.4} times the CPU per request, {verdict} the bar of {BAR}");
    Ok(table)
}

/// Caddy with injected probes in its handlers.
fn serving_caddy() -> Result<Table, String> {
    let plain = program::caddy("caddy-stock", &[], "")?;
    let flags = flags("caddy-injected", HANDLERS, &program::caddy_folder(), ".")?;
    let injected = program::caddy("caddy-injected", &[], &flags)?;
    let functions = functions(HANDLERS, &program::caddy_folder(), ".")?;
    let args = caddy_arguments("Caddyfile", "")?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let setups = [
        Setup::new("no probes", &plain, &args),
        Setup::new("no probes, again", &plain, &args),
        Setup::new("injected into the handlers, disabled", &injected, &args),
        Setup::new("injected into the handlers, requests counted", &injected, &args)
            .traced(COUNT_HANDLERS),
        Setup::new("injected into the handlers, every request traced", &injected, &args)
            .traced(TRACE_HANDLERS),
    ];
    table(
        "Injected probes in a large service: Caddy",
        &format!(
            "Caddy 2.11.9 serves a page of 22 KiB from disk, with probes in {functions} handlers. \
             Those of its server are counted and traced: two events per request, with method and path."
        ),
        &setups,
        "/page.html",
        ROUNDS,
    )
}

/// Returns the value of GOFLAGS for rules.
pub(crate) fn flags(
    name: &str,
    rules: &str,
    folder: &Path,
    packages: &str,
) -> Result<String, String> {
    let file = harness::folder().join(format!("{name}.toml"));
    harness::write(&file, rules)?;
    let mut inject = Command::new(our_tool("usdt-gen"));
    inject.args(["inject", "--packages", packages]).arg(file).env("GOFLAGS", "");
    Ok(output(inject.current_dir(folder))?.trim().to_owned())
}

/// Builds the service with injected probes, and without those that are written in it.
fn injected(name: &str, rules: &str) -> Result<PathBuf, String> {
    let folder = root().join("bench/go");
    let out = harness::folder().join(name);
    let mut go = Command::new("go");
    go.args(["build", "-tags=usdt_off", "-o"]).arg(&out).arg("./service");
    go.current_dir(&folder).env("GOFLAGS", flags(name, rules, &folder, "./service")?);
    output(with_path(&mut go))?;
    Ok(out)
}

/// Returns the number of functions that rules match.
fn functions(rules: &str, folder: &Path, packages: &str) -> Result<usize, String> {
    let file = harness::folder().join("service-injected-list.toml");
    harness::write(&file, rules)?;
    let mut list = Command::new(our_tool("usdt-gen"));
    list.args(["inject", "--list", "--json", "--packages", packages]).arg(file).env("GOFLAGS", "");
    let lines = output(list.current_dir(folder))?;
    Ok(lines.lines().filter(|line| line.contains("\"provider\"")).count())
}
