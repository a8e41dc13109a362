//! Random operands: both backends read the same values as gdb.
#![cfg(target_arch = "x86_64")]

use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use usdt_e2e::{Need, attach, command, events_and_summary, have, stdout, text};

/// A deterministic random number generator (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }

    fn choose<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }
}

/// Registers with their names for 8, 4, 2 and 1 bytes, except names that gdb 13 does not know
/// (`r8b`). `rbx` holds a pointer and `r12` an index.
const REGISTERS: [[&str; 4]; 14] = [
    ["rax", "eax", "ax", "al"],
    ["rcx", "ecx", "cx", "cl"],
    ["rdx", "edx", "dx", "dl"],
    ["rsi", "esi", "si", "sil"],
    ["rdi", "edi", "di", "dil"],
    ["rbp", "ebp", "bp", "bpl"],
    ["r8", "r8d", "r8w", ""],
    ["r9", "r9d", "r9w", ""],
    ["r10", "r10d", "r10w", ""],
    ["r11", "r11d", "r11w", ""],
    ["r13", "r13d", "r13w", ""],
    ["r14", "r14d", "r14w", ""],
    ["r15", "r15d", "r15w", ""],
    ["r12", "r12d", "r12w", ""],
];

const SITES: usize = 8;
const ARGUMENTS: usize = 10;

/// Returns a random operand.
fn operand(random: &mut Random) -> String {
    let which = random.below(4) as usize;
    let size = [8, 4, 2, 1][which];
    let sign = random.choose(&["", "-"]);
    let place = match random.below(6) {
        0 => {
            // The constant fits the argument's size: tools disagree about larger ones.
            let bits = size * 8 - 1;
            let value = (random.next() >> (64 - bits)) as i64;
            let value = if sign == "-" && random.below(2) == 0 { -value } else { value };
            format!("${value}")
        }
        1 | 2 => {
            let known: Vec<[&str; 4]> =
                REGISTERS.into_iter().filter(|names| !names[which].is_empty()).collect();
            format!("%{}", random.choose(&known)[which])
        }
        3 => "(%rbx)".to_owned(),
        4 => format!("{}(%rbx)", random.below(200) as i64 - 100),
        _ => {
            let scale = random.choose(&[1, 2, 4, 8]);
            format!("{}(%rbx,%r12,{scale})", random.below(100) as i64 - 50)
        }
    };
    format!("{sign}{size}@{place}")
}

/// Builds a program whose sites have random operands, and returns their argument specifications.
fn program(folder: &Path, random: &mut Random) -> (PathBuf, Vec<String>) {
    let mut code = String::from("    .text\n    .globl main\nmain:\n");
    let saved = ["rbx", "rbp", "r12", "r13", "r14", "r15"];
    saved.iter().for_each(|r| writeln!(code, "    pushq %{r}").unwrap());
    let (mut notes, mut specs) = (String::new(), Vec::new());
    for site in 0..SITES {
        for [register, ..] in &REGISTERS[..REGISTERS.len() - 1] {
            let value = random.next() >> (random.below(4) * 16);
            writeln!(code, "    movabsq ${}, %{register}", value as i64).unwrap();
        }
        writeln!(
            code,
            "    leaq table(%rip), %rbx\n    movq ${}, %r12\nsite{site}:\n    nop",
            random.below(8)
        )
        .unwrap();
        let spec: Vec<String> = (0..ARGUMENTS).map(|_| operand(random)).collect();
        let spec = spec.join(" ");
        writeln!(
            notes,
            "    .balign 4\n    .4byte 8, 2f-1f, 3\n    .asciz \"stapsdt\"\n1:  .8byte site{site}, base, 0\n    \
             .asciz \"random\"\n    .asciz \"site{site}\"\n    .asciz \"{spec}\"\n2:"
        )
        .unwrap();
        specs.push(spec);
    }
    saved.iter().rev().for_each(|r| writeln!(code, "    popq %{r}").unwrap());
    code.push_str("    xorl %eax, %eax\n    ret\n    .data\n    .balign 8\n");
    (0..32).for_each(|_| writeln!(code, "    .8byte {}", random.next() as i64).unwrap());
    code.push_str("table:\n");
    (0..32).for_each(|_| writeln!(code, "    .8byte {}", random.next() as i64).unwrap());
    code.push_str("    .section .stapsdt.base, \"a\", @progbits\nbase:\n    .byte 0\n");
    code.push_str("    .section .note.stapsdt, \"\", @note\n");
    code.push_str(&notes);
    code.push_str("    .balign 4\n    .section .note.GNU-stack, \"\", @progbits\n");
    let (file, out) = (folder.join("random.S"), folder.join("random"));
    std::fs::write(&file, code).unwrap();
    stdout(command("cc").args(["-no-pie", "-o"]).arg(&out).arg(&file));
    (out, specs)
}

/// Traces the program and returns the arguments of each event.
fn usdt_attach(app: &Path, backend: &str) -> Vec<Vec<Value>> {
    let out =
        attach(&["trace", "--json", "--backend", backend, "random:*", "--", app.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let (events, _) = events_and_summary(&text(&out.stdout));
    events.iter().map(|e| e["args"].as_object().unwrap().values().cloned().collect()).collect()
}

/// Runs the program in gdb and returns the arguments that it reads at each site.
fn gdb(app: &Path) -> Vec<Vec<Value>> {
    let mut script = String::from("set pagination off\nset confirm off\n");
    (0..SITES).for_each(|site| writeln!(script, "break -probe-stap random:site{site}").unwrap());
    script.push_str("run\n");
    // The cast converts from the argument's own type, which has its size and sign.
    let values: Vec<String> =
        (0..ARGUMENTS).map(|n| format!("(long long)$_probe_arg{n}")).collect();
    let show = format!(
        "printf \"\\n{}\\n\", {}\ncontinue\n",
        "%lld ".repeat(ARGUMENTS),
        values.join(", ")
    );
    script.push_str(&show.repeat(SITES));
    let file = app.with_extension("gdb");
    std::fs::write(&file, script).unwrap();
    let out = stdout(command("gdb").args(["-nx", "-q", "-batch", "-x"]).arg(&file).arg(app));
    let parse = |word: &str| word.parse::<i64>().map(Value::from).ok();
    let rows =
        out.lines().map(|line| line.split_whitespace().map(parse).collect::<Option<Vec<Value>>>());
    rows.flatten().filter(|row| row.len() == ARGUMENTS).collect()
}

#[test]
fn random_operands_read_as_in_gdb() {
    if !have(&[Need::Bpf, Need::Bcc, Need::Program("gdb"), Need::Program("cc")]) {
        return;
    }
    for seed in [1u64, 2, 3, 4] {
        let folder = tempfile::tempdir().unwrap();
        let (app, specs) = program(folder.path(), &mut Random(0x9e37_79b9_7f4a_7c15 ^ seed));
        let embedded = usdt_attach(&app, "embedded");
        assert_eq!(embedded.len(), SITES);
        assert_eq!(embedded, usdt_attach(&app, "bcc"), "{specs:?}");
        let expected = gdb(&app);
        assert_eq!(expected.len(), SITES);
        for ((actual, expected), spec) in embedded.iter().zip(&expected).zip(&specs) {
            let bits =
                |v: &Value| v.as_i64().map_or_else(|| v.as_u64().unwrap_or_default(), |n| n as u64);
            for (n, operand) in spec.split(' ').enumerate() {
                assert_eq!(
                    bits(&actual[n]),
                    bits(&expected[n]),
                    "seed {seed}, argument {n}: {operand} of {spec}"
                );
            }
        }
    }
}

/// Covers more arguments than any other tool supports.
#[test]
fn reads_more_than_twelve_arguments() {
    if !have(&[Need::Bpf]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let spec: Vec<String> = (0..20).map(|n| format!("-4@${}", n * n - 50)).collect();
    let source =
        crate::verification::ASSEMBLY.replace("-4@%eax", &format!("{} 8@%rsp", spec.join(" ")));
    let app = crate::verification::build(folder.path(), &source);
    for (backend, need) in [("embedded", Need::Bpf), ("bcc", Need::Bcc)] {
        if !have(&[need]) {
            continue;
        }
        let out = attach(&["trace", "--json", "--backend", backend, "--", app.to_str().unwrap()]);
        let (events, _) = events_and_summary(&text(&out.stdout));
        let args = &events[0]["args"];
        assert!((0..20).all(|n| args[format!("arg{n}")] == n * n - 50), "{args}");
        assert!(args["arg20"].as_u64().unwrap() > 0x7f00_0000_0000, "{args}");
    }
}
