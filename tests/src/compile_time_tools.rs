//! Other tools that rewrite programs during their build: Orchestrion and OpenTelemetry's otelc.

use crate::output;
use std::path::Path;
use std::process::Command;

const ORCHESTRION: &str = "github.com/DataDog/orchestrion@v1.15.0";
const INTEGRATION: &str = "github.com/DataDog/dd-trace-go/contrib/net/http/v2@v2.10.1";
const OTELC: &str = "go.opentelemetry.io/otelc/tool/cmd/otelc@v1.0.1";
/// Environment variable: the folder of otelc's source, for machines that cannot download it.
const OTELC_SOURCE: &str = "OTELC_SOURCE";

/// Adds Orchestrion with its integration of `net/http` to a module, and builds it as `program`. `go`
/// returns a go command.
///
/// # Errors
///
/// Fails with the last line of a command's errors.
pub fn add_orchestrion(
    go: &dyn Fn() -> Command,
    module: &Path,
    program: &Path,
) -> Result<(), String> {
    let imports = "//go:build tools\n\npackage tools\n\nimport (\n\t_ \"github.com/DataDog/dd-trace-go/contrib/net/http/v2\" // integration\n\t_ \"github.com/DataDog/orchestrion\"\n)\n";
    std::fs::write(module.join("orchestrion.tool.go"), imports).map_err(|e| e.to_string())?;
    output(go().args(["get", ORCHESTRION, INTEGRATION]).current_dir(module))?;
    output(go().args(["mod", "tidy"]).current_dir(module))?;
    let mut build = go();
    build.args(["build", "-o"]).arg(program).arg("github.com/DataDog/orchestrion");
    output(build.current_dir(module)).map(drop)
}

/// Builds otelc as `program`, which ends in `/otelc`, for builds of a module. `go` returns a go
/// command.
///
/// # Errors
///
/// Fails with the last line of a command's errors.
pub fn build_otelc(go: &dyn Fn() -> Command, module: &Path, program: &Path) -> Result<(), String> {
    let Some(source) = std::env::var_os(OTELC_SOURCE) else {
        let folder = program.parent().ok_or("the program is in no folder")?;
        return output(go().args(["install", OTELC]).env("GOBIN", folder))
            .map(drop)
            .map_err(|e| format!("{e}; {OTELC_SOURCE} names a folder with the source instead"));
    };
    let mut build = go();
    build.args(["build", "-o"]).arg(program).arg("./tool/cmd/otelc");
    output(build.current_dir(&source))?;
    let replace = format!("-replace=go.opentelemetry.io/otelc={}", Path::new(&source).display());
    output(go().args(["mod", "edit", &replace]).current_dir(module)).map(drop)
}
