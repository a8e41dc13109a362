//! Files for other architectures: their probes are listed, `verify` does not judge them, and tracing
//! is refused by name.

use proptest::prelude::*;
use serde_json::json;
use std::path::Path;
use usdt_e2e::sample_elf::{SITE, Target, with_note};
use usdt_e2e::{
    Need, Process, attach, command, copy, have, list_probes, stdout, text, tools, usdt_gen,
};

const fn target(machine: u16, is64: bool, big_endian: bool) -> Target {
    Target { machine, is64, big_endian }
}

/// The architecture, its file format, and arguments as its compilers write them.
const TARGETS: [(&str, Target, &str); 10] = [
    ("i386", target(3, false, false), "-4@%eax 4@-20(%ebp) 8@%edx:%eax"),
    ("arm", target(40, false, false), "4@r0 -4@[sp, #8] 4@#3"),
    ("ppc64el", target(21, true, false), "8@31 -4@9 8@112(1)"),
    ("ppc64", target(21, true, true), "8@31"),
    ("s390x", target(22, true, true), "8@%r2 -4@160(%r15)"),
    ("riscv64", target(243, true, false), "8@a0 -4@-20(s0)"),
    ("loong64", target(258, true, false), "8@$r4 4@$r3,8"),
    ("mipsel", target(8, false, false), "4@$4"),
    ("x32", target(62, false, false), "4@%edi"),
    ("machine 1234 (32-bit, big-endian)", target(1234, false, true), ""),
];

fn write(folder: &Path, target: Target, args: &str) -> String {
    let path = folder.join(format!("{}-{}", target.machine, target.big_endian));
    std::fs::write(&path, with_note(target, args)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn lists_files_of_every_architecture_and_refuses_to_trace_them() {
    let folder = tempfile::tempdir().unwrap();
    for (name, target, args) in TARGETS {
        let file = write(folder.path(), target, args);
        let probes = list_probes(Path::new(&file));
        assert_eq!(probes.len(), 1, "{name}");
        let probe = &probes[0];
        assert_eq!(
            [&probe["provider"], &probe["probe"], &probe["args"], &probe["architecture"]],
            ["prov", "name", args, name],
        );
        assert_eq!(probe["address"], json!(SITE), "{name}");
        let listed = attach(&["list", &file]);
        let (list, errors) = (text(&listed.stdout), text(&listed.stderr));
        let separate: Vec<&str> = stapsdt::argspec::split(args).collect();
        assert_eq!(list.trim(), format!("prov:name({})", separate.join(", ")));
        assert!(errors.contains(&format!("a file for {name}, whose probes can be")), "{errors}");
        let refused = attach(&["trace", "--exe", &file, "--duration", "1ms"]);
        let errors = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{name}: {errors}");
        let is_32_bit = ["i386", "x32"].contains(&name) && cfg!(target_arch = "x86_64")
            || name == "arm" && cfg!(target_arch = "aarch64");
        let reason = if is_32_bit {
            format!("it is a 32-bit file ({name}), and 32-bit programs are not supported")
        } else {
            format!("the file is for {name}, and this machine is ")
        };
        assert!(errors.contains(&reason), "{name}: {errors}");
    }
}

/// The file format of the machine is supported, but not its architecture: the models know the
/// operands of amd64 and arm64 only.
#[test]
fn verify_does_not_judge_other_architectures() {
    let folder = tempfile::tempdir().unwrap();
    for (name, target, args) in TARGETS {
        let file = write(folder.path(), target, args);
        let out = usdt_gen(&["verify", &file]);
        assert_eq!(out.status.code(), Some(1), "{name}");
        let (verdicts, errors) = (text(&out.stdout), text(&out.stderr));
        assert_eq!(verdicts.matches("unknown ").count(), 5, "{name}: {verdicts}");
        assert!(!verdicts.contains("rejected"), "{name}: {verdicts}");
        assert!(errors.contains("0 accepted, 0 partial, 0 rejected, 5 unknown"), "{errors}");
    }
}

const I386: &str = r#"
    .text
    .globl _start
_start:
    movl $7, %ebx
site:
    nop
    movl $162, %eax
    pushl $0
    pushl $1
    movl %esp, %ebx
    xorl %ecx, %ecx
    int $0x80
    jmp site
    .section .note.stapsdt, "", @note
    .balign 4
    .4byte 8, 2f-1f, 3
    .asciz "stapsdt"
1:  .4byte site, 0, 0
    .asciz "t32"
    .asciz "loop"
    .asciz "-4@%ebx 4@(%esp)"
2:  .balign 4
    .section .note.GNU-stack, "", @progbits
"#;

/// A 32-bit process on a 64-bit kernel.
#[test]
#[cfg(target_arch = "x86_64")]
fn names_a_32_bit_process() {
    if !have(&[Need::Bpf, Need::Program("gcc")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("t32.S"), folder.path().join("t32"));
    std::fs::write(&source, I386).unwrap();
    let flags = ["-m32", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-o"];
    stdout(command("gcc").args(flags).arg(&program).arg(&source));
    let app = copy(&program);
    let process = Process::start(&mut command(&app.path));
    process.wait_for_exec(&app.path);
    let pid = process.pid().to_string();
    let listed = stdout(command(tools().join("usdt-attach")).args(["list", "-p", &pid]));
    assert!(listed.contains("t32:loop(-4@%ebx, 4@(%esp))"), "{listed}");
    for args in [&["trace", "-p", &pid][..], &["trace", "--exe", app.as_str()]] {
        let out = attach(&[args, &["--duration", "100ms"]].concat());
        let errors = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{errors}");
        assert!(errors.contains("t32: it is a 32-bit file (i386)"), "{errors}");
    }
}

proptest! {
    /// Damage to a file of any format is an error or a warning, never a panic.
    #[test]
    fn damaged_files_of_other_formats_cause_no_panic(
        choice in 0..TARGETS.len(),
        changes in prop::collection::vec((0usize..800, any::<u8>()), 0..8),
        cut in 0usize..800,
    ) {
        let (_, target, args) = TARGETS[choice];
        let mut data = with_note(target, args);
        for (at, value) in changes {
            if let Some(byte) = data.get_mut(at) {
                *byte = value;
            }
        }
        data.truncate(data.len().saturating_sub(cut / 4));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &data).unwrap();
        let _ = usdt_attach::discover::scan_file(file.path());
        if let Ok(view) = stapsdt::elf::View::parse(&data) {
            usdt_gen::verify::verify(&view);
        }
    }
}
