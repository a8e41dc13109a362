//! Functions of DWARF: where their entries are, and what parameters they have.

use super::DebugInfoError;
use super::entry::{End, Entry, LocationAttribute};
use super::locations::Lists;
use super::units::{Entries, Unit};
use stapsdt::source::Source;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

/// The number of functions that are remembered.
const MAX_FUNCTIONS: usize = 1 << 18;

/// Finds functions by address.
#[derive(Debug, Default)]
pub(super) struct Functions {
    /// The entries of the functions of a unit, by the offset of the unit.
    scanned: HashMap<u64, HashMap<u64, u64>>,
    count: usize,
}

/// A function, as its entry and those below it describe it.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) range: Range<u64>,
    pub(super) unit: Arc<Unit>,
    pub(super) variables: Vec<FunctionVariable>,
}

/// A parameter or a result.
#[derive(Debug)]
pub(super) struct FunctionVariable {
    pub(super) name: String,
    /// The offset of its type.
    pub(super) ty: u64,
    pub(super) is_result: bool,
    pub(super) location: Option<LocationAttribute>,
}

impl Functions {
    /// Returns the offset of the entry of the function at an address, and its unit. `symbol` is its
    /// name in the function table.
    ///
    /// Units are tried in an order that avoids inflating what is not needed: those of the package
    /// that the name says, then the nearest one before the address, then all with the address.
    fn find<'a, S: Source<'a>>(
        &mut self,
        address: u64,
        symbol: Option<&str>,
        entries: &mut Entries<'a, S>,
        lists: &mut Lists<'a, S>,
    ) -> Result<(Arc<Unit>, u64), DebugInfoError> {
        let package = symbol.map(package_of);
        let mut nearest: Option<Arc<Unit>> = None;
        let mut index = 0;
        while let Some(unit) = entries.unit(index)? {
            index += 1;
            let Some(low_pc) = unit.low_pc.filter(|_| unit.is_go) else { continue };
            if package.as_deref() == Some(unit.package.as_str())
                && let Some(found) = self.find_in(&unit, address, entries)?
            {
                return Ok((unit, found));
            }
            if low_pc <= address && nearest.as_ref().is_none_or(|n| n.low_pc < unit.low_pc) {
                nearest = Some(unit);
            }
        }
        if let Some(unit) = nearest
            && let Some(found) = self.find_in(&unit, address, entries)?
        {
            return Ok((unit, found));
        }
        for index in 0..index {
            let Some(unit) = entries.unit(index)?.filter(|unit| unit.is_go) else { continue };
            if lists.unit_contains(&unit, address, entries)?
                && let Some(found) = self.find_in(&unit, address, entries)?
            {
                return Ok((unit, found));
            }
        }
        Err(DebugInfoError::NoFunction(address))
    }

    fn find_in<'a, S: Source<'a>>(
        &mut self,
        unit: &Unit,
        address: u64,
        entries: &mut Entries<'a, S>,
    ) -> Result<Option<u64>, DebugInfoError> {
        if !self.scanned.contains_key(&unit.start) {
            let mut starts = Vec::new();
            entries.top_level(unit, gimli::DW_TAG_subprogram, |entry| {
                if starts.len() <= MAX_FUNCTIONS {
                    starts.extend(entry.low_pc.map(|low_pc| (low_pc, entry.offset)));
                }
            })?;
            if starts.len() > MAX_FUNCTIONS {
                return Err(DebugInfoError::Limit("the number of functions"));
            }
            let mut functions = HashMap::with_capacity(starts.len());
            for (low_pc, offset) in starts {
                if let Some(start) = entries.address(low_pc, unit.addr_base)? {
                    functions.insert(start, offset);
                }
            }
            self.count += functions.len();
            if self.count > MAX_FUNCTIONS {
                self.scanned.clear();
                self.count = functions.len();
            }
            self.scanned.insert(unit.start, functions);
        }
        let functions = self.scanned.get(&unit.start);
        Ok(functions.and_then(|functions| functions.get(&address)).copied())
    }

    /// Reads the function whose first instruction is at an address.
    pub(super) fn read<'a, S: Source<'a>>(
        &mut self,
        address: u64,
        symbol: Option<&str>,
        entries: &mut Entries<'a, S>,
        lists: &mut Lists<'a, S>,
    ) -> Result<Function, DebugInfoError> {
        let (unit, offset) = self.find(address, symbol, entries, lists)?;
        let entry = entries.entry(offset)?;
        let origin = entry.origin.map(|origin| entries.entry(origin)).transpose()?;
        let name = entries.name(origin.as_ref().unwrap_or(&entry))?;
        let end = match entry.high_pc {
            Some(End::Address(end)) => end,
            Some(End::Size(size)) => address.saturating_add(size),
            None => address,
        };
        let is_parameter = |tag| tag == gimli::DW_TAG_formal_parameter;
        let parameters = entries.children(&entry, is_parameter)?;
        let variable = |parameter: &Entry| {
            // What the inlined copies share is in an entry of its own.
            let origin = parameter.origin.map(|origin| entries.entry(origin)).transpose()?;
            let described = origin.as_ref().unwrap_or(parameter);
            Ok(FunctionVariable {
                name: entries.name(described)?,
                ty: described.required_type()?,
                is_result: described.is_result,
                location: parameter.location.clone(),
            })
        };
        let all = parameters.iter().map(variable).collect::<Result<Vec<_>, DebugInfoError>>()?;
        // Before Go 1.27, the compiler describes some results twice.
        let mut names = HashSet::new();
        let is_first = |v: &FunctionVariable| v.name == "_" || names.insert(v.name.clone());
        let variables = all.into_iter().filter(is_first).collect();
        Ok(Function { name, range: address..end.max(address), unit, variables })
    }
}

/// Returns the path of the package of a symbol.
fn package_of(symbol: &str) -> String {
    // Type arguments and receivers can have paths of their own.
    let end = symbol.find(['[', '(']).unwrap_or(symbol.len());
    let path = symbol.get(..end).unwrap_or_default();
    let last = path.rfind('/').map_or(0, |slash| slash + 1);
    let dot = path.get(last..).and_then(|name| name.find('.'));
    unescaped(path.get(..dot.map_or(path.len(), |dot| last + dot)).unwrap_or_default())
}

/// Returns a path in which dots are not escaped: symbols have `%2e` in the last part.
pub(super) fn unescaped(path: &str) -> String {
    path.replace("%2e", ".")
}

#[cfg(test)]
mod tests {
    use super::package_of;

    #[test]
    fn finds_the_package_of_a_symbol() {
        for (symbol, package) in [
            ("main.main", "main"),
            ("net/http.(*conn).serve", "net/http"),
            ("github.com/a/b.T.Method.func1", "github.com/a/b"),
            ("gopkg.in/yaml%2ev3.Unmarshal", "gopkg.in/yaml.v3"),
            ("slices.SortFunc[go.shape.[]github.com/a/b.T]", "slices"),
            ("type:.eq.[2]string", "type:"),
            ("cmpbody", "cmpbody"),
            ("", ""),
        ] {
            assert_eq!(package_of(symbol), package, "{symbol}");
        }
    }
}
