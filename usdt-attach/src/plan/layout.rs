//! The record of a hit: what is written where, and how to read it back.
//!
//! ```text
//!  0  u32 cookie       16  u32 tid, u32 pid (the helper's pid_tgid, little-endian)
//!  4  u32 faults       24  u64 goroutine id, 0 where there is none
//!  8  u64 monotonic ns 32  comm, 16 bytes
//! 48  argument words, then texts: u32 length, u32 unused, bytes
//! ```
//!
//! Words are stored as they are found, 8 bytes of a register or the bytes of memory; sizing and sign extension
//! are the reader's work, not the traced program's. A read that fails sets its bit in `faults`.

use super::ptregs;
use crate::discover::Probe;
use serde::Serialize;
use stapsdt::argspec::{self, Arch, Expr, Index, Operand, Register, RegisterId, Value};
use stapsdt::schema::{self, Kind};

/// The architecture this program runs on, and so the one it can trace.
#[cfg(target_arch = "x86_64")]
pub const NATIVE: Arch = Arch::X86_64;
/// The architecture this program runs on, and so the one it can trace.
#[cfg(target_arch = "aarch64")]
pub const NATIVE: Arch = Arch::Aarch64;

/// Offset of the cookie.
pub const COOKIE: u32 = 0;
/// Offset of the fault bits.
pub const FAULTS: u32 = 4;
/// Offset of the time.
pub const TIME: u32 = 8;
/// Offset of the thread and process id.
pub const PID_TGID: u32 = 16;
/// Offset of the goroutine id.
pub const GOID: u32 = 24;
/// Offset of the thread's name.
pub const COMM: u32 = 32;
/// Offset of the first argument word.
pub const ARGS: u32 = 48;

/// What the program does on a hit, and how the record reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
pub struct Layout {
    /// Bytes of the record, a multiple of 8.
    pub size: u32,
    /// In order: texts come after the words that point to them.
    pub steps: Vec<Step>,
    /// One for each argument a reader sees.
    pub args: Vec<ArgView>,
    /// Whether the goroutine id is recorded.
    pub goid: bool,
}

/// One action of the program on the record. `to` is the record offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Stores a number.
    Constant {
        /// Record offset.
        to: u32,
        /// The number.
        value: i64,
    },
    /// Stores a whole register.
    Register {
        /// Record offset.
        to: u32,
        /// Offset in `pt_regs`.
        from: i16,
    },
    /// Copies user memory.
    Memory {
        /// Record offset.
        to: u32,
        /// Bytes.
        len: u32,
        /// Where from.
        from: Address,
        /// Bit set in the faults when it fails.
        fault: u8,
    },
    /// Copies text that words of the record point to: its length as `u32`, then the bytes.
    Text {
        /// Record offset.
        to: u32,
        /// Most bytes copied.
        max: u32,
        /// Record offset of the pointer.
        pointer: u32,
        /// Record offset of the length; `None` for NUL-terminated text.
        length: Option<u32>,
        /// Bit set in the faults when it fails.
        fault: u8,
    },
}

/// `base + index * scale + disp`, registers by their offset in `pt_regs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
pub struct Address {
    /// Base register.
    pub base: Option<i16>,
    /// Scaled register and scale.
    pub index: Option<(i16, u8)>,
    /// Constant part.
    pub disp: i64,
}

/// How a reader finds an argument in the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Hash)]
pub struct ArgView {
    /// From the schema, else `argN`.
    pub name: String,
    /// From the schema, else integer.
    pub kind: Kind,
    /// The value, or the pointer; `None` where it cannot be read.
    pub word: Option<Word>,
    /// The text it points to.
    pub text: Option<Text>,
    /// Why there is no value.
    pub problem: Option<String>,
}

/// A number in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Hash)]
pub struct Word {
    /// Record offset of the least significant byte.
    pub at: u32,
    /// Bytes.
    pub size: u8,
    /// Two's complement.
    pub signed: bool,
    /// Fault bit of the read that brought it.
    pub fault: Option<u8>,
}

/// Text in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Hash)]
pub struct Text {
    /// Record offset of its length.
    pub at: u32,
    /// Most bytes it can have.
    pub max: u32,
    /// Where its full length is, for text with one.
    pub length: Option<Word>,
    /// Fault bit of the read that brought it.
    pub fault: u8,
}

impl Layout {
    /// The record of a probe.
    pub fn new(probe: &Probe, max_text: u32) -> Layout {
        let mut builder = Builder::default();
        let mut values: Vec<Result<Value, String>> = argspec::parse(&probe.args, probe.arch)
            .into_iter()
            .map(|arg| resolved(probe, arg.value.map_err(|e| e.to_string())?))
            .collect();
        let declared = probe.schema.as_ref().map_or(values.len(), schema::Probe::words);
        // A sealed note has the goroutine id behind the declared arguments; an unsealed one may have it known.
        let goid = if values.len() == declared + 1 && probe.schema.is_some() {
            values.pop().and_then(Result::ok).map(|v| v.operand)
        } else {
            probe.goid_offset.map(|offset| goroutine_id(offset, probe.arch))
        };
        let goid = goid.and_then(|operand| builder.goid(&operand, probe.arch)).is_some();
        let words = builder.words(&values, probe.arch);
        let args = builder.views(probe, &words, max_text);
        Layout { size: builder.end.next_multiple_of(8), steps: builder.steps, args, goid }
    }
}

/// A value at a symbol, as one at a distance from the site: wherever the file is mapped, that stays.
fn resolved(probe: &Probe, mut value: Value) -> Result<Value, String> {
    let Operand::Memory { disp, base, index } = &mut value.operand else { return Ok(value) };
    let Some(symbol) = disp.symbol.take() else { return Ok(value) };
    let address =
        probe.symbols.get(&symbol).ok_or_else(|| format!("its symbol `{symbol}` is not in the file"))?;
    let distance = address.wrapping_sub(probe.address).wrapping_add(disp.offset as u64);
    disp.offset = distance as i64;
    let site = Register { id: RegisterId::Pc, bits: 64, shift: 0 };
    match (*base, *index) {
        // `symbol(%rip)` is how position-independent code says `symbol`.
        (None | Some(Register { id: RegisterId::Pc, .. }), _) => *base = Some(site),
        (Some(_), None) => *index = Some(Index { register: site, scale: 1 }),
        (Some(_), Some(_)) => return Err(format!("its address has two registers beside `{symbol}`")),
    }
    Ok(value)
}

fn goroutine_id(offset: u32, arch: Arch) -> Operand {
    let g = match arch {
        Arch::X86_64 => gobinary::goid::G_AMD64,
        Arch::Aarch64 => gobinary::goid::G_ARM64,
    };
    Operand::Memory { disp: Expr::number(offset.into()), base: Some(Register::gpr(g)), index: None }
}

struct Builder {
    end: u32,
    steps: Vec<Step>,
    faults: u8,
}

impl Default for Builder {
    fn default() -> Self {
        Builder { end: ARGS, steps: Vec::new(), faults: 0 }
    }
}

/// A memory argument waiting to be read together with its neighbours.
struct Pending {
    index: usize,
    size: u8,
    signed: bool,
    address: Address,
}

impl Builder {
    fn take(&mut self, bytes: u32) -> u32 {
        let at = self.end;
        self.end += bytes.next_multiple_of(8);
        at
    }

    /// A fault bit of its own; the last one is shared when there are more reads than bits.
    fn fault(&mut self) -> u8 {
        let bit = self.faults.min(31);
        self.faults = self.faults.saturating_add(1);
        bit
    }

    fn goid(&mut self, operand: &Operand, arch: Arch) -> Option<()> {
        let from = address(operand, arch).ok()?;
        let fault = self.fault();
        self.steps.push(Step::Memory { to: GOID, len: 8, from, fault });
        Some(())
    }

    /// Reads every word; memory operands that are close together in one go.
    fn words(&mut self, values: &[Result<Value, String>], arch: Arch) -> Vec<Result<Word, String>> {
        let mut out: Vec<Result<Word, String>> = vec![Err(String::new()); values.len()];
        let mut pending: Vec<Pending> = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let word = match value {
                Err(problem) => Err(problem.clone()),
                Ok(value) => match &value.operand {
                    Operand::Memory { .. } => match address(&value.operand, arch) {
                        Ok(address) => {
                            pending.push(Pending { index, size: value.size, signed: value.signed, address });
                            continue;
                        }
                        Err(problem) => Err(problem),
                    },
                    operand => self.immediate(value, operand, arch),
                },
            };
            if let Some(slot) = out.get_mut(index) {
                *slot = word;
            }
        }
        for (index, word) in self.runs(pending) {
            if let Some(slot) = out.get_mut(index) {
                *slot = Ok(word);
            }
        }
        out
    }

    fn immediate(&mut self, value: &Value, operand: &Operand, arch: Arch) -> Result<Word, String> {
        let word = |at| Word { at, size: value.size, signed: value.signed, fault: None };
        match operand {
            Operand::Constant(Expr { symbol: None, offset }) => {
                let to = self.take(8);
                self.steps.push(Step::Constant { to, value: *offset });
                Ok(word(to))
            }
            Operand::Register(Register { id: RegisterId::Zero, .. }) => {
                let to = self.take(8);
                self.steps.push(Step::Constant { to, value: 0 });
                Ok(word(to))
            }
            Operand::Register(register) => {
                let from = ptregs::offset(register.id, arch)
                    .ok_or_else(|| format!("`{}` is in no general register", value.print(arch)))?;
                let to = self.take(8);
                self.steps.push(Step::Register { to, from });
                Ok(word(to + u32::from(register.shift) / 8))
            }
            _ => Err(format!("`{}` needs the symbol table", value.print(arch))),
        }
    }

    fn runs(&mut self, mut pending: Vec<Pending>) -> Vec<(usize, Word)> {
        /// Reading across a gap is cheaper than a second read, as long as it is small.
        const GAP: i64 = 16;
        const LONGEST: i64 = 256;
        pending.sort_by_key(|p| (p.address.base, p.address.index, p.address.disp));
        let mut out = Vec::new();
        let mut rest = pending.as_slice();
        while let Some((first, _)) = rest.split_first() {
            let start = first.address.disp;
            let mut end = start.saturating_add(i64::from(first.size));
            let mut count = 1;
            for next in rest.iter().skip(1) {
                let same =
                    next.address.base == first.address.base && next.address.index == first.address.index;
                let next_end = next.address.disp.saturating_add(i64::from(next.size));
                let apart = next.address.disp.saturating_sub(end);
                if !same || apart > GAP || next_end.saturating_sub(start) > LONGEST {
                    break;
                }
                end = end.max(next_end);
                count += 1;
            }
            let (run, tail) = rest.split_at(count.min(rest.len()));
            rest = tail;
            // At most LONGEST, or the size of one word.
            let len = end.saturating_sub(start) as u32;
            let to = self.take(len);
            let fault = self.fault();
            self.steps.push(Step::Memory { to, len, from: first.address.clone(), fault });
            for p in run {
                let at = to + (p.address.disp - start) as u32;
                out.push((p.index, Word { at, size: p.size, signed: p.signed, fault: Some(fault) }));
            }
        }
        out
    }

    /// Pairs words with declared arguments and adds the copies of texts.
    fn views(&mut self, probe: &Probe, words: &[Result<Word, String>], max_text: u32) -> Vec<ArgView> {
        let Some(schema) = &probe.schema else {
            return words
                .iter()
                .enumerate()
                .map(|(i, word)| ArgView {
                    name: format!("arg{i}"),
                    kind: Kind::Int,
                    word: word.as_ref().ok().copied(),
                    text: None,
                    problem: word.as_ref().err().cloned(),
                })
                .collect();
        };
        let mut at = 0;
        let mut out = Vec::new();
        for arg in &schema.args {
            let word = words
                .get(at)
                .cloned()
                .unwrap_or_else(|| Err(format!("the note has no word for `{}`", arg.name)));
            let length = words.get(at + 1).cloned().and_then(Result::ok).filter(|_| arg.kind.words() == 2);
            at += arg.kind.words();
            let text = word.as_ref().ok().and_then(|word| self.text(arg.kind, word, length, max_text));
            out.push(ArgView {
                name: arg.name.clone(),
                kind: arg.kind,
                word: word.as_ref().ok().copied(),
                text,
                problem: word.err(),
            });
        }
        out
    }

    fn text(&mut self, kind: Kind, word: &Word, length: Option<Word>, max: u32) -> Option<Text> {
        // A pointer or length that is not a whole word is none of ours.
        if word.size != 8 || length.is_some_and(|l| l.size != 8) {
            return None;
        }
        let length = match kind {
            Kind::Cstring => None,
            Kind::String | Kind::Bytes | Kind::Error => Some(length?),
            _ => return None,
        };
        let to = self.take(8 + max);
        let fault = self.fault();
        self.steps.push(Step::Text { to, max, pointer: word.at, length: length.map(|l| l.at), fault });
        Some(Text { at: to, max, length, fault })
    }
}

fn address(operand: &Operand, arch: Arch) -> Result<Address, String> {
    // Symbols are distances from the site by now.
    let Operand::Memory { disp: Expr { symbol: None, offset }, base, index } = operand else {
        return Err("not in memory".to_owned());
    };
    let register =
        |r: &Register| ptregs::offset(r.id, arch).ok_or("its address is in no general register".to_owned());
    Ok(Address {
        base: base.as_ref().map(register).transpose()?,
        index: index.as_ref().map(|i| register(&i.register).map(|r| (r, i.scale))).transpose()?,
        disp: *offset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::Source;
    use stapsdt::site::Instruction;

    fn probe(args: &str, schema: Option<&[(&str, Kind)]>) -> Probe {
        let schema = schema.map(|args| schema::Probe {
            name: "p".into(),
            args: args
                .iter()
                .map(|(name, kind)| schema::Arg {
                    name: (*name).into(),
                    ty: "t".into(),
                    kind: *kind,
                    size: 8,
                    signed: false,
                    doc: String::new(),
                })
                .collect(),
            doc: String::new(),
            stability: None,
        });
        Probe {
            provider: "a".into(),
            name: "p".into(),
            address: 0x1000,
            offset: 0x1000,
            semaphore: None,
            semaphore_offset: None,
            args: args.into(),
            source: Source::Note,
            schema,
            arch: Arch::X86_64,
            instruction: Instruction::Nop,
            generated: true,
            symbols: std::sync::Arc::new([("counter".to_owned(), 0x5010)].into()),
            goid_offset: None,
        }
    }

    #[test]
    fn a_go_probe_is_one_read_and_its_texts() {
        let schema = [("id", Kind::Int), ("method", Kind::String), ("path", Kind::Cstring)];
        let layout =
            Layout::new(&probe("8@8(%rsp) 8@16(%rsp) 8@24(%rsp) 8@32(%rsp) 8@152(%r14)", Some(&schema)), 64);
        assert!(layout.goid);
        assert_eq!(
            layout.steps,
            [
                Step::Memory {
                    to: GOID,
                    len: 8,
                    from: Address { base: Some(8), index: None, disp: 152 },
                    fault: 0
                },
                Step::Memory {
                    to: 48,
                    len: 32,
                    from: Address { base: Some(152), index: None, disp: 8 },
                    fault: 1
                },
                Step::Text { to: 80, max: 64, pointer: 56, length: Some(64), fault: 2 },
                Step::Text { to: 152, max: 64, pointer: 72, length: None, fault: 3 },
            ]
        );
        assert_eq!(layout.size, 224);
        assert_eq!(layout.args.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["id", "method", "path"]);
    }

    #[test]
    fn operands_of_compilers() {
        let layout = Layout::new(
            &probe(
                "-4@%edi 1@%ah 8@$-3 4@-20(%rbp) 2@-16(%rbp) 8@(%rax,%rbx,4) 8f@%xmm0 8@sym(%rip) 8@%zz",
                None,
            ),
            64,
        );
        let at: Vec<Option<u32>> = layout.args.iter().map(|a| a.word.map(|w| w.at)).collect();
        assert_eq!(at, [Some(48), Some(57), Some(64), Some(72), Some(76), Some(80), None, None, None]);
        let problems: Vec<&str> = layout.args.iter().filter_map(|a| a.problem.as_deref()).collect();
        assert_eq!(
            problems,
            [
                "`8f@%xmm0` is in no general register",
                "its symbol `sym` is not in the file",
                "`%zz` is no register of this architecture"
            ]
        );
        assert!(!layout.goid);
    }

    /// The site is at 0x1000 or so, the symbol at 0x5010: what is between them is the same wherever both are mapped.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn symbols_are_distances_from_the_site() {
        let probe = probe("4@counter(%rip) 4@counter+8 8@counter(,%rax,8) 8@-4+counter(%rax)", None);
        let distance = 0x5010 - probe.address as i64;
        let layout = Layout::new(&probe, 64);
        let mut from: Vec<&Address> = Vec::new();
        for step in &layout.steps {
            if let Step::Memory { from: address, .. } = step {
                from.push(address);
            }
        }
        let (rip, rax) = (128, 80);
        let address = |base, index, disp| Address { base: Some(base), index, disp };
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
}
