//! The arguments of a probe: their names and kinds, and the operands that hold their words.

use crate::discover::{Names, Probe, Source};
use stapsdt::argspec::{self, Arch, Expr, Index, Operand, Register, RegisterId, Value};
use stapsdt::schema::{self, Kind};

/// An operand, or why there is none.
pub(super) type Place = Result<ResolvedOperand, String>;

/// An operand and, where it is a pointer to follow, the distances from what each pointer points to.
#[derive(Clone, Debug)]
pub(super) struct ResolvedOperand {
    pub(super) value: Value,
    pub(super) beyond: Vec<i64>,
}

impl From<Value> for ResolvedOperand {
    fn from(value: Value) -> ResolvedOperand {
        ResolvedOperand { value, beyond: Vec::new() }
    }
}

/// One argument as a reader sees it.
#[derive(Clone, Debug)]
pub(super) struct Argument {
    /// From the schema, else `argN`.
    pub(super) name: String,
    /// From the schema, else integer.
    pub(super) kind: Kind,
    /// The value, or the pointer to it.
    pub(super) word: Place,
    /// The length, for what has one.
    pub(super) length: Option<Place>,
    /// The texts for its numbers.
    pub(super) names: Option<Names>,
}

/// Every argument of a probe.
#[derive(Clone, Debug)]
pub(super) struct Arguments {
    /// In declared order.
    pub(super) list: Vec<Argument>,
    /// The goroutine id.
    pub(super) goid: Option<Operand>,
    /// What the operands are written for.
    pub(super) arch: Arch,
}

impl Arguments {
    /// Reads the probe's specification. `strings` names arguments that are C strings although nothing says so.
    pub(super) fn new(probe: &Probe, strings: &[String]) -> Arguments {
        let mut places: Vec<Place> = argspec::parse(&probe.args, probe.arch)
            .into_iter()
            .map(|arg| match arg.value {
                Ok(value) => resolved(probe, value),
                Err(error) => behind_pointers(probe, &arg.spec).ok_or_else(|| error.to_string()),
            })
            .collect();
        let declared = probe.schema.as_ref().map_or(places.len(), schema::Probe::words);
        // A sealed note has the goroutine id behind the declared arguments; an unsealed one may have it known.
        let goid = if places.len() == declared + 1 && probe.schema.is_some() {
            places.pop().and_then(Result::ok).map(|reached| reached.value.operand)
        } else {
            probe.goid_offset.map(|offset| goroutine_id(offset, probe.arch))
        };
        let mut list = match &probe.schema {
            Some(schema) => declared_arguments(schema, &places, &probe.names),
            None => (0..)
                .zip(places)
                .map(|(i, word)| Argument {
                    name: format!("arg{i}"),
                    kind: Kind::Int,
                    word,
                    length: None,
                    names: None,
                })
                .collect(),
        };
        for (index, argument) in list.iter_mut().enumerate() {
            let named = |s: &String| *s == argument.name || position(s) == Some(index);
            if matches!(argument.kind, Kind::Int | Kind::Pointer) && strings.iter().any(named) {
                argument.kind = Kind::Cstring;
            }
        }
        Arguments { list, goid, arch: probe.arch }
    }

    /// By name, or by position as `argN`.
    pub(super) fn find(&self, name: &str) -> Option<&Argument> {
        let named = self.list.iter().find(|a| a.name == name);
        named.or_else(|| position(name).and_then(|i| self.list.get(i)))
    }

    /// Whether a name stands for something: an argument, or a property of every hit.
    pub(super) fn has(&self, name: &str) -> bool {
        let everywhere =
            ["pid", "tid", "comm"].contains(&name) || name == "goid" && self.goid.is_some();
        everywhere || self.find(name).is_some()
    }

    /// What there is, for messages.
    pub(super) fn names(&self) -> String {
        if self.list.is_empty() {
            return "no arguments".to_owned();
        }
        self.list.iter().map(|a| a.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// The number in `argN`.
fn position(name: &str) -> Option<usize> {
    name.strip_prefix("arg")?.parse().ok()
}

fn declared_arguments(
    schema: &schema::Probe,
    places: &[Place],
    names: &[(String, Names)],
) -> Vec<Argument> {
    let mut at = 0;
    let mut list = Vec::new();
    for arg in &schema.args {
        let place = |at: usize| {
            places
                .get(at)
                .cloned()
                .unwrap_or_else(|| Err(format!("the note has no word for `{}`", arg.name)))
        };
        let words = arg.kind.words();
        let length = (words == 2).then(|| place(at + 1));
        let names = names.iter().find(|(name, _)| *name == arg.name).map(|(_, names)| *names);
        list.push(Argument {
            name: arg.name.clone(),
            kind: arg.kind,
            word: place(at),
            length,
            names,
        });
        at += words;
    }
    list
}

/// A value at a symbol, as one at a distance from the site: wherever the file is mapped, that stays.
fn resolved(probe: &Probe, mut value: Value) -> Place {
    let Operand::Memory { disp, base, index } = &mut value.operand else { return Ok(value.into()) };
    let Some(symbol) = disp.symbol.take() else { return Ok(value.into()) };
    let address = probe
        .symbols
        .get(&symbol)
        .ok_or_else(|| format!("its symbol `{symbol}` is not in the file"))?;
    let distance = address.wrapping_sub(probe.address).wrapping_add(disp.offset as u64);
    disp.offset = distance as i64;
    let site = Register { id: RegisterId::Pc, bits: 64, shift: 0 };
    match (*base, *index) {
        // `symbol(%rip)` is how position-independent code says `symbol`.
        (None | Some(Register { id: RegisterId::Pc, .. }), _) => *base = Some(site),
        (Some(_), None) => *index = Some(Index { register: site, scale: 1 }),
        (Some(_), Some(_)) => {
            return Err(format!("its address has two registers beside `{symbol}`"));
        }
    }
    Ok(value.into())
}

/// An argument of a function entry, `8@56(16(%rdi))`: at 56 bytes from where the pointer at `16(%rdi)` points to. Notes
/// have nothing of that kind.
fn behind_pointers(probe: &Probe, text: &str) -> Option<ResolvedOperand> {
    let (size, mut rest) = text.split_once('@').filter(|_| probe.source == Source::Entry)?;
    let mut beyond = Vec::new();
    loop {
        let (distance, inner) = rest.split_once('(')?;
        beyond.insert(0, distance.parse().ok()?);
        rest = inner.strip_suffix(')')?;
        let parsed = argspec::parse(&format!("{size}@{rest}"), probe.arch).pop()?;
        if let Ok(value) = parsed.value {
            return Some(ResolvedOperand { value, beyond });
        }
    }
}

/// Where the goroutine id is, on the architecture that the probe is for.
fn goroutine_id(offset: u32, arch: Arch) -> Operand {
    let g = crate::discover::running_goroutine(arch);
    Operand::Memory { disp: Expr::number(offset.into()), base: Some(Register::gpr(g)), index: None }
}
