//! The record of a hit: the layout that BPF programs write and the decoder reads.
//!
//! # Record layout
//!
//! ```text
//!  0  u32 cookie       16  u32 tid, u32 pid (as bpf_get_current_pid_tgid returns them, little-endian)
//!  4  u32 fault bits   24  u64 goroutine id; 0 if there is none
//!  8  u64 monotonic ns 32  comm, 16 bytes
//! 48  argument slots; then strings: u32 length, u32 unused, bytes; then the stack: i64 bytes, addresses
//! ```
//!
//! All offsets are fixed when the plan is built, so a program needs no arithmetic to write a
//! record. The cookie selects the layout when the record is read. Every part begins at a multiple
//! of 8 bytes.
//!
//! A program assembles as much of the record as fits on its stack and copies it to the event buffer
//! from there. A record that ends with a string can be published shorter than its layout, by the
//! bytes that the string does not use.

use super::arguments::{Argument, Arguments};
use super::nesting::frame_operands;
use super::reads::{ArgSlot, LayoutBuilder, ReadOp};
use crate::discover::EnumLabels;
pub(crate) use crate::discover::NATIVE;
use serde::Serialize;
use stapsdt::schema::Kind;

/// Offset of the cookie.
pub(crate) const COOKIE: u32 = 0;
pub(crate) use super::reads::{FAULTS, SHARED_FAULT};
/// Offset of the time of the hit, CLOCK_MONOTONIC in nanoseconds.
pub(crate) const TIME: u32 = 8;
/// Offset of the thread id, which the process id follows.
pub(crate) const PID_TGID: u32 = 16;
/// Offset of the goroutine id.
pub(crate) const GOID: u32 = 24;
/// Offset of the thread name.
pub(crate) const COMM: u32 = 32;
/// Offset of the first argument slot.
pub(crate) const ARGS: u32 = 48;

/// The layout of a record, and the operations that write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct Layout {
    /// Size of the record in bytes, a multiple of 8.
    pub size: u32,
    /// Operations in order; strings come after the slots that point to them.
    pub reads: Vec<ReadOp>,
    /// The arguments of the probe, in declared order.
    pub args: Vec<ArgView>,
    /// True if the goroutine id is recorded.
    pub goid: bool,
    /// The frame of the call; `None` if no frames are recorded, or if the site is not in the code of
    /// a Go function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame: Option<FrameField>,
    /// The user stack; `None` if no stacks are recorded.
    pub stack: Option<StackField>,
}

/// The place in the record of what tells the frame of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct FrameField {
    /// The stack pointer.
    pub stack_pointer: ArgSlot,
    /// The top of the stack of the goroutine.
    pub top: ArgSlot,
}

/// The place of a user stack in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct StackField {
    /// Offset of the number of bytes, which addresses follow.
    pub at: u32,
    /// Number of addresses at most.
    pub frames: u32,
}

/// An argument in the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct ArgView {
    /// The name in the schema, else `argN`.
    pub name: String,
    /// The kind in the schema, else an integer.
    pub kind: Kind,
    /// The value, or the pointer to a string; `None` if it cannot be read.
    pub slot: Option<ArgSlot>,
    /// The copy of the string; `None` for other kinds.
    pub string: Option<StringField>,
    /// The field `ext` of a time, whose field `wall` is at `slot`; `None` for other kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ext: Option<ArgSlot>,
    /// The labels of an enumeration; `None` for other arguments.
    pub labels: Option<EnumLabels>,
    /// The fault bit that says that the value does not exist: an element beyond the length of a slice,
    /// or the value of an interface with another type. `None` if the value always exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<u8>,
    /// The words of an interface; `None` for other arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceSlots>,
    /// The reason why the argument cannot be read; `None` if it can.
    pub problem: Option<String>,
}

/// The place in the record of the words of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct InterfaceSlots {
    /// The first word, which is zero if the interface is nil.
    pub first: ArgSlot,
    /// The address of the descriptor of the dynamic type.
    pub ty: ArgSlot,
}

/// A copied string in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Hash)]
pub(crate) struct StringField {
    /// Offset of the number of copied bytes; the bytes follow 8 bytes later.
    pub at: u32,
    /// Number of bytes copied at most.
    pub max: u32,
    /// The full length of the string; `None` for a C string.
    pub length: Option<ArgSlot>,
    /// Fault bit of the read.
    pub fault: u8,
}

impl Layout {
    /// Lays out the record of a probe.
    pub(super) fn new(
        arguments: &Arguments,
        max_string: u32,
        stack: Option<u32>,
        has_frame: bool,
    ) -> Layout {
        let mut builder = LayoutBuilder::new(ARGS);
        let goid = arguments
            .goid
            .as_ref()
            .is_some_and(|operand| builder.read_word(GOID, operand, arguments.arch));
        // The frame comes first, so that its fault bit is not shared.
        let frame = has_frame.then(|| frame_operands(arguments.arch));
        let words = arguments.list.iter().flat_map(Argument::record_operands);
        let operands: Vec<_> = frame.into_iter().flatten().chain(words).collect();
        let mut slots = builder.read_all(&operands, arguments.arch).into_iter();
        let mut next = || slots.next().and_then(Result::ok);
        let frame = match has_frame.then(|| [next(), next()]) {
            Some([Some(stack_pointer), Some(top)]) => Some(FrameField { stack_pointer, top }),
            _ => None,
        };
        let mut args = Vec::new();
        for argument in &arguments.list {
            // There is a slot for each operand, in the same order.
            let value = slots.next().unwrap_or_else(|| Err(String::new()));
            let length = argument.length.as_ref().and_then(|_| slots.next()).and_then(Result::ok);
            let value = value.map(|slot| (slot, length));
            let mut view = arg_view(&mut builder, argument, value, max_string, arguments.fault_in);
            if argument.ext.is_some() {
                view.ext = slots.next().and_then(Result::ok);
            }
            if argument.interface.is_some() {
                let words = [slots.next(), slots.next()].map(|slot| slot.and_then(Result::ok));
                if let [Some(first), Some(ty)] = words {
                    view.interface = Some(InterfaceSlots { first, ty });
                }
            }
            args.push(view);
        }
        let stack = stack.map(|frames| {
            let to = builder.reserve(8 + 8 * frames);
            builder.reads.push(ReadOp::Stack { to, frames });
            StackField { at: to, frames }
        });
        Layout {
            size: builder.end.next_multiple_of(8),
            reads: builder.reads,
            args,
            goid,
            frame,
            stack,
        }
    }
}

/// Number of bytes of a record that are assembled on the BPF stack at most; the stack has 512
/// bytes.
pub(crate) const MAX_STACK_PREFIX: u32 = 480;

impl Layout {
    /// Returns the number of bytes at the beginning of the record that a program assembles on its
    /// stack. It is the whole record if that fits, else the part before the first string or stack.
    pub(crate) fn stack_prefix_len(&self) -> u32 {
        if self.size <= MAX_STACK_PREFIX {
            return self.size;
        }
        let variable_part = |read: &ReadOp| match read {
            ReadOp::String { to, .. } | ReadOp::Stack { to, .. } => Some(*to),
            _ => None,
        };
        self.reads.iter().filter_map(variable_part).min().unwrap_or(self.size)
    }

    /// Splits the operations into those for the part on the stack and those for the rest of the
    /// record.
    pub(crate) fn split_reads(&self) -> (&[ReadOp], &[ReadOp]) {
        let prefix = self.stack_prefix_len();
        let is_after_prefix = |read: &ReadOp| match read {
            ReadOp::String { to, .. } | ReadOp::Stack { to, .. } => *to >= prefix,
            _ => false,
        };
        let first = self.reads.iter().position(is_after_prefix).unwrap_or(self.reads.len());
        self.reads.split_at(first)
    }

    /// Returns the offset of the string at the end of the record, whose unused bytes are not
    /// published.
    ///
    /// `None` if the record does not end with a string, or does not fit on the stack. In the latter
    /// case, space is reserved before the length of the string is known.
    pub(crate) fn trailing_string(&self) -> Option<u32> {
        let end = |to: u32, max: u32| (to + 8 + max).next_multiple_of(8);
        self.reads.iter().find_map(|read| match read {
            ReadOp::String { to, max, .. }
                if end(*to, *max) == self.size && self.stack_prefix_len() == self.size =>
            {
                Some(*to)
            }
            _ => None,
        })
    }

    /// Returns the size of the shortest record in bytes.
    pub(crate) fn min_record_len(&self) -> u32 {
        self.trailing_string().map_or(self.size, |to| to + 8)
    }

    /// Returns the offsets of the 8-byte words in the part on the stack that an operation may leave
    /// unwritten, at least in part. The verifier wants them to be written before they are copied.
    pub(crate) fn unwritten_words(&self) -> Vec<u32> {
        let prefix = self.stack_prefix_len();
        let mut out = Vec::new();
        for read in &self.reads {
            match read {
                ReadOp::Memory { to, len, .. } if !len.is_multiple_of(8) => {
                    out.push(to + len / 8 * 8);
                }
                ReadOp::Stack { to, frames } if *to < prefix => {
                    out.extend((*to..to + 8 + 8 * frames).step_by(8));
                }
                _ => {}
            }
        }
        out
    }
}

/// Lays out an argument whose slots are laid out already.
fn arg_view(
    builder: &mut LayoutBuilder,
    argument: &Argument,
    value: Result<(ArgSlot, Option<ArgSlot>), String>,
    max: u32,
    fault_in: bool,
) -> ArgView {
    let slot = value.as_ref().ok().map(|(slot, _)| *slot);
    let string = value
        .as_ref()
        .ok()
        .and_then(|slots| string_field(builder, argument.kind, *slots, max, fault_in));
    ArgView {
        name: argument.name.clone(),
        kind: argument.kind,
        slot,
        string,
        ext: None,
        missing: slot.and_then(|slot| builder.missing_bit(slot)),
        labels: argument.labels.clone(),
        interface: None,
        problem: value.err(),
    }
}

/// Adds the copy of the string to which a slot points; `None` if the argument is not a string.
fn string_field(
    builder: &mut LayoutBuilder,
    kind: Kind,
    (pointer, length): (ArgSlot, Option<ArgSlot>),
    max: u32,
    fault_in: bool,
) -> Option<StringField> {
    // Only a pointer of 8 bytes is the address of a string; see `Arguments::check_kinds`.
    if pointer.size != 8 {
        return None;
    }
    let length = match kind {
        Kind::Cstring => None,
        Kind::String | Kind::Bytes | Kind::Error => Some(length?),
        _ => return None,
    };
    let to = builder.reserve(8 + max);
    let fault = builder.next_fault_bit();
    builder.reads.push(ReadOp::String { to, max, pointer: pointer.at, length, fault, fault_in });
    Some(StringField { at: to, max, length, fault })
}

#[cfg(test)]
mod tests {
    use super::super::reads::Address;
    use super::*;
    use crate::discover::{Probe, Source, sample};

    fn layout_of(probe: &Probe) -> Layout {
        Layout::new(&Arguments::new(probe, &[]), 64, None, false)
    }

    fn probe(args: &str, schema: Option<&[(&str, Kind)]>) -> Probe {
        let probe =
            schema.map_or_else(|| sample::probe(args), |kinds| sample::described(args, kinds));
        let symbols = std::sync::Arc::new([("counter".to_owned(), 0x5010)].into());
        Probe { symbols, ..probe }
    }

    #[test]
    fn reads_all_arguments_of_a_go_probe_at_once() {
        let schema = [("id", Kind::Int), ("method", Kind::String), ("path", Kind::Cstring)];
        let layout = layout_of(&probe(
            "8@8(%rsp) 8@16(%rsp) 8@24(%rsp) 8@32(%rsp) 8@152(%r14)",
            Some(&schema),
        ));
        assert!(layout.goid);
        let length = ArgSlot { at: 64, size: 8, signed: false, fault: Some(1) };
        let sealed = layout_of(&probe("8@%rbx 8@%rcx 8@%rdi 8@%rsi 8@%r8", Some(&schema)));
        assert!(sealed.goid);
        assert_eq!(sealed.reads[0], ReadOp::Register { to: GOID, from: 72 });
        assert_eq!(
            layout.reads,
            [
                ReadOp::Memory {
                    to: GOID,
                    len: 8,
                    from: Address { base: Some(8), index: None, deref_chain: vec![], disp: 152 },
                    fault: 0
                },
                ReadOp::Memory {
                    to: 48,
                    len: 32,
                    from: Address { base: Some(152), index: None, deref_chain: vec![], disp: 8 },
                    fault: 1
                },
                ReadOp::String {
                    to: 80,
                    max: 64,
                    pointer: 56,
                    length: Some(length),
                    fault: 2,
                    fault_in: false
                },
                ReadOp::String {
                    to: 152,
                    max: 64,
                    pointer: 72,
                    length: None,
                    fault: 3,
                    fault_in: false
                },
            ]
        );
        assert_eq!(layout.size, 224);
        assert_eq!(
            layout.args.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(),
            ["id", "method", "path"]
        );
    }

    #[test]
    fn trailing_string_shortens_records_that_fit_on_the_stack() {
        let schema = [("id", Kind::Int), ("method", Kind::String)];
        let layout = layout_of(&probe("8@%rbx 8@%rcx 8@%rdi", Some(&schema)));
        assert_eq!(
            (layout.trailing_string(), layout.min_record_len(), layout.size),
            (Some(72), 80, 144)
        );
        let number = layout_of(&probe("8@%rbx", None));
        assert_eq!((number.trailing_string(), number.min_record_len()), (None, number.size));
        // Too large for the stack, so strings are read into the event buffer.
        let many = [("a", Kind::Cstring); 8];
        let large = layout_of(&probe(&["8@%rbx"; 8].join(" "), Some(&many)));
        assert!(large.size > MAX_STACK_PREFIX);
        assert_eq!((large.trailing_string(), large.min_record_len()), (None, large.size));
    }

    #[test]
    fn lays_out_every_kind_of_operand() {
        let layout = layout_of(&probe(
            "-4@%edi 1@%ah 8@$-3 4@-20(%rbp) 2@-16(%rbp) 8@(%rax,%rbx,4) 8f@%xmm0 8@sym(%rip) 8@%zz",
            None,
        ));
        let at: Vec<Option<u32>> = layout.args.iter().map(|a| a.slot.map(|w| w.at)).collect();
        assert_eq!(
            at,
            [Some(48), Some(57), Some(64), Some(72), Some(76), Some(80), None, None, None]
        );
        let wide = layout_of(&probe("8@%ah", None)).args[0].slot.unwrap();
        assert_eq!((wide.at, wide.size), (49, 1));
        let problems: Vec<&str> = layout.args.iter().filter_map(|a| a.problem.as_deref()).collect();
        assert_eq!(
            problems,
            [
                "`8f@%xmm0` is not in a general-purpose register",
                "symbol `sym` is not in the file",
                "`%zz` is not a register of this architecture"
            ]
        );
        assert!(!layout.goid);
    }

    /// The site is near 0x1000 and the symbol at 0x5010; their distance is the same wherever the
    /// file is mapped.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn addresses_symbols_relative_to_the_site() {
        let probe =
            probe("4@counter(%rip) 4@counter+8 8@counter(,%rax,8) 8@-4+counter(%rax)", None);
        let distance = 0x5010 - probe.address as i64;
        let layout = layout_of(&probe);
        let mut from: Vec<&Address> = Vec::new();
        for read in &layout.reads {
            if let ReadOp::Memory { from: address, .. } = read {
                from.push(address);
            }
        }
        let (rip, rax) = (128, 80);
        let address =
            |base, index, disp| Address { base: Some(base), index, deref_chain: vec![], disp };
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
    fn lengths_of_strings_have_any_size() {
        let kinds = [("a", Kind::String), ("b", Kind::String), ("c", Kind::Bytes)];
        let probe = probe("8@%rdi -4@%esi 8@%rdx 2@%cx 8@%r8 -8@%r9", Some(&kinds));
        let layout = layout_of(&probe);
        let lengths = |view: &ArgView| view.string.unwrap().length.map(|l| (l.size, l.signed));
        let lengths: Vec<_> = layout.args.iter().filter_map(lengths).collect();
        assert_eq!(lengths, [(4, true), (2, false), (8, true)]);
    }

    /// The note knows the size of an operand and whether it is a floating-point number.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_note_overrules_a_kind_that_does_not_fit() {
        let kinds_of = |args: &str, kinds: Option<&[(&str, Kind)]>, strings: &[&str]| {
            let strings: Vec<String> = strings.iter().map(|s| (*s).to_owned()).collect();
            let arguments = Arguments::new(&probe(args, kinds), &strings);
            let kinds: Vec<Kind> = arguments.list.iter().map(|a| a.kind).collect();
            (kinds, arguments.mismatches)
        };
        assert_eq!(
            kinds_of("8f@%rax 4f@(%rsp) 8@%rax 2f@%ax 4f@%ah", None, &[]),
            (vec![Kind::Float, Kind::Float, Kind::Int, Kind::Int, Kind::Int], vec![])
        );
        let (kinds, mismatches) =
            kinds_of("8@%rax -2@%bx 4f@%ecx", None, &["arg0", "arg1", "arg2"]);
        assert_eq!(kinds, [Kind::Cstring, Kind::Int, Kind::Float]);
        assert_eq!(
            mismatches,
            [
                "`arg1` of sample:probe is printed as a number: it has 2 bytes, so it is not a pointer to a string",
                "`arg2` of sample:probe is printed as a number: it has 4 bytes, so it is not a pointer to a string",
            ]
        );
        let declared = [("t", Kind::String), ("f", Kind::Float)];
        let (kinds, mismatches) = kinds_of("8@%rax 8@counter 2@%bx", Some(&declared), &[]);
        assert_eq!((kinds, mismatches.len()), (vec![Kind::String, Kind::Int], 1));
        let (kinds, mismatches) = kinds_of("8@%rax 8@%zap 8@%rbx", Some(&declared), &[]);
        assert_eq!(kinds, [Kind::Pointer, Kind::Float]);
        assert!(mismatches[0].contains("printed as a pointer"), "{mismatches:?}");
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn operands_of_16_bytes_are_read_from_memory_only() {
        let layout = layout_of(&probe("16@-32(%rbp) 16@%rax 8@-8(%rbp)", None));
        let sizes: Vec<_> = layout.args.iter().map(|a| a.slot.map(|slot| slot.size)).collect();
        assert_eq!(sizes, [Some(16), None, Some(8)]);
        assert!(layout.args[1].problem.as_ref().is_some_and(|p| p.contains("more bytes")));
        let slot = layout.args[0].slot.unwrap();
        let record: Vec<u8> = (0..layout.size as u8).collect();
        let first = u128::from(slot.at as u8);
        assert_eq!(slot.read_wide(&record).map(|wide| wide & 0xff), Some(first));
        assert_eq!(slot.read(&record), None);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn dereferences_pointers_of_function_entries() {
        let kinds = [("path", Kind::String), ("deep", Kind::Int)];
        let mut probe = probe("8@56(16(%rdi)) 8@64(16(%rdi)) 4@8(0(-16(%rdi)))", Some(&kinds));
        assert!(
            layout_of(&probe).args.iter().all(|a| a.slot.is_none()),
            "notes have no dereferences"
        );
        probe.source = Source::Entry;
        let layout = layout_of(&probe);
        let rdi = 112;
        let read = |to, len, chain: &[i64], disp, fault| {
            let from = Address { base: Some(rdi), index: None, deref_chain: chain.to_vec(), disp };
            ReadOp::Memory { to, len, from, fault }
        };
        assert_eq!(layout.reads[..2], [read(48, 4, &[-16, 0], 8, 0), read(56, 16, &[16], 56, 1)]);
        assert!(matches!(
            layout.reads[2],
            ReadOp::String { pointer: 56, length: Some(ArgSlot { at: 64, .. }), .. }
        ));
    }

    proptest::proptest! {
        #[test]
        fn parses_any_dereference_without_panic(spec in "[0-9@()%rdi-]{0,40}") {
            let mut probe = probe(&spec, None);
            probe.source = Source::Entry;
            layout_of(&probe);
        }
    }
}
