//! C probes defined with SystemTap's header, in C programs and linked into Go programs.

use usdt_e2e::{
    Need, Process, attach, command, events_and_summary, have, list_probes, stdout, text,
};

const C_PROGRAM: &str = r#"
#include <unistd.h>
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
unsigned short lang_work_semaphore __attribute__((section(".probes")));
int main(int argc, char **argv) {
  while (!lang_work_semaphore) usleep(1000);
  for (volatile long i = 0; i < 5; i++) {
    signed char small = (signed char)-i;
    unsigned short wide = 65535 - i;
    STAP_PROBE4(lang, work, i, small, wide, 42);
  }
  return 0;
}
"#;

#[test]
fn traces_c_probes_defined_with_sdt_h() {
    if !have(&[Need::Bpf, Need::Program("gcc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, app) = (folder.path().join("app.c"), folder.path().join("app"));
    std::fs::write(&source, C_PROGRAM).unwrap();
    for flags in [&["-O2", "-no-pie"][..], &["-O0", "-no-pie"], &["-O2"]] {
        stdout(command("gcc").args(flags).arg("-o").arg(&app).arg(&source));
        let probes = list_probes(&app);
        assert_eq!(probes.len(), 1, "{probes:?}");
        assert_eq!(
            (&probes[0]["provider"], &probes[0]["source"]),
            (&"lang".into(), &"note".into())
        );
        let target = Process::start(&mut command(&app));
        target.wait_for_exec(&app);
        let out = attach(&["trace", "-p", &target.pid().to_string(), "--json", "lang:work"]);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let (events, summary) = events_and_summary(&text(&out.stdout));
        assert_eq!(summary["hits"], 5, "{flags:?}");
        for (i, event) in (0i64..).zip(&events) {
            let expected =
                serde_json::json!({"arg0": i, "arg1": -i, "arg2": 65535 - i, "arg3": 42});
            assert_eq!(event["args"], expected, "{flags:?} {}", probes[0]["args"]);
            assert!(event.get("goid").is_none(), "C has no goroutines");
        }
    }
}

/// Operands may name symbols, as compilers emit for `static` and global variables. They are
/// resolved wherever the program is mapped.
#[test]
#[cfg(target_arch = "x86_64")]
fn resolves_symbols_in_operands() {
    if !have(&[Need::Bpf, Need::Program("cc")]) {
        return;
    }
    let args = "4@counter(%rip) -4@4+counter(%rip) 2@counter+8(%rip) 1@-2+table(%rip) 8@8(%rsp) 4@nowhere(%rip)";
    let source = crate::verification::ASSEMBLY
        .replace("-4@%eax", args)
        .replace("movl $7, %eax", "pushq $77\n    pushq $0")
        .replace("xorl %eax, %eax", "popq %rax\n    popq %rcx\n    xorl %eax, %eax")
        .replace(
            "    .section .probes",
            "    .data\n    .globl counter\ncounter:\n    .4byte 42, -43\n    .2byte 44\n    .byte 45, 46\ntable:\n    .8byte 0\n    .section .probes",
        );
    for flag in ["-no-pie", "-pie"] {
        let folder = tempfile::tempdir().unwrap();
        let (file, app) = (folder.path().join("p.S"), folder.path().join("p"));
        std::fs::write(&file, &source).unwrap();
        // The missing symbol is missing only in the note, so the program links.
        stdout(command("cc").arg(flag).arg("-o").arg(&app).arg(&file));
        for backend in ["embedded", "bcc"] {
            if backend == "bcc" && !have(&[Need::Bcc]) {
                continue;
            }
            let out =
                attach(&["trace", "--json", "--backend", backend, "--", app.to_str().unwrap()]);
            let (events, _) = events_and_summary(&text(&out.stdout));
            let expected = serde_json::json!({"arg0": 42, "arg1": -43, "arg2": 44, "arg3": 45, "arg4": 77, "arg5": null});
            assert_eq!(events[0]["args"], expected, "{flag} {backend}");
            let warnings = text(&out.stderr);
            assert!(warnings.contains("symbol `nowhere` is not in the file"), "{warnings}");
        }
    }
}

const GO_PROGRAM: &str = r#"package main

/*
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
unsigned short lang_inner_semaphore __attribute__((section(".probes")));
static void inner(int n) { STAP_PROBE1(lang, inner, n); }
*/
import "C"

import "example.com/app/probes"

func main() {
	for i := 0; i < 3; i++ {
		probes.Outer(int32(i), "text")
		C.inner(C.int(i))
	}
}
"#;

#[test]
fn traces_c_probes_inside_go_programs() {
    if !have(&[Need::Bpf, Need::Program("gcc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| usdt_e2e::write(folder.path(), name, content);
    write("go.mod", "module example.com/app\n\ngo 1.21\n");
    write("main.go", GO_PROGRAM);
    write("probes/probes.d", "provider app { probe outer(int n, string s); };\n");
    write("probes/gen.go", "package probes\n\n//go:generate usdt-gen probes.d\n");
    for args in
        [&["generate", "./..."][..], &["build", "-toolexec=usdt-gen toolexec", "-o", "app", "."]]
    {
        stdout(command("go").args(args).env("CGO_ENABLED", "1").current_dir(folder.path()));
    }
    let app = folder.path().join("app");
    let names: Vec<String> =
        list_probes(&app).iter().map(|p| p["probe"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["inner", "outer"], "the notes of the C compiler come first");
    let out = attach(&["trace", "--json", "--", app.to_str().unwrap()]);
    let (events, summary) = events_and_summary(&text(&out.stdout));
    assert_eq!(summary["hits"], 6);
    for (i, pair) in (0..).zip(events.chunks(2)) {
        assert_eq!(pair[0]["args"], serde_json::json!({"n": i, "s": "text"}));
        assert_eq!(pair[1]["args"], serde_json::json!({"arg0": i}));
        assert!(pair[0].get("goid").is_some() && pair[1].get("goid").is_none());
    }
    // Other tracers list both probes, also after strip.
    let assert_lists_both = |tool: &mut std::process::Command| {
        let out = stdout(tool);
        assert!(out.contains("outer") && out.contains("inner"), "{out}");
    };
    if have(&[Need::Program("bpftrace"), Need::Program("tplist-bpfcc"), Need::Program("gdb")]) {
        assert_lists_both(command("bpftrace").args(["-l", &format!("usdt:{}:*", app.display())]));
        assert_lists_both(command("tplist-bpfcc").arg("-l").arg(&app));
        assert_lists_both(
            command("gdb").args(["-nx", "-batch", "-ex", "info probes stap"]).arg(&app),
        );
        stdout(command("strip").arg(&app));
        assert_lists_both(
            command("gdb").args(["-nx", "-batch", "-ex", "info probes stap"]).arg(&app),
        );
        assert_eq!(list_probes(&app).len(), 2);
    }
}
