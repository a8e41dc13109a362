//! The corpus of definitions: generated, built by Go, and compared with C.

use std::path::{Path, PathBuf};
use usdt_e2e::{Need, command, have, root, stdout, usdt_gen};

/// Returns the folder of the corpus, which is shared with the unit tests of usdt-gen.
fn corpus() -> PathBuf {
    root().join("usdt-gen/corpus")
}

fn corpus_definitions() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(corpus().join("files")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 40);
    files
}

/// Go builds the package of every definition, on platforms with and without probes, and gofmt and
/// vet find nothing. The packages assert the layouts of their structs at compile time.
#[test]
fn every_corpus_definition_builds() {
    let module = tempfile::tempdir().unwrap();
    std::fs::write(module.path().join("go.mod"), "module example.com/corpus\n\ngo 1.21\n").unwrap();
    let include = corpus().join("include");
    for file in corpus_definitions() {
        let package = module.path().join(file.file_stem().unwrap());
        let args = [
            "-I",
            include.to_str().unwrap(),
            "-o",
            package.to_str().unwrap(),
            file.to_str().unwrap(),
        ];
        let out = usdt_gen(&args);
        assert!(
            out.status.success(),
            "{}: {}",
            file.display(),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    assert_eq!(stdout(command("gofmt").args(["-d", "."]).current_dir(module.path())), "");
    stdout(command("go").args(["vet", "./..."]).current_dir(module.path()));
    for (os, arch) in
        [("linux", "amd64"), ("linux", "arm64"), ("darwin", "arm64"), ("linux", "386")]
    {
        let mut build = command("go");
        stdout(
            build
                .args(["build", "./..."])
                .env("GOOS", os)
                .env("GOARCH", arch)
                .current_dir(module.path()),
        );
    }
}

/// Sizes and offsets in the model equal those of the C compiler; otherwise a `_Static_assert`
/// fails.
#[test]
fn struct_layouts_match_c() {
    if !have(&[Need::Program("cc")]) {
        return;
    }
    let mut asserted = 0;
    for name in [
        "structs",
        "bit_fields",
        "unions",
        "struct_constants",
        "recursive_struct",
        "forward_typedefs",
    ] {
        let text = std::fs::read_to_string(corpus().join(format!("files/{name}.d"))).unwrap();
        let model = usdt_gen::dlang::parse(&text).model.unwrap();
        let c = c_source(&text, &model);
        asserted += c.matches("_Static_assert").count();
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("layout.c");
        std::fs::write(&source, c).unwrap();
        stdout(command("cc").args(["-std=gnu11", "-fsyntax-only"]).arg(&source));
    }
    assert!(asserted > 40, "{asserted}");
}

/// Types that need no declaration have the width and the sign of the C compiler's headers.
#[test]
fn built_in_types_match_c() {
    if !have(&[Need::Program("cc")]) {
        return;
    }
    let definition = corpus().join("files/system_types.d");
    let schema = usdt_gen(&["schema", definition.to_str().unwrap()]);
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    let mut c = String::from("#define _GNU_SOURCE\n");
    for header in [
        "stddef.h",
        "stdint.h",
        "uchar.h",
        "wchar.h",
        "signal.h",
        "pthread.h",
        "sys/types.h",
        "sys/socket.h",
        "netinet/in.h",
    ] {
        c.push_str(&format!("#include <{header}>\n"));
    }
    let mut asserted = 0;
    for probe in schema["providers"][0]["probes"].as_array().unwrap() {
        let is_of_linux = !probe["name"].as_str().unwrap().starts_with("illumos");
        for arg in probe["args"].as_array().unwrap().iter().filter(|_| is_of_linux) {
            let (ty, size) = (arg["type"].as_str().unwrap(), arg["size"].as_u64().unwrap());
            // C23 has this one.
            if ty == "char8_t" {
                continue;
            }
            asserted += 1;
            c.push_str(&format!("_Static_assert(sizeof({ty}) == {size}, \"{ty}\");\n"));
            let is_pointer = ty.contains('*') || ["timer_t", "caddr_t"].contains(&ty);
            // The sign of `wchar_t` differs between amd64 and arm64.
            if !is_pointer && ty != "wchar_t" {
                let sign = if arg["signed"].as_bool().unwrap() { "<" } else { ">" };
                c.push_str(&format!("_Static_assert(({ty})-1 {sign} 0, \"sign of {ty}\");\n"));
            }
        }
    }
    assert!(asserted >= 60, "{asserted}");
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("types.c");
    std::fs::write(&source, c).unwrap();
    stdout(command("cc").args(["-std=gnu11", "-fsyntax-only"]).arg(&source));
}

/// Converts the types of a definition to C, with assertions about their layout, and leaves out
/// providers and syntax that only D has.
fn c_source(text: &str, model: &usdt_gen::model::Model) -> String {
    use usdt_gen::model::StructName;
    let mut out = String::from("#include <stddef.h>\n#include <stdint.h>\n");
    let mut depth = None;
    for line in text.lines() {
        if line.starts_with("provider") {
            depth = Some(0);
        }
        if depth.is_none() {
            let constant = line.strip_prefix("inline int ").and_then(|l| l.strip_suffix(';'));
            match constant {
                Some(constant) => out.push_str(&format!("enum {{ {constant} }};\n")),
                None => out.push_str(&format!("{line}\n")),
            }
        } else if line.ends_with("};") {
            depth = None;
        }
    }
    for s in &model.structs {
        let name = match &s.name {
            StructName::Tag(tag) => {
                format!("{} {tag}", if s.is_union { "union" } else { "struct" })
            }
            StructName::Typedef(name) => name.clone(),
            StructName::Member { .. } => continue,
        };
        out.push_str(&format!("_Static_assert(sizeof({name}) == {}, \"size\");\n", s.size));
        out.push_str(&format!("_Static_assert(_Alignof({name}) == {}, \"align\");\n", s.align));
        for f in s.fields.iter().filter(|f| !f.is_bit_field()) {
            if let Some(field) = &f.name {
                out.push_str(&format!(
                    "_Static_assert(offsetof({name}, {field}) == {}, \"{field}\");\n",
                    f.offset
                ));
            }
        }
    }
    out
}

/// A construct that a dialect rejects is an error that names the dialect, and nothing is written.
#[test]
fn strict_rejects_what_other_implementations_reject() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.d");
    std::fs::write(
        &file,
        "// line\n#define N int\n/* a /* b */\nprovider p {\n\tprobe a(N x, bool ok, const void **deep);\n\tprobe b(void);\n}\n",
    )
    .unwrap();
    let run = |dialect: &str| {
        let out = usdt_gen(&["--strict", dialect, file.to_str().unwrap()]);
        assert_eq!(out.status.code(), Some(2), "{dialect}");
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        errors
            .lines()
            .filter_map(|l| l.strip_prefix("error: "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let written = format!("{}: 4 errors; nothing was written", file.display());
    assert_eq!(
        run("illumos"),
        [
            "DTrace has no `//` comments",
            "DTrace does not allow `/*` inside a comment",
            "DTrace has no type `bool`",
            "expected `;` after the provider's `}`, found the end of the file",
            &written,
        ]
    );
    assert_eq!(run("apple")[0], "DTrace does not allow `/*` inside a comment");
    assert_eq!(
        run("systemtap")[..2],
        [
            "SystemTap's dtrace does not understand this type",
            "SystemTap's dtrace counts `(void)` as an argument"
        ]
    );
    assert!(!Path::new(&file).with_extension("go").exists());
    assert!(
        usdt_gen(&[file.to_str().unwrap()]).status.success(),
        "without --strict, all of these constructs are accepted"
    );
}

/// bpftrace reads a struct argument with its C definition.
///
/// bpftrace enables a probe before it attaches, so the program fires until the tracer has exited.
#[test]
fn bpftrace_reads_struct_arguments() {
    if !have(&[Need::Bpf, Need::Program("bpftrace")]) {
        return;
    }
    let module = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| usdt_e2e::write(module.path(), name, content);
    let types =
        "struct conn { int fd; struct { char host[8]; uint16_t port; } peer; uint64_t sent; };\n";
    write("go.mod", "module example.com/app\n\ngo 1.21\n");
    write(
        "probes/probes.d",
        &format!(
            "{types}enum why {{ WHY_PEER = 1, WHY_TIMEOUT }};\nprovider app {{\n\t/** @param c as it was */\n\tprobe closed(struct conn *c, enum why why);\n}};\n"
        ),
    );
    write(
        "main.go",
        "package main\n\nimport (\n\t\"time\"\n\n\t\"example.com/app/probes\"\n)\n\nfunc main() {\n\
         \tc := &probes.Conn{Fd: 7, Sent: 1 << 40}\n\tcopy(c.Peer.Host[:], \"gopher\")\n\tc.Peer.Port = 443\n\
         \tfor !probes.ClosedEnabled() {\n\t\ttime.Sleep(time.Millisecond)\n\t}\n\
         \tfor probes.ClosedEnabled() {\n\t\tprobes.Closed(nil, probes.WhyPeer)\n\t\tprobes.Closed(c, probes.WhyTimeout)\n\
         \t\ttime.Sleep(10 * time.Millisecond)\n\t}\n}\n",
    );
    stdout(command("usdt-gen").arg("probes/probes.d").current_dir(module.path()));
    let source = std::fs::read_to_string(module.path().join("probes/probes.go")).unwrap();
    assert!(source.contains("// Arguments:\n//   - c: as it was\n"), "{source}");
    stdout(
        command("go")
            .args(["build", "-toolexec=usdt-gen toolexec", "-o", "app", "."])
            .current_dir(module.path()),
    );
    let app = module.path().join("app");
    let target = usdt_e2e::Process::start(&mut command(&app));
    let script = format!(
        "struct peer {{ char host[8]; uint16_t port; }} struct conn {{ int fd; struct peer peer; uint64_t sent; }}\n\
         usdt:{}:app:closed {{ if (arg0 != 0) {{ $c = (struct conn *)arg0; printf(\"fd %d host %s port %d sent %lu why %d\\n\", \
         $c->fd, $c->peer.host, $c->peer.port, $c->sent, arg1); exit(); }} }}",
        app.display()
    );
    let tracer = usdt_e2e::Process::start(command("bpftrace").args(["-e", &script]));
    let (_, out, errors) = tracer.finish();
    assert!(out.contains("fd 7 host gopher port 443 sent 1099511627776 why 2\n"), "{out}{errors}");
    assert!(target.finish().0.success());
}
