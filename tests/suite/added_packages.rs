//! The ready-made packages in a module of a user, as `usdt-gen add` writes them.

use gobinary::supported_releases::TESTED;
use std::path::Path;
use std::process::{Command, Output};
use usdt_e2e::{Need, command, have, list_probes, stdout, text, tools, write};

/// A program that uses the packages that need nothing but the standard library.
const MAIN: &str = r#"package main

import (
	"database/sql"
	"log/slog"
	"net/http"
	"os"

	"example.com/app/internal/usdt/usdthttp"
	"example.com/app/internal/usdt/usdtslog"
	"example.com/app/internal/usdt/usdtsql"
	"example.com/app/probes"
)

func main() {
	probes.RequestStart(1, "GET", "/")
	slog.SetDefault(slog.New(usdtslog.NewHandler(slog.NewJSONHandler(os.Stderr, nil))))
	sql.Register("usdt", usdtsql.NewDriver(nil))
	if db, err := sql.Open("usdt", ""); err == nil {
		db.Exec("")
	}
	client := http.Client{Transport: usdthttp.NewTransport(nil)}
	client.Get("")
	http.ListenAndServe("127.0.0.1:0", usdthttp.NewHandler(http.NotFoundHandler()))
}
"#;

/// A program that uses the packages with dependencies.
const DEPENDENT: &str = r#"package main

import (
	"example.com/app/internal/usdt/usdtgrpc"
	"example.com/app/internal/usdt/usdtotel"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
)

func main() {
	trace.NewTracerProvider(trace.WithSpanProcessor(usdtotel.NewSpanProcessor()))
	grpc.NewServer(
		grpc.ChainUnaryInterceptor(usdtgrpc.UnaryServerInterceptor),
		grpc.ChainStreamInterceptor(usdtgrpc.StreamServerInterceptor),
	)
	grpc.Dial("", grpc.WithUnaryInterceptor(usdtgrpc.UnaryClientInterceptor), grpc.WithStreamInterceptor(usdtgrpc.StreamClientInterceptor))
}
"#;

/// A module with the language version 1.16, as old services have it.
fn module(main: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "go.mod", "module example.com/app\n\ngo 1.16\n");
    write(folder.path(), "main.go", main);
    folder
}

/// Runs `usdt-gen` in a folder.
fn usdt_gen(folder: &Path, args: &[&str]) -> Output {
    command(tools().join("usdt-gen")).args(args).current_dir(folder).output().unwrap()
}

fn add(folder: &Path, args: &[&str]) {
    let out = usdt_gen(folder, &[&["add"], args].concat());
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
}

/// Runs the go command in a folder, with a release of the toolchain.
fn go(folder: &Path, release: &str, args: &[&str]) -> String {
    let mut go = command("go");
    go.args(args).current_dir(folder).env("GOTOOLCHAIN", format!("go{release}"));
    stdout(go.env("GOFLAGS", "").env("GOWORK", ""))
}

/// Vets and builds the module, and returns the providers of the program.
fn build(folder: &Path, release: &str, flags: &[&str]) -> Vec<String> {
    let vet = [&["vet"], flags, &["./..."]].concat();
    go(folder, release, &vet);
    let build = [&["build", "-toolexec=usdt-gen toolexec", "-o", "app"], flags, &["."]].concat();
    go(folder, release, &build);
    providers(&folder.join("app"))
}

fn providers(program: &Path) -> Vec<String> {
    let mut providers: Vec<String> = list_probes(program)
        .iter()
        .map(|probe| {
            assert_eq!(probe["source"], "note", "{probe}");
            probe["provider"].as_str().unwrap().to_owned()
        })
        .collect();
    providers.sort();
    providers.dedup();
    providers
}

#[test]
fn packages_become_part_of_an_old_module() {
    let folder = module(MAIN);
    let out = usdt_gen(folder.path(), &["init"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    add(folder.path(), &["http", "sql", "slog"]);
    for release in [TESTED[0], TESTED[TESTED.len() - 1]] {
        go(folder.path(), release, &["mod", "tidy"]);
        assert_eq!(
            build(folder.path(), release, &[]),
            ["app", "net_http", "slog", "sql"],
            "{release}"
        );
    }
    assert_eq!(stdout(Command::new("gofmt").args(["-l", "."]).current_dir(folder.path())), "");
}

#[test]
fn packages_with_dependencies_take_the_version_that_the_module_has() {
    let folder = module(DEPENDENT);
    add(folder.path(), &["grpc", "otel"]);
    // The oldest versions that work, and those that the packages are tested with.
    let tested = |name: &str, module: &str| {
        let go_mod = usdt_e2e::root().join("go-stubs").join(name).join("go.mod");
        let go_mod = std::fs::read_to_string(go_mod).unwrap();
        let mut words = go_mod.split_whitespace().skip_while(move |word| *word != module);
        words.nth(1).unwrap().to_owned()
    };
    let (grpc, otel) = (
        tested("usdtgrpc", "google.golang.org/grpc"),
        tested("usdtotel", "go.opentelemetry.io/otel"),
    );
    let newest = TESTED[TESTED.len() - 1];
    for (release, grpc, otel) in [(TESTED[0], "v1.28.0", "v1.0.0"), (newest, &*grpc, &*otel)] {
        let (grpc, otel) = (
            format!("google.golang.org/grpc@{grpc}"),
            ["", "/sdk", "/trace"].map(|part| format!("go.opentelemetry.io/otel{part}@{otel}")),
        );
        go(folder.path(), release, &["get", &grpc, &otel[0], &otel[1], &otel[2]]);
        go(folder.path(), release, &["mod", "tidy"]);
        assert_eq!(build(folder.path(), release, &[]), ["grpc", "otel"], "{release}");
    }
    go(folder.path(), newest, &["mod", "vendor"]);
    assert_eq!(build(folder.path(), newest, &["-mod=vendor"]), ["grpc", "otel"]);
}

/// Each package, its module, and the oldest version that it compiles with.
const LIBRARIES: [(&str, &str, &str); 12] = [
    ("redis", "github.com/redis/go-redis/v9", "v9.0.0"),
    ("pgx", "github.com/jackc/pgx/v5", "v5.3.0"),
    ("mongo", "go.mongodb.org/mongo-driver/v2", "v2.0.0"),
    ("mongov1", "go.mongodb.org/mongo-driver", "v1.13.0"),
    ("kafka", "github.com/twmb/franz-go", "v1.10.0"),
    ("nats", "github.com/nats-io/nats.go", "v1.11.0"),
    ("aws", "github.com/aws/aws-sdk-go-v2", "v1.2.0"),
    ("aws", "github.com/aws/smithy-go", "v1.1.0"),
    ("gin", "github.com/gin-gonic/gin", "v1.5.0"),
    ("echo", "github.com/labstack/echo/v4", "v4.1.16"),
    ("chi", "github.com/go-chi/chi/v5", "v5.0.0"),
    ("fiber", "github.com/gofiber/fiber/v2", "v2.20.2"),
];

/// The packages' own tests use the newest versions.
#[test]
fn packages_for_libraries_compile_with_old_versions() {
    let folder = module("package main\n\nfunc main() {}\n");
    let mut names = LIBRARIES.map(|(name, ..)| name).to_vec();
    names.dedup();
    add(folder.path(), &names);
    let versions = LIBRARIES.map(|(_, module, version)| format!("{module}@{version}"));
    let mut get = vec!["get"];
    get.extend(versions.iter().map(String::as_str));
    go(folder.path(), TESTED[0], &get);
    go(folder.path(), TESTED[0], &["vet", "-mod=mod", "./..."]);
    let page = std::fs::read_to_string(usdt_e2e::root().join("docs/packages.md")).unwrap();
    for (name, _, version) in LIBRARIES {
        let rows: Vec<&str> =
            page.lines().filter(|l| l.starts_with(&format!("| `{name}` |"))).collect();
        let version = version.trim_start_matches('v').trim_end_matches(".0");
        assert!(rows.len() == 1 && rows[0].contains(version), "{name} {version}: {rows:?}");
    }
}

#[test]
fn packages_work_in_a_workspace() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "go.work", "go 1.21\n\nuse (\n\t./app\n\t./lib\n)\n");
    write(folder.path(), "lib/go.mod", "module example.com/lib\n\ngo 1.21\n");
    write(folder.path(), "app/go.mod", "module example.com/app\n\ngo 1.21\n");
    write(
        folder.path(),
        "app/main.go",
        "package main\n\nimport (\n\t\"net/http\"\n\n\t\"example.com/lib/tracing/usdthttp\"\n)\n\nfunc main() { http.ListenAndServe(\"127.0.0.1:0\", usdthttp.NewHandler(http.NotFoundHandler())) }\n",
    );
    // From the folder of the workspace, into one of its modules.
    add(folder.path(), &["http", "-o", "lib/tracing"]);
    let app = folder.path().join("app");
    assert_eq!(build(&app, TESTED[TESTED.len() - 1], &[]), ["net_http"]);
}

/// `go install` ignores `replace` and reads nothing but the published module.
#[test]
fn a_published_module_is_installed() {
    if !have(&[Need::Program("python3")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("zip/example.com/app@v1.0.0");
    write(&root, "go.mod", "module example.com/app\n\ngo 1.21\n");
    write(&root, "main.go", MAIN);
    let out = usdt_gen(&root, &["init"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    add(&root, &["http", "sql", "slog"]);
    let versions = folder.path().join("proxy/example.com/app/@v");
    write(&versions, "list", "v1.0.0\n");
    write(&versions, "v1.0.0.info", r#"{"Version":"v1.0.0","Time":"2026-01-01T00:00:00Z"}"#);
    std::fs::copy(root.join("go.mod"), versions.join("v1.0.0.mod")).unwrap();
    // The go command rejects entries for folders, which `zip` and `zipfile -c` add.
    let script = "import sys, zipfile, pathlib\nwith zipfile.ZipFile(sys.argv[1], 'w') as z:\n for p in pathlib.Path('example.com').rglob('*'):\n  p.is_file() and z.write(p)";
    let mut zip = Command::new("python3");
    zip.args(["-c", script]).arg(versions.join("v1.0.0.zip"));
    stdout(zip.current_dir(folder.path().join("zip")));
    let mut install = command("go");
    install.args(["install", "-toolexec=usdt-gen toolexec", "example.com/app@v1.0.0"]);
    install.env("GOPROXY", format!("file://{}", folder.path().join("proxy").display()));
    install.envs([("GONOSUMDB", "example.com"), ("GOFLAGS", "-modcacherw")]);
    install.env("GOMODCACHE", folder.path().join("cache")).env("GOBIN", folder.path().join("bin"));
    stdout(install.current_dir(folder.path()));
    assert_eq!(providers(&folder.path().join("bin/app")), ["app", "net_http", "slog", "sql"]);
}

#[test]
fn stale_packages_are_found_and_rewritten() {
    let folder = module(MAIN);
    add(folder.path(), &["http", "sql"]);
    let check = |args: &[&str]| usdt_gen(folder.path(), &[&["add", "--check"], args].concat());
    assert_eq!(check(&[]).status.code(), Some(0));
    let file = folder.path().join("internal/usdt/usdthttp/handler.go");
    let content = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, content.replace("NewHandler", "OldHandler")).unwrap();
    let header = content.lines().next().unwrap();
    let left = folder.path().join("internal/usdt/usdtsql/removed.go");
    std::fs::write(&left, format!("{header}\n\npackage usdtsql\n")).unwrap();
    let out = check(&[]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stdout).contains("+func NewHandler("), "{}", text(&out.stdout));
    assert_eq!(text(&out.stderr), "out of date: http, sql; run usdt-gen add --update\n");
    assert_eq!(check(&["slog"]).status.code(), Some(1), "a package that is not there");
    add(folder.path(), &["--update"]);
    assert_eq!(check(&[]).status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
    assert!(!left.exists());
    assert!(!folder.path().join("internal/usdt/usdtslog").exists());
}

#[test]
fn files_of_others_are_never_overwritten() {
    let folder = module(MAIN);
    let own = write(folder.path(), "internal/usdt/usdtsql/conn.go", "package usdtsql // mine\n");
    let out = usdt_gen(folder.path(), &["add", "http", "sql"]);
    assert_eq!(out.status.code(), Some(2));
    let errors = text(&out.stderr);
    assert!(
        errors.contains("conn.go was not written by usdt-gen; nothing was written"),
        "{errors}"
    );
    assert_eq!(std::fs::read_to_string(own).unwrap(), "package usdtsql // mine\n");
    assert!(!folder.path().join("internal/usdt/usdthttp").exists());
    let nothing = tempfile::tempdir().unwrap();
    for (args, folder, expected) in [
        (&["add", "http"][..], nothing.path(), "no go.mod in this directory or its parents"),
        (&["add", "htp"], folder.path(), "no such package; the packages are http, sql, slog"),
        (&["add"], folder.path(), "required arguments were not provided"),
        (&["add", "--update"], folder.path(), "has no packages of usdt-gen"),
        (&["add", "http", "-o", "a b"], folder.path(), "no import path of Go"),
    ] {
        let out = usdt_gen(folder, args);
        let errors = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{errors}");
        assert!(errors.contains(expected), "{errors}");
    }
}
