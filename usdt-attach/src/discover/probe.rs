//! A probe: one site, and what is known about its arguments.

use super::enum_labels::EnumLabels;
use gobinary::signature::GuardTest;
use gobinary::symbol_pattern::RETURN;
use serde::Serialize;
use stapsdt::argspec::{self, Arch};
use stapsdt::elf::Machine;
use stapsdt::schema;
use stapsdt::site::Instruction;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a probe's definition was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A note in `.note.stapsdt`.
    Note,
    /// A blob in the data of an unsealed Go binary.
    Blob,
    /// A note without a schema, of a provider of the Go runtime or standard library.
    Native,
    /// The entry of a function that serves as a probe; see
    /// [`add_function_entries`](super::add_function_entries).
    Entry,
    /// The entry or a return of a function of a Go binary, which a glob of the provider `func`
    /// names.
    Function,
}

/// Where the names and types of a probe's arguments come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SchemaSource {
    /// A schema in the binary, which usdt-gen wrote.
    Binary,
    /// The catalog of probes of the Go runtime and standard library.
    Catalog,
    /// A schema file; see [`SchemaFile`](super::SchemaFile).
    File,
    /// The definitions of well-known programs that this library contains. They apply to notes of
    /// the same provider, probe and shape.
    Known,
}

/// Where the words of an interface are, in the syntax of `Probe::args`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InterfaceWords {
    /// The name of the argument.
    pub(crate) name: String,
    /// The first word of the interface, which is zero if it is nil.
    pub(crate) first: String,
    /// The address of the type's descriptor.
    pub(crate) ty: String,
}

/// A condition without which an argument does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArgumentGuard {
    /// The name of the argument.
    pub(crate) argument: String,
    /// The word that is tested, in the syntax of `Probe::args`.
    pub(crate) word: String,
    /// The test.
    pub(crate) test: GuardTest,
}

/// One site of a probe and what is known about its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The provider's name as the note spells it.
    pub provider: String,
    /// The probe's name as the note spells it.
    pub name: String,
    /// The virtual address of the site as linked.
    pub address: u64,
    /// The file offset of the site in bytes.
    pub(crate) offset: u64,
    /// The virtual address of the semaphore as linked; `None` if the probe has no semaphore.
    pub semaphore: Option<u64>,
    /// The file offset of the semaphore; `None` if there is none or the file has no data for it.
    pub(crate) semaphore_offset: Option<u64>,
    /// The argument specification as written in the note, such as `8@%rax -4@16(%rsp)`.
    pub args: String,
    /// Where the definition was found.
    pub source: Source,
    /// Names and types of the arguments; `None` where only the specification is known.
    pub schema: Option<schema::Probe>,
    /// Where `schema` comes from; `None` if there is no schema.
    pub schema_source: Option<SchemaSource>,
    /// The machine for which the file was built.
    pub(crate) machine: Machine,
    /// The kind of instruction at the site.
    pub(crate) instruction: Instruction,
    /// True if usdt-gen generated the site, with NOPs that the kernel can optimize.
    pub generated: bool,
    /// True if a `nop10` follows the `nop` of the site, as in generated sites and those of libbpf's
    /// `usdt.h`. Kernels can optimize it in code of every language.
    pub(crate) has_nop10: bool,
    /// True if the site is a `nop5` outside Go code. The call with which Linux 6.18 replaces it
    /// overwrites the red zone: the bytes below the stack pointer, where C code may keep data.
    pub(crate) risks_red_zone: bool,
    /// True if the site is the branch of a Go function's stack check. Hits on the taken branch are
    /// not hits of the probe, because the function starts again.
    pub(crate) stack_check: bool,
    /// The offset of the goroutine id in `runtime.g`; `None` if the site is not Go code or the
    /// offset is not known.
    pub(crate) goid_offset: Option<u32>,
    /// The labels of enumeration arguments, by argument name. They count before those of the schema.
    pub(crate) enum_labels: Vec<(String, EnumLabels)>,
    /// The words of arguments that are interfaces. For the Go type `error`, the operands in `args`
    /// are the string at the start of the error's data.
    pub(crate) interfaces: Vec<InterfaceWords>,
    /// The conditions of arguments, in the order in which they have to be tested.
    pub(crate) guards: Vec<ArgumentGuard>,
    /// The linked addresses of the symbols that argument specifications of this file name, as far
    /// as the symbol tables have them.
    pub(crate) symbols: Arc<BTreeMap<String, u64>>,
    /// The full name of the probe that `usdt-gen inject` has put into the function, if this function
    /// probe is at the site of that one; else `None`.
    pub injected: Option<String>,
}

impl Probe {
    /// Returns the architecture of the file; `None` if its operands cannot be parsed, so that the
    /// probe can be listed only.
    pub(crate) fn arch(&self) -> Option<Arch> {
        self.machine.arch()
    }

    /// Returns the name of the architecture of the file if this machine cannot run it or trace it,
    /// such as `riscv64`.
    pub fn foreign_architecture(&self) -> Option<String> {
        (self.arch() != Some(NATIVE)).then(|| self.machine.to_string())
    }

    /// Returns `provider:name`.
    pub fn full_name(&self) -> String {
        format!("{}:{}", self.provider, self.name)
    }

    /// Returns true for function probes, at injected probes or not.
    pub fn is_function(&self) -> bool {
        self.source == Source::Function || self.injected.is_some()
    }

    /// Returns true if the site is a return of a function.
    pub fn is_function_return(&self) -> bool {
        self.source == Source::Function && self.name.ends_with(RETURN)
    }

    /// Returns true if the kernel single-steps the instruction at the site, which makes a hit tens of
    /// times slower. Such sites are attached to only with
    /// [`Options::single_step`](crate::plan::Options::single_step).
    pub fn is_single_stepped(&self) -> bool {
        // Sites of other architectures are not attached to.
        self.arch() == Some(NATIVE) && self.instruction == Instruction::Other
    }

    /// Returns the probe's declaration, such as `app:request(string path, int status)`. Without a
    /// schema, the argument specification stands in place of names and types. For a function with
    /// debug information, it is the signature in Go's syntax, such as `func:main.add(a int) int`.
    pub fn prototype(&self) -> String {
        if let Some(schema) = &self.schema
            && self.is_function()
            && let Some(rest) = schema.doc.strip_prefix(self.name.trim_end_matches(RETURN))
        {
            return format!("{}{rest}", self.full_name());
        }
        let args: Vec<String> = match &self.schema {
            Some(schema) => schema.args.iter().map(schema::Arg::declaration).collect(),
            None => argspec::split(&self.args).map(str::to_owned).collect(),
        };
        format!("{}({})", self.full_name(), args.join(", "))
    }
}

/// Returns the number of the register in which Go code keeps the pointer to the running goroutine.
pub(crate) fn goroutine_register(arch: Arch) -> u8 {
    match arch {
        Arch::X86_64 => gobinary::G_REGISTER_AMD64,
        Arch::Aarch64 => gobinary::G_REGISTER_ARM64,
    }
}

/// The architecture of this machine, the only one whose programs can be traced here.
#[cfg(target_arch = "x86_64")]
pub(crate) const NATIVE: Arch = Arch::X86_64;
/// The architecture of this machine, the only one whose programs can be traced here.
#[cfg(target_arch = "aarch64")]
pub(crate) const NATIVE: Arch = Arch::Aarch64;
