//! Signatures: the parameters that DWARF describes, placed by Go's calling convention.
//!
//! DWARF may not describe all parameters. Before Go 1.24, blank and unnamed ones are missing; the
//! dictionary of generic functions is, before Go 1.27. The function table has the number of bytes
//! that parameters, results and spilled registers take on the stack. Only a placement that
//! takes as many can be right. If there is none, location lists say where parameters are.

use super::DebugInfoError;
use super::functions::{Function, FunctionVariable};
use super::locations::{Lists, frame_address};
use super::types::{TypeReader, Types};
use super::units::Entries;
use crate::binary::GoBinary;
use crate::go_type::TypeRef;
use crate::pclntab::TableLayout;
use crate::register_abi::{Assignment, Home, Operand, RegisterSet, TypeSource, assign};
use crate::signature::{Placement, Signature, Variable};
use crate::supported_releases::{FIRST_REGISTER_ABI_ARM64, UNMODIFIED_MINORS, leading_minor};
use stapsdt::argspec::Arch;
use stapsdt::source::Source;

/// The name of the dictionary of generic functions.
const DICTIONARY: &str = ".dict";
/// The first minor release that passes the dictionary of a method after its receiver.
const FIRST_DICTIONARY_AFTER_RECEIVER: u32 = 20;
/// The first minor release whose DWARF describes all parameters that the source has.
const FIRST_COMPLETE: u32 = 24;

/// The calling convention of a binary.
#[derive(Debug)]
pub(super) struct Convention<'a, S: Source<'a>> {
    arch: Arch,
    /// `None` for an unknown version.
    minor: Option<u32>,
    source: S,
    table: Option<TableLayout>,
    lifetime: std::marker::PhantomData<&'a ()>,
}

impl<'a, S: Source<'a>> Convention<'a, S> {
    /// Returns `None` for an unsupported architecture.
    pub(super) fn of(go: &GoBinary<'a, S>) -> Option<Convention<'a, S>> {
        Some(Convention {
            arch: go.view.arch()?,
            minor: go.version().and_then(leading_minor),
            source: go.view.source(),
            table: go.function_table(),
            lifetime: std::marker::PhantomData,
        })
    }

    /// Returns the name of the function at an address in the function table.
    pub(super) fn symbol(&self, entry: u64) -> Option<&'a str> {
        Some(self.table?.table(self.source)?.lookup(entry)?.name)
    }

    /// Returns the number of bytes that a function's parameters and results take on the stack.
    fn stack_size(&self, entry: u64) -> Option<u64> {
        let table = self.table?.table(self.source)?;
        let function = table.lookup(entry).filter(|function| function.entry == entry)?;
        table.argument_bytes(&function)
    }

    fn registers(&self) -> RegisterSet {
        let first = match self.arch {
            Arch::X86_64 => *UNMODIFIED_MINORS.start(),
            Arch::Aarch64 => FIRST_REGISTER_ABI_ARM64,
        };
        match self.minor {
            Some(minor) if minor < first => RegisterSet::NONE,
            _ => RegisterSet::of(self.arch),
        }
    }

    pub(super) fn signature(
        &self,
        function: Function,
        types: &mut Types,
        entries: &mut Entries<'a, S>,
        lists: &mut Lists<'a, S>,
    ) -> Result<Signature, DebugInfoError> {
        let (results, parameters): (Vec<&FunctionVariable>, Vec<&FunctionVariable>) =
            function.variables.iter().partition(|variable| variable.is_result);
        let mut reader = TypeReader { types, entries };
        let placed = self.place(&function, &parameters, &results, &mut reader, lists)?;
        let mut signature_parameters = Vec::new();
        for (index, parameter) in parameters.iter().enumerate() {
            let placement = match placed.assignment.parameters.get(index) {
                Some(home) if placed.is_certain => self.placement(home),
                _ => {
                    self.located(&function, parameter, function.range.start, &mut reader, lists)?
                }
            };
            if parameter.name != DICTIONARY {
                signature_parameters.push(variable(parameter, placement, &mut reader)?);
            }
        }
        let mut signature_results = Vec::new();
        for (result, home) in results.iter().zip(&placed.assignment.results) {
            let placement = match home {
                // Missing parameters do not change which registers hold results.
                Home::Stack(_) if !placed.is_certain => Placement::Unknown,
                home => self.placement(home),
            };
            signature_results.push(variable(result, placement, &mut reader)?);
        }
        Ok(Signature {
            name: function.name,
            range: function.range,
            parameters: signature_parameters,
            results: signature_results,
        })
    }

    /// Returns where location lists say that the variables of a function are.
    pub(super) fn located_at(
        &self,
        function: &Function,
        address: u64,
        types: &mut Types,
        entries: &mut Entries<'a, S>,
        lists: &mut Lists<'a, S>,
    ) -> Result<Vec<(String, Placement)>, DebugInfoError> {
        let mut reader = TypeReader { types, entries };
        let located = |variable: &FunctionVariable| {
            let placement = self.located(function, variable, address, &mut reader, lists)?;
            Ok((variable.name.clone(), placement))
        };
        function.variables.iter().map(located).collect()
    }

    fn located(
        &self,
        function: &Function,
        variable: &FunctionVariable,
        address: u64,
        reader: &mut TypeReader<'_, 'a, S>,
        lists: &mut Lists<'a, S>,
    ) -> Result<Placement, DebugInfoError> {
        let Some(location) = &variable.location else { return Ok(Placement::Unknown) };
        let size = reader.go_type(TypeRef(variable.ty))?.size;
        lists.placement(location, size, &function.unit, address, self.arch, reader.entries)
    }

    /// Places the variables of a function.
    fn place(
        &self,
        function: &Function,
        parameters: &[&FunctionVariable],
        results: &[&FunctionVariable],
        reader: &mut TypeReader<'_, 'a, S>,
        lists: &mut Lists<'a, S>,
    ) -> Result<Placed, DebugInfoError> {
        let typed = |variable: &&FunctionVariable| Operand::Typed(TypeRef(variable.ty));
        let declared: Vec<Operand> = parameters.iter().map(typed).collect();
        let results: Vec<Operand> = results.iter().map(typed).collect();
        let stack_size = self.stack_size(function.range.start);
        let is_complete = self.minor.is_none_or(|minor| minor >= FIRST_COMPLETE);
        let has_dictionary = parameters.iter().any(|parameter| parameter.name == DICTIONARY);
        let registers = self.registers();
        // Where to insert a pointer that DWARF does not describe.
        let dictionary = self.dictionary_index(&function.name).filter(|_| !has_dictionary);
        let receiver = (!is_complete).then_some(0);
        let candidates = [
            (dictionary, registers, false),
            (None, registers, false),
            // Wrappers that the compiler adds for methods of embedded fields.
            (receiver, registers, true),
            // Wrappers for callers in assembly.
            (None, RegisterSet::NONE, false),
        ];
        for (inserted, registers, is_guess) in
            candidates.into_iter().skip(usize::from(dictionary.is_none()))
        {
            let mut operands = declared.clone();
            let inserted = inserted.map(|index| index.min(declared.len()));
            if let Some(index) = inserted {
                operands.insert(index, Operand::Pointer);
            }
            let mut assignment = assign(&operands, &results, registers, reader)?;
            if stack_size.is_some_and(|size| size != assignment.stack_size) {
                continue;
            }
            if let Some(index) = inserted {
                assignment.parameters.remove(index);
            }
            let is_plain = is_complete && !registers.is_empty();
            let evidence = if is_guess { usize::MAX } else { 1 };
            if is_plain
                || self.agrees(function, parameters, &assignment, evidence, reader, lists)?
            {
                return Ok(Placed { assignment, is_certain: true });
            }
        }
        let assignment = assign(&declared, &results, registers, reader)?;
        Ok(Placed { assignment, is_certain: false })
    }

    /// Returns false if the location lists of the last parameters that have one, up to `evidence`
    /// of them, contradict their placement. Padding can hide that a parameter is missing, but the
    /// parameters after it show it.
    fn agrees(
        &self,
        function: &Function,
        parameters: &[&FunctionVariable],
        assignment: &Assignment,
        evidence: usize,
        reader: &mut TypeReader<'_, 'a, S>,
        lists: &mut Lists<'a, S>,
    ) -> Result<bool, DebugInfoError> {
        let (entry, mut evidence_left) = (function.range.start, evidence);
        for (parameter, home) in parameters.iter().zip(&assignment.parameters).rev() {
            let located = self.located(function, parameter, entry, reader, lists)?;
            if [Placement::Unknown, Placement::Empty].contains(&located) {
                continue;
            }
            if located != self.placement(home) {
                return Ok(false);
            }
            evidence_left -= 1;
            if evidence_left == 0 {
                break;
            }
        }
        Ok(true)
    }

    /// Returns the index of the dictionary among the parameters of a generic function, or of a
    /// method of a generic type; `None` for other functions and for closures inside of them.
    fn dictionary_index(&self, name: &str) -> Option<usize> {
        let after = name.contains("[go.shape.").then(|| name.rsplit_once(']'))??.1;
        if after.is_empty() {
            return Some(0);
        }
        let method = after.trim_start_matches(')').strip_prefix('.')?;
        // Before Go 1.21, the name of a closure in a generic function looks like that of a method.
        let is_closure = method.contains('.') || method.starts_with("func");
        if is_closure {
            return None;
        }
        let is_first = self.minor.is_some_and(|minor| minor < FIRST_DICTIONARY_AFTER_RECEIVER);
        Some(usize::from(!is_first))
    }

    fn placement(&self, home: &Home) -> Placement {
        /// The distance in bytes from the stack pointer to the parameters on the stack: the return
        /// address on amd64, and the slot for the link register on arm64.
        const PARAMETERS: i64 = 8;
        match home {
            Home::Registers(parts) => Placement::Registers(parts.clone()),
            Home::Stack(offset) => {
                let offset = i64::try_from(*offset).unwrap_or(i64::MAX);
                let (base, _) = frame_address(self.arch);
                Placement::Memory { base, offset: PARAMETERS.saturating_add(offset) }
            }
            Home::Empty => Placement::Empty,
        }
    }
}

/// The places of the variables of a function.
struct Placed {
    assignment: Assignment,
    /// False if parameters are missing.
    is_certain: bool,
}

fn variable<'a, S: Source<'a>>(
    variable: &FunctionVariable,
    placement: Placement,
    reader: &mut TypeReader<'_, 'a, S>,
) -> Result<Variable, DebugInfoError> {
    let ty = TypeRef(variable.ty);
    let type_name = reader.go_type(ty)?.name.clone();
    Ok(Variable { name: variable.name.clone(), ty, type_name, placement })
}
