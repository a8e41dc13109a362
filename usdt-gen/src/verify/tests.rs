//! Arguments, as each model takes them: hand tables of operand and verdict. What the tools themselves do with them
//! the end-to-end suite shows.

use super::*;
use crate::seal::sample_elf;
use stapsdt::blob;

/// The verdicts of all models on the sample's probe with other arguments: `+` accepted, `~` in part, `-` rejected.
fn verdicts(args: &str) -> String {
    let data = sample_elf::with_args(args);
    let view = View::parse(&data).unwrap();
    assert_eq!(blob::scan(&view).len(), 1);
    let sealed = crate::seal::seal(&data, crate::seal::Options::default()).unwrap();
    let bytes = sealed.patches.unwrap().to_vec(&data);
    let rows = verify(&View::parse(&bytes).unwrap());
    assert_eq!(
        rows.iter().map(|r| r.consumer).collect::<Vec<_>>(),
        ["libbpf", "bcc", "gdb", "perf", "systemtap"]
    );
    let sign = |row: &Row| match &row.verdict {
        Verdict::Accepted => '+',
        // The sample has no build id.
        Verdict::Partial(trouble) if trouble.reason.contains("build id") => '+',
        Verdict::Partial(_) => '~',
        Verdict::Rejected(_) => '-',
    };
    rows.iter().map(sign).collect()
}

#[test]
fn operands() {
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
