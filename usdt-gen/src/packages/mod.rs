//! Ready-made Go packages, which fire probes for what most services use.
//!
//! Their sources are those of `go-stubs/`, where they are tested. `cargo xtask golden packages`
//! collects them in `sources.txt`. [`Package::files`] writes them for the module of a user: with its
//! import path, and with the probes that this version generates.

use crate::dlang;
use crate::golang;

/// The sources of all packages: each file after a line `-- PATH --`, as in Go's `txtar` format.
const SOURCES: &str = include_str!("sources.txt");
/// The import path of the folder that holds the packages in this repository.
const ORIGIN: &str = "usdt.local/go-stubs";
/// The folder of packages for libraries of others.
const LIBRARIES: &str = "/libraries";
/// The definition of a package's probes.
const DEFINITION: &str = "internal/probes/probes.d";

/// The build constraint of files without another one. It is the oldest Go release that the packages
/// support, and makes it the language version of the file: a module's may be older.
const CONSTRAINT: &str = "//go:build go1.21\n\n";

/// A ready-made package.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Package {
    /// The name for the command line.
    pub(crate) name: &'static str,
    /// What it traces.
    pub(crate) description: &'static str,
    /// The module that it depends on; `None` for the standard library.
    pub(crate) dependency: Option<&'static str>,
    /// Go code that uses it.
    pub(crate) example: &'static str,
    /// The folder that holds it in `go-stubs/`, with a slash before it; empty for the folder itself.
    parent: &'static str,
}

/// All packages.
pub(crate) const PACKAGES: &[Package] = &[
    Package {
        name: "http",
        description: "HTTP servers and clients of net/http",
        dependency: None,
        example: "http.ListenAndServe(addr, usdthttp.NewHandler(mux))\nclient := http.Client{Transport: usdthttp.NewTransport(nil)}",
        parent: "",
    },
    Package {
        name: "sql",
        description: "statements and transactions of database/sql",
        dependency: None,
        example: "db := sql.OpenDB(usdtsql.NewConnector(connector))",
        parent: "",
    },
    Package {
        name: "slog",
        description: "log records of log/slog, of every level",
        dependency: None,
        example: "slog.SetDefault(slog.New(usdtslog.NewHandler(handler)))",
        parent: "",
    },
    Package {
        name: "trace",
        description: "tasks, regions and logs of runtime/trace",
        dependency: None,
        example: "ctx, task := usdttrace.NewTask(ctx, \"checkout\")\ndefer task.End()",
        parent: "",
    },
    Package {
        name: "flight",
        description: "flight recorder of runtime/trace, run while it is traced (Go 1.25)",
        dependency: None,
        example: "go usdtflight.Run(ctx)",
        parent: "",
    },
    Package {
        name: "otel",
        description: "spans of the OpenTelemetry SDK",
        dependency: Some("go.opentelemetry.io/otel/sdk"),
        example: "trace.NewTracerProvider(trace.WithSpanProcessor(usdtotel.NewSpanProcessor()))",
        parent: "",
    },
    Package {
        name: "grpc",
        description: "calls of gRPC servers and clients",
        dependency: Some("google.golang.org/grpc"),
        example: "grpc.NewServer(grpc.ChainUnaryInterceptor(usdtgrpc.UnaryServerInterceptor))",
        parent: "",
    },
    Package {
        name: "redis",
        description: "commands of go-redis clients",
        dependency: Some("github.com/redis/go-redis/v9"),
        example: "client.AddHook(usdtredis.NewHook())",
        parent: LIBRARIES,
    },
    Package {
        name: "pgx",
        description: "statements that pgx sends to PostgreSQL",
        dependency: Some("github.com/jackc/pgx/v5"),
        example: "config.Tracer = usdtpgx.NewTracer()",
        parent: LIBRARIES,
    },
    Package {
        name: "mongo",
        description: "commands of MongoDB clients, version 2 of the driver",
        dependency: Some("go.mongodb.org/mongo-driver/v2"),
        example: "options.Client().SetMonitor(usdtmongo.NewMonitor())",
        parent: LIBRARIES,
    },
    Package {
        name: "mongov1",
        description: "commands of MongoDB clients, version 1 of the driver",
        dependency: Some("go.mongodb.org/mongo-driver"),
        example: "options.Client().SetMonitor(usdtmongov1.NewMonitor())",
        parent: LIBRARIES,
    },
    Package {
        name: "kafka",
        description: "records and requests of franz-go, a Kafka client",
        dependency: Some("github.com/twmb/franz-go"),
        example: "kgo.NewClient(kgo.WithHooks(usdtkafka.NewHook()))",
        parent: LIBRARIES,
    },
    Package {
        name: "nats",
        description: "messages and requests of NATS clients",
        dependency: Some("github.com/nats-io/nats.go"),
        example: "conn := usdtnats.NewConn(natsConn)\nconn.Subscribe(subject, usdtnats.NewHandler(handle))",
        parent: LIBRARIES,
    },
    Package {
        name: "aws",
        description: "calls of AWS services",
        dependency: Some("github.com/aws/aws-sdk-go-v2"),
        example: "config.APIOptions = append(config.APIOptions, usdtaws.AddMiddleware)",
        parent: LIBRARIES,
    },
    Package {
        name: "rpc",
        description: "calls of net/rpc servers and clients",
        dependency: None,
        example: "server.ServeCodec(usdtrpc.NewServerCodec(codec))",
        parent: LIBRARIES,
    },
    Package {
        name: "gin",
        description: "HTTP requests that Gin handles, with their routes",
        dependency: Some("github.com/gin-gonic/gin"),
        example: "engine.Use(usdtgin.Middleware)",
        parent: LIBRARIES,
    },
    Package {
        name: "echo",
        description: "HTTP requests that Echo handles, with their routes",
        dependency: Some("github.com/labstack/echo/v4"),
        example: "server.Use(usdtecho.Middleware)",
        parent: LIBRARIES,
    },
    Package {
        name: "chi",
        description: "HTTP requests of chi routers, with their routes",
        dependency: Some("github.com/go-chi/chi/v5"),
        example: "router.Use(usdtchi.Middleware)",
        parent: LIBRARIES,
    },
    Package {
        name: "fiber",
        description: "HTTP requests that Fiber handles, with their routes",
        dependency: Some("github.com/gofiber/fiber/v2"),
        example: "app.Use(usdtfiber.Middleware)",
        parent: LIBRARIES,
    },
];

/// A file of a package.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SourceFile {
    /// Path below the folder of the package.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Returns the package with this name, with or without `usdt` before it.
pub(crate) fn find(name: &str) -> Option<&'static Package> {
    PACKAGES.iter().find(|package| package.name == name || package.folder() == name)
}

/// Returns true if `usdt-gen` has written a file. The go command, gofmt and linters know the line.
pub(crate) fn is_generated(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first.starts_with("// Code generated by usdt-gen ") && first.ends_with(" DO NOT EDIT.")
}

impl Package {
    /// The name of its folder and of the Go package.
    pub(crate) fn folder(&self) -> String {
        format!("usdt{}", self.name)
    }

    /// Returns the files of the package if its import path is `import_path`.
    ///
    /// # Errors
    ///
    /// Fails only if the sources are broken.
    pub(crate) fn files(&self, import_path: &str) -> Result<Vec<SourceFile>, String> {
        let folder = self.folder();
        let origin = format!("{ORIGIN}{}/{folder}", self.parent);
        let prefix = format!("{folder}/");
        let version = env!("CARGO_PKG_VERSION");
        let header = format!(
            "// Code generated by usdt-gen {version} (usdt-gen add {}). DO NOT EDIT.\n\n",
            self.name
        );
        let mut files = Vec::new();
        for (path, text) in sources()
            .into_iter()
            .filter_map(|(path, text)| Some((path.strip_prefix(&prefix)?, text)))
        {
            if path == DEFINITION {
                files.extend(probes(text)?);
                files.push(SourceFile { path: path.to_owned(), text: text.to_owned() });
            } else {
                let constraint = if text.starts_with("//go:build ") { "" } else { CONSTRAINT };
                let text = text.replace(&origin, import_path);
                let text = format!("{header}{constraint}{text}");
                files.push(SourceFile { path: path.to_owned(), text });
            }
        }
        Ok(files)
    }
}

/// Generates the package with the probes of a definition.
fn probes(definition: &str) -> Result<Vec<SourceFile>, String> {
    let (folder, name) = DEFINITION.rsplit_once('/').unwrap_or(("", DEFINITION));
    let parsed = dlang::parse_with(name, definition, &dlang::Options::default());
    let model = parsed.model.ok_or_else(|| format!("{DEFINITION} is not valid"))?;
    let package = golang::Package::named("probes");
    let files = golang::generate(&model, name, package).map_err(|error| error.to_string())?;
    let add_folder = |file: golang::File| SourceFile {
        path: format!("{folder}/{}", file.name),
        text: file.text,
    };
    Ok(files.into_iter().map(add_folder).collect())
}

/// Splits the sources into paths and contents.
fn sources() -> Vec<(&'static str, &'static str)> {
    let mut files: Vec<(&str, usize, usize)> = Vec::new();
    let mut end = 0;
    for line in SOURCES.split_inclusive('\n') {
        end += line.len();
        match line.strip_prefix("-- ").and_then(|line| line.strip_suffix(" --\n")) {
            Some(path) => files.push((path, end, end)),
            None => files.last_mut().into_iter().for_each(|file| file.2 = end),
        }
    }
    files.iter().filter_map(|(path, from, to)| Some((*path, SOURCES.get(*from..*to)?))).collect()
}

#[cfg(test)]
mod tests;
