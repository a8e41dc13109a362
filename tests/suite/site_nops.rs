//! The NOPs of sites that C programs have: which instruction is attached to, and that the program
//! keeps its data.
#![cfg(target_arch = "x86_64")]

use serde_json::Value;
use usdt_attach::plan::NopOptimization;
use usdt_e2e::{Need, attach, command, copy, events_and_summary, have, stdout, text};

/// A leaf function, whose data is below the stack pointer. The bytes of the site are a macro.
const PROGRAM: &str = r#"
#include <stdio.h>
__asm__(".pushsection .stapsdt.base, \"a\", @progbits\nprobe_base: .byte 0\n.popsection");
__attribute__((noinline)) static long leaf(int n) {
  volatile long kept[8];
  for (int i = 0; i < 8; i++) kept[i] = n + i;
  __asm__ volatile("990: .byte " NOPS "\n"
                   ".pushsection .note.stapsdt, \"\", @note\n.balign 4\n"
                   ".4byte 992f-991f, 994f-993f, 3\n991: .asciz \"stapsdt\"\n992: .balign 4\n"
                   "993: .8byte 990b, probe_base, 0\n.asciz \"lang\"\n.asciz \"work\"\n"
                   ".asciz \"-4@%0\"\n994: .balign 4\n.popsection"
                   :: "r"(n));
  long sum = 0;
  for (int i = 0; i < 8; i++) sum += kept[i] - i;
  return sum;
}
int main(int argc, char **argv) {
  long damaged = 0;
  for (int n = 0; n < 500; n++) damaged += leaf(n) != 8L * n;
  FILE *out = fopen(argv[1], "w");
  if (!out) return 1;
  fprintf(out, "%ld damaged", damaged);
  return fclose(out);
}
"#;

/// The NOPs of SystemTap's header, of libbpf's header, and two forms that other headers had.
const NOP: &str = "0x90";
const NOP_AND_NOP10: &str = "0x90, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0";
const NOP_AND_NOP5: &str = "0x90, 0x0f, 0x1f, 0x44, 0, 0";
const NOP5: &str = "0x0f, 0x1f, 0x44, 0, 0";

#[test]
fn attaches_to_c_sites_without_touching_the_red_zone() {
    if !have(&[Need::Bpf, Need::Program("gcc")]) {
        return;
    }
    let kernel = NopOptimization::detect();
    let of_pair = if kernel == NopOptimization::Nop10 { "optimized-nop10" } else { "nop" };
    for (nops, method) in
        [(NOP, "nop"), (NOP_AND_NOP10, of_pair), (NOP_AND_NOP5, "nop"), (NOP5, "nop")]
    {
        let folder = tempfile::tempdir().unwrap();
        let source = usdt_e2e::write(folder.path(), "leaf.c", PROGRAM);
        let built = folder.path().join("leaf");
        let define = format!("-DNOPS=\"{nops}\"");
        stdout(command("gcc").args(["-O2", &define, "-o"]).arg(&built).arg(&source));
        let app = copy(&built);
        let result = app.folder.path().join("result");
        let program = ["--", app.as_str(), result.to_str().unwrap()];
        let out = attach(&[&["trace", "--dry-run", "--json"], &program[..]].concat());
        if nops == NOP5 && kernel == NopOptimization::Nop5 {
            let errors = text(&out.stderr);
            assert_eq!(out.status.code(), Some(2));
            assert!(errors.contains("overwrites the red zone of C code"), "{errors}");
            continue;
        }
        let plan: Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(plan["objects"][0]["sites"][0]["method"], method, "{nops}: {plan}");
        for backend in ["embedded", "bcc"] {
            if backend == "bcc" && !have(&[Need::Bcc]) {
                continue;
            }
            let args = ["trace", "--json", "--backend", backend];
            let out = attach(&[&args[..], &program].concat());
            let (events, summary) = events_and_summary(&text(&out.stdout));
            assert_eq!((summary["hits"].as_u64(), events.len()), (Some(500), 500), "{nops}");
            for (n, event) in (0i64..).zip(&events) {
                assert_eq!(event["args"]["arg0"], n, "{nops} {backend}");
            }
            assert_eq!(std::fs::read_to_string(&result).unwrap(), "0 damaged", "{nops} {backend}");
        }
    }
}
