//! Tests of the models' argument handling, against hand-written tables of operands and verdicts.
//! The end-to-end suite compares the models with the tools.

use super::*;
use crate::seal::sample_elf;
use stapsdt::blob;
use stapsdt::elf::View;

/// Returns the verdicts of all models on the sample's probe with other arguments: `+` for accepted,
/// `~` for partial and `-` for rejected.
fn verdicts(args: &str) -> String {
    let data = sample_elf::with_args(args);
    let view = View::parse(&data).unwrap();
    assert_eq!(blob::scan(&view).len(), 1);
    let sealed = crate::seal::seal(&data, &crate::seal::Options::default()).unwrap();
    let bytes = sealed.patches.unwrap().to_vec(&data);
    let verdicts = verify(&View::parse(&bytes).unwrap());
    assert_eq!(
        verdicts.iter().map(|v| v.consumer).collect::<Vec<_>>(),
        ["libbpf", "bcc", "gdb", "perf", "systemtap"]
    );
    verdicts.iter().map(|v| sign(&v.verdict)).collect()
}

fn sign(verdict: &Verdict) -> char {
    match verdict {
        Verdict::Accepted => '+',
        // The sample has no build ID.
        Verdict::Partial(problem) if problem.reason.contains("build ID") => '+',
        Verdict::Partial(_) => '~',
        Verdict::Rejected(_) => '-',
        Verdict::Unknown(_) => '?',
    }
}

#[test]
fn judges_operands_as_each_tracer_does() {
    for (args, expected) in [
        ("", "+++++"),
        ("-4@8(%rsp) 8@%rdi 1@(%rax) 8@152(%r14)", "+++++"),
        ("4@$42", "+++~+"),
        ("8@8(%rax,%rbx,4)", "~++~+"),
        ("8@(%rax,%rbx)", "~++~+"),
        ("8f@%xmm0", "-~~-+"),
        ("8@%xmm0", "-~~-+"),
        ("1@%ah", "-~+~+"),
        ("4@global(%rip)", "-+~~+"),
        ("4@global", "-~~~+"),
        ("8@0x1000", "-~~~+"),
        ("3@%rax", "-~~~~"),
        ("%rax", "-++++"),
        (&["8@%rax"; 12].join(" "), "+++++"),
        (&["8@%rax"; 13].join(" "), "-+~+-"),
    ] {
        assert_eq!(verdicts(args), expected, "{args}");
    }
}
