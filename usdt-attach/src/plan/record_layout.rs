//! The record of a hit: what is written where, and how to read it back.
//!
//! ```text
//!  0  u32 cookie       16  u32 tid, u32 pid (the helper's pid_tgid, little-endian)
//!  4  u32 faults       24  u64 goroutine id, 0 where there is none
//!  8  u64 monotonic ns 32  comm, 16 bytes
//! 48  argument words, then texts: u32 length, u32 unused, bytes; then the stack: i64 bytes, addresses
//! ```

use super::arguments::{Argument, Arguments};
use super::reads::{ArgSlot, Builder, ReadOp};
use crate::discover::Names;
use serde::Serialize;
use stapsdt::argspec::Arch;
use stapsdt::schema::Kind;

/// The architecture this program runs on, and so the one it can trace.
#[cfg(target_arch = "x86_64")]
pub(crate) const NATIVE: Arch = Arch::X86_64;
/// The architecture this program runs on, and so the one it can trace.
#[cfg(target_arch = "aarch64")]
pub(crate) const NATIVE: Arch = Arch::Aarch64;

/// Offset of the cookie.
pub(crate) const COOKIE: u32 = 0;
pub(crate) use super::reads::FAULTS;
/// Offset of the time.
pub(crate) const TIME: u32 = 8;
/// Offset of the thread and process id.
pub(crate) const PID_TGID: u32 = 16;
/// Offset of the goroutine id.
pub(crate) const GOID: u32 = 24;
/// Offset of the thread's name.
pub(crate) const COMM: u32 = 32;
/// Offset of the first argument word.
pub(crate) const ARGS: u32 = 48;

/// What is recorded of a hit, and how the record reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct Layout {
    /// Bytes of the record, a multiple of 8.
    pub size: u32,
    /// In order: texts come after the words that point to them.
    pub steps: Vec<ReadOp>,
    /// One for each argument a reader sees.
    pub args: Vec<ArgView>,
    /// Whether the goroutine id is recorded.
    pub goid: bool,
    /// Where the user stack is, and how many addresses it has at most.
    pub stack: Option<(u32, u32)>,
}

/// How a reader finds an argument in the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct ArgView {
    /// From the schema, else `argN`.
    pub name: String,
    /// From the schema, else integer.
    pub kind: Kind,
    /// The value, or the pointer; `None` where it cannot be read.
    pub word: Option<ArgSlot>,
    /// The text it points to.
    pub text: Option<Text>,
    /// The texts for its numbers.
    pub names: Option<Names>,
    /// Why there is no value.
    pub problem: Option<String>,
}

/// Text in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct Text {
    /// Record offset of its length.
    pub at: u32,
    /// Most bytes it can have.
    pub max: u32,
    /// Where its full length is, for text with one.
    pub length: Option<ArgSlot>,
    /// Fault bit of the read that brought it.
    pub fault: u8,
}

impl Layout {
    /// The record of a probe.
    pub(super) fn new(arguments: &Arguments, max_text: u32, stack: Option<u32>) -> Layout {
        let mut builder = Builder::new(ARGS);
        let goid = arguments
            .goid
            .as_ref()
            .is_some_and(|operand| builder.whole(GOID, operand, arguments.arch));
        let places: Vec<_> = arguments
            .list
            .iter()
            .flat_map(|a| [Some(a.word.clone()), a.length.clone()])
            .flatten()
            .collect();
        let mut words = builder.words(&places, arguments.arch).into_iter();
        let mut args = Vec::new();
        for argument in &arguments.list {
            // One for each place, in the same order.
            let word = words.next().unwrap_or_else(|| Err(String::new()));
            let length = argument.length.as_ref().and_then(|_| words.next()).and_then(Result::ok);
            args.push(view(&mut builder, argument, word, length, max_text));
        }
        let stack = stack.map(|frames| {
            let to = builder.take(8 + 8 * frames);
            builder.steps.push(ReadOp::Stack { to, frames });
            (to, frames)
        });
        Layout { size: builder.end.next_multiple_of(8), steps: builder.steps, args, goid, stack }
    }
}

/// Most bytes of a record that are put together on the stack.
pub(crate) const LARGEST_STAGED: u32 = 480;

impl Layout {
    /// Bytes at the beginning of the record that a program puts together on its stack: all of them, else those in
    /// front of the first text.
    pub(crate) fn staged(&self) -> u32 {
        if self.size <= LARGEST_STAGED {
            return self.size;
        }
        let begin = |step: &ReadOp| match step {
            ReadOp::Text { to, .. } | ReadOp::Stack { to, .. } => Some(*to),
            _ => None,
        };
        self.steps.iter().filter_map(begin).min().unwrap_or(self.size)
    }

    /// The steps of that part, and the others.
    pub(crate) fn split(&self) -> (&[ReadOp], &[ReadOp]) {
        let staged = self.staged();
        let later = |step: &ReadOp| matches!(step, ReadOp::Text { to, .. } | ReadOp::Stack { to, .. } if *to >= staged);
        let first = self.steps.iter().position(later).unwrap_or(self.steps.len());
        self.steps.split_at(first)
    }

    /// The text at the very end, by its offset and the most bytes it can have: of such a record no more is handed
    /// over than there is text. Where the end was staged in the record's own place, that is too late.
    pub(crate) fn last_text(&self) -> Option<(u32, u32)> {
        let end = |to: u32, max: u32| (to + 8 + max).next_multiple_of(8);
        self.steps.iter().find_map(|step| match step {
            ReadOp::Text { to, max, .. }
                if end(*to, *max) == self.size && self.staged() == self.size =>
            {
                Some((*to, *max))
            }
            _ => None,
        })
    }

    /// Bytes of the shortest record.
    pub(crate) fn least(&self) -> u32 {
        self.last_text().map_or(self.size, |(to, _)| to + 8)
    }

    /// Offsets of the words in that part that a step may leave untouched, in part or whole.
    pub(crate) fn gaps(&self) -> Vec<u32> {
        let staged = self.staged();
        let mut out = Vec::new();
        for step in &self.steps {
            match step {
                ReadOp::Memory { to, len, .. } if !len.is_multiple_of(8) => {
                    out.push(to + len / 8 * 8)
                }
                ReadOp::Stack { to, frames } if *to < staged => {
                    out.extend((*to..to + 8 + 8 * frames).step_by(8));
                }
                _ => {}
            }
        }
        out
    }
}

fn view(
    builder: &mut Builder,
    argument: &Argument,
    word: Result<ArgSlot, String>,
    length: Option<ArgSlot>,
    max: u32,
) -> ArgView {
    let text = word.as_ref().ok().and_then(|word| text(builder, argument.kind, word, length, max));
    ArgView {
        name: argument.name.clone(),
        kind: argument.kind,
        word: word.as_ref().ok().copied(),
        text,
        names: argument.names,
        problem: word.err(),
    }
}

/// The copy of the text that a word points to.
fn text(
    builder: &mut Builder,
    kind: Kind,
    word: &ArgSlot,
    length: Option<ArgSlot>,
    max: u32,
) -> Option<Text> {
    // A pointer or length that is not a whole word is none of ours.
    if word.size != 8 || length.is_some_and(|l| l.size != 8) {
        return None;
    }
    let length = match kind {
        Kind::Cstring => None,
        Kind::String | Kind::Bytes | Kind::Error => Some(length?),
        _ => return None,
    };
    let to = builder.take(8 + max);
    let fault = builder.fault();
    builder.steps.push(ReadOp::Text {
        to,
        max,
        pointer: word.at,
        length: length.map(|l| l.at),
        fault,
    });
    Some(Text { at: to, max, length, fault })
}

#[cfg(test)]
mod tests {
    use super::super::reads::Address;
    use super::*;
    use crate::discover::{Probe, Source, sample};

    fn layout_of(probe: &Probe) -> Layout {
        Layout::new(&Arguments::new(probe, &[]), 64, None)
    }

    fn probe(args: &str, schema: Option<&[(&str, Kind)]>) -> Probe {
        let probe =
            schema.map_or_else(|| sample::probe(args), |kinds| sample::described(args, kinds));
        let symbols = std::sync::Arc::new([("counter".to_owned(), 0x5010)].into());
        Probe { symbols, ..probe }
    }

    #[test]
    fn a_go_probe_is_one_read_and_its_texts() {
        let schema = [("id", Kind::Int), ("method", Kind::String), ("path", Kind::Cstring)];
        let layout = layout_of(&probe(
            "8@8(%rsp) 8@16(%rsp) 8@24(%rsp) 8@32(%rsp) 8@152(%r14)",
            Some(&schema),
        ));
        assert!(layout.goid);
        let sealed = layout_of(&probe("8@%rbx 8@%rcx 8@%rdi 8@%rsi 8@%r8", Some(&schema)));
        assert!(sealed.goid);
        assert_eq!(sealed.steps[0], ReadOp::Register { to: GOID, from: 72 });
        assert_eq!(
            layout.steps,
            [
                ReadOp::Memory {
                    to: GOID,
                    len: 8,
                    from: Address { base: Some(8), index: None, through: vec![], disp: 152 },
                    fault: 0
                },
                ReadOp::Memory {
                    to: 48,
                    len: 32,
                    from: Address { base: Some(152), index: None, through: vec![], disp: 8 },
                    fault: 1
                },
                ReadOp::Text { to: 80, max: 64, pointer: 56, length: Some(64), fault: 2 },
                ReadOp::Text { to: 152, max: 64, pointer: 72, length: None, fault: 3 },
            ]
        );
        assert_eq!(layout.size, 224);
        assert_eq!(
            layout.args.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(),
            ["id", "method", "path"]
        );
    }

    #[test]
    fn a_record_ends_with_its_last_text() {
        let schema = [("id", Kind::Int), ("method", Kind::String)];
        let layout = layout_of(&probe("8@%rbx 8@%rcx 8@%rdi", Some(&schema)));
        assert_eq!((layout.last_text(), layout.least(), layout.size), (Some((72, 64)), 80, 144));
        let number = layout_of(&probe("8@%rbx", None));
        assert_eq!((number.last_text(), number.least()), (None, number.size));
        // Its texts are written where the record itself is.
        let many = [("a", Kind::Cstring); 8];
        let large = layout_of(&probe(&["8@%rbx"; 8].join(" "), Some(&many)));
        assert!(large.size > LARGEST_STAGED);
        assert_eq!((large.last_text(), large.least()), (None, large.size));
    }

    #[test]
    fn operands_of_compilers() {
        let layout = layout_of(&probe(
            "-4@%edi 1@%ah 8@$-3 4@-20(%rbp) 2@-16(%rbp) 8@(%rax,%rbx,4) 8f@%xmm0 8@sym(%rip) 8@%zz",
            None,
        ));
        let at: Vec<Option<u32>> = layout.args.iter().map(|a| a.word.map(|w| w.at)).collect();
        assert_eq!(
            at,
            [Some(48), Some(57), Some(64), Some(72), Some(76), Some(80), None, None, None]
        );
        let wide = layout_of(&probe("8@%ah", None)).args[0].word.unwrap();
        assert_eq!((wide.at, wide.size), (49, 1));
        let problems: Vec<&str> = layout.args.iter().filter_map(|a| a.problem.as_deref()).collect();
        assert_eq!(
            problems,
            [
                "`8f@%xmm0` is in no general register",
                "its symbol `sym` is not in the file",
                "`%zz` is not a register of this architecture"
            ]
        );
        assert!(!layout.goid);
    }

    /// The site is at 0x1000 or so, the symbol at 0x5010: what is between them is the same wherever both are mapped.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn symbols_are_distances_from_the_site() {
        let probe =
            probe("4@counter(%rip) 4@counter+8 8@counter(,%rax,8) 8@-4+counter(%rax)", None);
        let distance = 0x5010 - probe.address as i64;
        let layout = layout_of(&probe);
        let mut from: Vec<&Address> = Vec::new();
        for step in &layout.steps {
            if let ReadOp::Memory { from: address, .. } = step {
                from.push(address);
            }
        }
        let (rip, rax) = (128, 80);
        let address =
            |base, index, disp| Address { base: Some(base), index, through: vec![], disp };
        assert_eq!(
            from,
            [
                &address(rax, Some((rip, 1)), distance - 4),
                &address(rip, None, distance),
                &address(rip, Some((rax, 8)), distance),
            ],
            "the first two are one read"
        );
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn entries_have_fields_behind_pointers() {
        let kinds = [("path", Kind::String), ("deep", Kind::Int)];
        let mut probe = probe("8@56(16(%rdi)) 8@64(16(%rdi)) 4@8(0(-16(%rdi)))", Some(&kinds));
        assert!(
            layout_of(&probe).args.iter().all(|a| a.word.is_none()),
            "notes have no such thing"
        );
        probe.source = Source::Entry;
        let layout = layout_of(&probe);
        let rdi = 112;
        let read = |to, len, through: &[i64], disp, fault| {
            let from = Address { base: Some(rdi), index: None, through: through.to_vec(), disp };
            ReadOp::Memory { to, len, from, fault }
        };
        assert_eq!(layout.steps[..2], [read(48, 4, &[-16, 0], 8, 0), read(56, 16, &[16], 56, 1)]);
        assert!(matches!(layout.steps[2], ReadOp::Text { pointer: 56, length: Some(64), .. }));
    }

    proptest::proptest! {
        #[test]
        fn any_text_behind_pointers_is_read(text in "[0-9@()%rdi-]{0,40}") {
            let mut probe = probe(&text, None);
            probe.source = Source::Entry;
            layout_of(&probe);
        }
    }
}
