//! The arguments of a probe: their names and kinds, and the operands that hold them.
//!
//! An argument takes one operand of the specification, or two if it has a length, as Go strings, byte
//! slices and errors have, or is a time. A note that usdt-gen sealed has one more operand after the declared
//! arguments, the goroutine id.
//!
//! `argN` names the argument at position N. Where the names come from a known provider, N counts
//! operands, as it does without names and in other tracers: `arg1` stays the same operand when a
//! release of this library learns the names of a provider.

use crate::discover::{ArgumentGuard, EnumLabels, NATIVE, Probe, SchemaSource, Source};
use crate::filter::PROCESS;
use gobinary::signature::GuardTest;
use stapsdt::argspec::{self, Arch, Expr, Index, Operand, Register, RegisterId, Value};
use stapsdt::schema::{self, Kind};

/// An operand, or the reason why it cannot be read.
pub(super) type OperandResult = Result<ResolvedOperand, String>;

/// An operand, which may have to be dereferenced.
#[derive(Clone, Debug)]
pub(super) struct ResolvedOperand {
    pub(super) value: Value,
    /// For each pointer to follow, the offset of the next value from the address it holds; empty if
    /// `value` is the argument.
    pub(super) deref_offsets: Vec<i64>,
    /// What must hold for the value to exist, in the order in which it has to be tested.
    pub(super) guards: Vec<OperandGuard>,
}

/// A condition without which a value does not exist.
#[derive(Clone, Debug)]
pub(super) struct OperandGuard {
    /// The word that is tested, which has no guards of its own.
    pub(super) word: ResolvedOperand,
    pub(super) test: OperandTest,
}

/// The test of an [`OperandGuard`].
#[derive(Clone, Copy, Debug)]
pub(super) enum OperandTest {
    /// The word is a length above this index.
    HasIndex(i64),
    /// The word is not zero.
    IsNotNil,
    /// The word is an address with this distance from the site.
    IsAtDistance(i64),
}

impl From<Value> for ResolvedOperand {
    fn from(value: Value) -> ResolvedOperand {
        ResolvedOperand { value, deref_offsets: Vec::new(), guards: Vec::new() }
    }
}

/// One argument as a user names it.
#[derive(Clone, Debug)]
pub(super) struct Argument {
    /// The name in the schema, else `argN`.
    pub(super) name: String,
    /// The kind in the schema, else an integer.
    pub(super) kind: Kind,
    /// The value, or the pointer to the bytes of a string.
    pub(super) value: OperandResult,
    /// The length of a string; `None` for kinds without a length.
    pub(super) length: Option<OperandResult>,
    /// The field `ext` of a time, whose field `wall` is the value; `None` for other kinds.
    pub(super) ext: Option<OperandResult>,
    /// The labels of an enumeration; `None` for other arguments.
    pub(super) labels: Option<EnumLabels>,
    /// The words of the interface, if the argument is one: what it prints depends on its type.
    pub(super) interface: Option<InterfaceWords>,
}

/// The words of an interface.
#[derive(Clone, Debug)]
pub(super) struct InterfaceWords {
    /// The first word, which is zero if the interface is nil.
    pub(super) first: OperandResult,
    /// The address of the descriptor of the dynamic type.
    pub(super) ty: OperandResult,
}

impl Argument {
    /// Returns an integer without length and labels.
    fn integer(name: String, value: OperandResult) -> Argument {
        let kind = Kind::Int;
        Argument { name, kind, value, length: None, ext: None, labels: None, interface: None }
    }

    /// Returns the operands that a filter or a key needs: for an error, that it is nil or not.
    pub(super) fn key_operands(&self) -> Vec<OperandResult> {
        match &self.interface {
            Some(interface) => vec![interface.first.clone()],
            None => [&self.value].into_iter().chain(&self.length).cloned().collect(),
        }
    }

    /// Returns the operands that a record needs.
    pub(super) fn record_operands(&self) -> Vec<OperandResult> {
        let interface = self.interface.iter().flat_map(|i| [&i.first, &i.ty]);
        let words = [&self.value].into_iter().chain(&self.length).chain(&self.ext);
        words.chain(interface).cloned().collect()
    }
}

/// All arguments of a probe.
#[derive(Clone, Debug)]
pub(super) struct Arguments {
    /// The arguments in declared order.
    pub(super) list: Vec<Argument>,
    /// True if N counts operands in `argN`, false if it counts arguments.
    counts_operands: bool,
    /// The lengths of strings as integers named `argN`, which events do not have; empty if N counts
    /// arguments.
    lengths: Vec<Argument>,
    /// The name of the argument at each position, for `argN`.
    positions: Vec<String>,
    /// The operand with the goroutine id; `None` if the probe has none.
    pub(super) goid: Option<Operand>,
    /// The architecture of the operands.
    pub(super) arch: Arch,
    /// True if strings may not be in memory when the probe fires. Code that usdt-gen generated reads
    /// a string before it fires the probe.
    pub(super) fault_in: bool,
    /// Sentences about arguments that are not of the kind that the schema or an option names.
    pub(super) mismatches: Vec<String>,
}

impl Arguments {
    /// Parses the argument specification of a probe. `strings` names integer or pointer arguments
    /// to read as C strings.
    pub(super) fn new(probe: &Probe, strings: &[String]) -> Arguments {
        // The planner has skipped the probes of other architectures.
        let arch = probe.arch().unwrap_or(NATIVE);
        let mut operands = parse_operands(probe, &probe.args, arch);
        let declared = probe.schema.as_ref().map_or(operands.len(), schema::Probe::words);
        let goid = if operands.len() == declared + 1 && probe.schema.is_some() {
            operands.pop().and_then(Result::ok).map(|resolved| resolved.value.operand)
        } else {
            probe.goid_offset.map(|offset| goroutine_id(offset, arch))
        };
        let mut list = match &probe.schema {
            Some(schema) => declared_arguments(schema, &operands, probe, arch),
            None => (0..)
                .zip(operands)
                .map(|(i, value)| Argument::integer(format!("arg{i}"), value))
                .collect(),
        };
        let counts_operands = probe.schema_source == Some(SchemaSource::Known);
        let (mut lengths, mut positions) = (Vec::new(), Vec::new());
        for argument in &list {
            positions.push(argument.name.clone());
            if let Some(length) = argument.length.as_ref().filter(|_| counts_operands) {
                let name = format!("arg{}", positions.len());
                positions.push(name.clone());
                lengths.push(Argument::integer(name, length.clone()));
            }
        }
        for argument in &mut list {
            let is_named = |s: &String| {
                *s == argument.name || at_position(&positions, s) == Some(&argument.name)
            };
            if matches!(argument.kind, Kind::Int | Kind::Pointer) && strings.iter().any(is_named) {
                argument.kind = Kind::Cstring;
            }
        }
        let mismatches = list.iter_mut().filter_map(|a| check_kind(a, probe)).collect();
        let fault_in = !probe.generated;
        Arguments { list, counts_operands, lengths, positions, goid, arch, fault_in, mismatches }
    }

    /// Returns the argument with a name, or at position N for `argN`, and its index among
    /// `list` and the lengths of strings.
    pub(super) fn find(&self, name: &str) -> Option<(usize, &Argument)> {
        let named = |name: &str| self.all().enumerate().find(|(_, a)| a.name == name);
        named(name).or_else(|| named(at_position(&self.positions, name)?))
    }

    /// Returns the argument with an index that [`Arguments::find`] returned.
    pub(super) fn get(&self, index: usize) -> Option<&Argument> {
        self.all().nth(index)
    }

    fn all(&self) -> impl Iterator<Item = &Argument> {
        self.list.iter().chain(&self.lengths)
    }

    /// Returns the names of the arguments in declared order, then `argN` for each position if N
    /// counts operands.
    pub(super) fn all_names(&self) -> impl Iterator<Item = String> {
        let positions = if self.counts_operands { self.positions.len() } else { 0 };
        let names = self.list.iter().map(|a| a.name.clone());
        names.chain((0..positions).map(|i| format!("arg{i}")))
    }

    /// Returns true if the name is that of an argument or of a property that hits of this probe
    /// have.
    pub(super) fn has(&self, name: &str) -> bool {
        let is_property = ["pid", "tid", "comm", PROCESS].contains(&name)
            || name == "goid" && self.goid.is_some();
        is_property || self.find(name).is_some()
    }

    /// Lists the names of the arguments for a message.
    pub(super) fn names(&self) -> String {
        if self.list.is_empty() {
            return "no arguments".to_owned();
        }
        self.list.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// Corrects the kind of an argument whose operand contradicts it, and returns a message that says
/// so. Only the note knows the size of an operand and whether it is a floating-point number.
fn check_kind(argument: &mut Argument, probe: &Probe) -> Option<String> {
    let is_string =
        matches!(argument.kind, Kind::Cstring | Kind::String | Kind::Bytes | Kind::Error);
    let Ok(ResolvedOperand { value, .. }) = &mut argument.value else { return None };
    // C code can write NULL as a plain 0.
    let is_zero = matches!(&value.operand, Operand::Constant(Expr { symbol: None, offset: 0, .. }));
    if is_string && is_zero {
        (value.size, value.signed, value.float) = (8, false, false);
    }
    // `%ah` and its like have one byte, even if the note claims a larger size.
    let is_high_byte = matches!(value.operand, Operand::Register(Register { shift: 8, .. }));
    let size = if is_high_byte { 1 } else { value.size };
    let is_float = value.float && matches!(size, 4 | 8);
    let from_note = if is_float { Kind::Float } else { Kind::Int };
    let problem = match (argument.kind, argument.length.clone()) {
        // The definition is not always at hand, and `argN` has no type of its own.
        (Kind::Int, _) => {
            argument.kind = from_note;
            return None;
        }
        (Kind::Float, _) if !matches!(size, 4 | 8) => {
            format!("has {size} bytes, but a floating-point number has 4 or 8")
        }
        (Kind::Cstring | Kind::String | Kind::Bytes | Kind::Error, _) if size != 8 => {
            format!("has {size} bytes, so it is not a pointer to a string")
        }
        (_, Some(Err(problem))) => {
            argument.kind = Kind::Pointer;
            argument.length = None;
            let name = &argument.name;
            return Some(format!(
                "`{name}` of {} is printed as a pointer: its length cannot be read: {problem}",
                probe.full_name()
            ));
        }
        _ => return None,
    };
    argument.kind = from_note;
    argument.length = None;
    Some(format!(
        "`{}` of {} is printed as a number: it {problem}",
        argument.name,
        probe.full_name()
    ))
}

/// Parses operands in the syntax of notes, extended by dereferences.
fn parse_operands(probe: &Probe, specs: &str, arch: Arch) -> Vec<OperandResult> {
    let operand = |arg: argspec::Arg| match arg.value {
        Ok(value) => resolve_symbol(probe, value),
        Err(error) => parse_dereferences(probe, &arg.spec).ok_or_else(|| error.to_string()),
    };
    argspec::parse(specs, arch).into_iter().map(operand).collect()
}

/// Parses one operand.
fn parse_operand(probe: &Probe, spec: &str, arch: Arch) -> OperandResult {
    parse_operands(probe, spec, arch).pop().unwrap_or_else(|| Err("it has no operand".to_owned()))
}

/// Returns the guards of an argument.
fn operand_guards(probe: &Probe, argument: &str, arch: Arch) -> Result<Vec<OperandGuard>, String> {
    let guards = probe.guards.iter().filter(|guard| guard.argument == argument);
    let guard = |guard: &ArgumentGuard| {
        let test = match guard.test {
            GuardTest::HasIndex(index) => OperandTest::HasIndex(index),
            GuardTest::IsNotNil => OperandTest::IsNotNil,
            // The distance is the same wherever the file is mapped.
            GuardTest::IsType(address) => {
                OperandTest::IsAtDistance(address.wrapping_sub(probe.address) as i64)
            }
        };
        Ok(OperandGuard { word: parse_operand(probe, &guard.word, arch)?, test })
    };
    guards.map(guard).collect()
}

/// Returns the name of the argument at position N for `argN`.
fn at_position<'a>(positions: &'a [String], name: &str) -> Option<&'a String> {
    positions.get(name.strip_prefix("arg")?.parse::<usize>().ok()?)
}

/// Assigns the operands of a note to the arguments of a schema.
fn declared_arguments(
    schema: &schema::Probe,
    operands: &[OperandResult],
    probe: &Probe,
    arch: Arch,
) -> Vec<Argument> {
    let mut at = 0;
    let mut list = Vec::new();
    for arg in &schema.args {
        let operand = |at: usize| {
            operands
                .get(at)
                .cloned()
                .unwrap_or_else(|| Err(format!("the note has no operand for `{}`", arg.name)))
        };
        let words = arg.kind.words();
        let second = (words == 2).then(|| operand(at + 1));
        let (length, ext) = if arg.kind == Kind::Time { (None, second) } else { (second, None) };
        let known = probe.enum_labels.iter().find(|(name, _)| *name == arg.name);
        let labels = known.map(|(_, labels)| labels.clone()).or_else(|| {
            (!arg.labels.is_empty()).then(|| EnumLabels::Schema(arg.labels.as_slice().into()))
        });
        let interface = probe.interfaces.iter().find(|words| words.name == arg.name);
        let guards = operand_guards(probe, &arg.name, arch);
        let guarded = |operand: OperandResult| {
            let (operand, guards) = (operand?, guards.clone()?);
            Ok(ResolvedOperand { guards, ..operand })
        };
        let word = |spec: &str| guarded(parse_operand(probe, spec, arch));
        let interface = interface
            .map(|words| InterfaceWords { first: word(&words.first), ty: word(&words.ty) });
        list.push(Argument {
            name: arg.name.clone(),
            kind: arg.kind,
            value: guarded(operand(at)),
            length: length.map(guarded),
            ext: ext.map(guarded),
            labels,
            interface,
        });
        at += words;
    }
    list
}

/// Replaces the symbol in an operand by its distance from the site, which is the same wherever the
/// file is mapped.
fn resolve_symbol(probe: &Probe, mut value: Value) -> OperandResult {
    let Operand::Memory { disp, base, index } = &mut value.operand else { return Ok(value.into()) };
    let Some(symbol) = disp.symbol.take() else { return Ok(value.into()) };
    let address = probe
        .symbols
        .get(&symbol)
        .ok_or_else(|| format!("symbol `{symbol}` is not in the file"))?;
    let distance = address.wrapping_sub(probe.address).wrapping_add(disp.offset as u64);
    disp.offset = distance as i64;
    let site = Register { id: RegisterId::Pc, bits: 64, shift: 0 };
    match (*base, *index) {
        // Position-independent code writes `symbol(%rip)` for `symbol`.
        (None | Some(Register { id: RegisterId::Pc, .. }), _) => *base = Some(site),
        (Some(_), None) => *index = Some(Index { register: site, scale: 1 }),
        (Some(_), Some(_)) => {
            return Err(format!(
                "its address adds two registers to symbol `{symbol}`; one is supported"
            ));
        }
    }
    Ok(value.into())
}

/// Parses the dereferences in an argument of a function entry or probe: `8@56(16(%rdi))` is the value 56
/// bytes after the address that the pointer at `16(%rdi)` holds. Notes have no such syntax.
fn parse_dereferences(probe: &Probe, spec: &str) -> Option<ResolvedOperand> {
    let is_entry = matches!(probe.source, Source::Entry | Source::Function);
    let (size, mut rest) = spec.split_once('@').filter(|_| is_entry)?;
    let mut deref_offsets = Vec::new();
    loop {
        let (distance, inner) = rest.split_once('(')?;
        deref_offsets.insert(0, distance.parse().ok()?);
        rest = inner.strip_suffix(')')?;
        let parsed = argspec::parse(&format!("{size}@{rest}"), probe.arch()?).pop()?;
        if let Ok(value) = parsed.value {
            return Some(ResolvedOperand { value, deref_offsets, guards: Vec::new() });
        }
    }
}

/// Returns the operand for a goroutine id at an offset in `runtime.g`.
fn goroutine_id(offset: u32, arch: Arch) -> Operand {
    let g = crate::discover::goroutine_register(arch);
    Operand::Memory { disp: Expr::number(offset.into()), base: Some(Register::gpr(g)), index: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::sample;

    fn described(source: SchemaSource) -> Probe {
        let kinds = [("thread", Kind::Int), ("class", Kind::String), ("size", Kind::Int)];
        let probe = sample::described("-8@%rax 8@%rdx 8@%rcx -8@%rbx", &kinds);
        Probe { schema_source: Some(source), ..probe }
    }

    fn names_by_position(probe: &Probe) -> Vec<Option<String>> {
        let arguments = Arguments::new(probe, &[]);
        let name = |i: u32| arguments.find(&format!("arg{i}")).map(|(_, a)| a.name.clone());
        (0..5).map(name).collect()
    }

    #[test]
    fn positions_count_operands_where_the_names_are_those_of_a_known_provider() {
        let names = |names: [&str; 4]| -> Vec<Option<String>> {
            names.map(|name| Some(name.to_owned())).into_iter().chain([None]).collect()
        };
        let known = described(SchemaSource::Known);
        assert_eq!(names_by_position(&known), names(["thread", "class", "arg2", "size"]));
        let arguments = Arguments::new(&known, &[]);
        assert_eq!(arguments.list.len(), 3, "events have no length of their own");
        let (index, length) = arguments.find("arg2").unwrap();
        assert_eq!((length.kind, arguments.get(index).unwrap().name.as_str()), (Kind::Int, "arg2"));
        assert_eq!(
            arguments.all_names().collect::<Vec<_>>(),
            ["thread", "class", "size", "arg0", "arg1", "arg2", "arg3"]
        );
        let mut by_arguments = names(["thread", "class", "size", ""]);
        (by_arguments[3], by_arguments[4]) = (None, None);
        assert_eq!(names_by_position(&described(SchemaSource::File)), by_arguments);
    }

    #[test]
    fn a_plain_zero_is_a_string_that_is_nil() {
        let probe = sample::described("-4@$0 -4@$7", &[("a", Kind::Cstring), ("b", Kind::Cstring)]);
        let arguments = Arguments::new(&probe, &[]);
        let kinds: Vec<Kind> = arguments.list.iter().map(|argument| argument.kind).collect();
        assert_eq!(kinds, [Kind::Cstring, Kind::Int]);
        assert_eq!(arguments.list[0].value.as_ref().unwrap().value.size, 8);
        assert_eq!(arguments.mismatches.len(), 1, "{:?}", arguments.mismatches);
    }

    #[test]
    fn reads_an_integer_of_a_known_provider_as_a_string_by_its_position() {
        let arguments = Arguments::new(&described(SchemaSource::Known), &["arg3".to_owned()]);
        assert_eq!(arguments.find("size").unwrap().1.kind, Kind::Cstring);
    }
}
