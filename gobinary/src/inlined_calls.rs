//! Calls that the compiler replaced with the code of the called function, from the function table
//! (`runtime.inlinedCall`).
//!
//! No probe at the entry of a function sees them.

use crate::pclntab::{Function, FunctionTable, Line};
use crate::table_layout::u32_at;
use stapsdt::source::Source;
use std::collections::HashMap;

/// The size of `runtime.inlinedCall` in bytes.
const CALL_SIZE: u64 = 16;
/// The limit on calls that are inlined into one function.
const MAX_CALLS: u64 = 1 << 14;

/// A call that was inlined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlinedCall<'a> {
    /// The function that was called.
    pub function: String,
    /// The function with the call, after inlining.
    pub caller: &'a str,
    /// The line of the call; `None` if the table has none.
    pub line: Option<Line<'a>>,
    /// The link-time address of the first instruction of the inlined code. `None` if no
    /// instruction is left of it, but for those of functions that are inlined into it.
    pub address: Option<u64>,
}

/// A node of the tree of the calls that are inlined into a function.
pub(crate) struct Node {
    /// The offset of the called function's name.
    name: u32,
    /// An address at the call in the calling function.
    pub(crate) call_address: u64,
}

/// The tree of the calls that are inlined into a function.
struct Tree {
    /// The PC-value table with the indexes of the nodes.
    indexes: u32,
    /// The file offset of the nodes.
    nodes: u64,
}

impl<'a, S: Source<'a>> FunctionTable<'a, S> {
    /// Returns the inlined calls of functions, by the address of the caller, at most `max` of them.
    /// It reads the whole table.
    ///
    /// The result is empty for Go before 1.20, which has another layout of inlined calls, and for
    /// stripped files of Go before 1.26, which do not say where the calls are.
    pub fn inlined_calls<'n>(
        &self,
        functions: impl IntoIterator<Item = &'n str>,
        max: usize,
    ) -> Vec<InlinedCall<'a>> {
        let names = self.name_offsets(functions);
        let mut calls = Vec::new();
        if names.is_empty() || self.layout.func_data.is_none() {
            return calls;
        }
        for caller in self.functions() {
            self.add_calls(&caller, &names, &mut calls);
            if calls.len() >= max {
                break;
            }
        }
        calls.truncate(max);
        calls
    }

    fn add_calls(
        &self,
        caller: &Function<'a>,
        names: &HashMap<u64, &str>,
        calls: &mut Vec<InlinedCall<'a>>,
    ) {
        let Some(tree) = self.tree(caller) else { return };
        let starts = self.first_addresses(tree.indexes, caller.entry);
        // Callers are before the calls that are inlined into them.
        let count = starts.keys().max().map_or(0, |last| (last + 1).min(MAX_CALLS));
        for index in 0..count {
            let Some(node) = self.node(&tree, index, caller) else { return };
            if let Some(function) = names.get(&node.name.into()) {
                let function = (*function).to_owned();
                let line = self.line(caller, node.call_address);
                let address = starts.get(&index).copied();
                calls.push(InlinedCall { function, caller: caller.name, line, address });
            }
        }
    }

    /// Returns the innermost inlined call at an address, and the name of the called function; `None`
    /// if there is none.
    pub(crate) fn inlined_at(
        &self,
        function: &Function<'a>,
        address: u64,
    ) -> Option<(Node, &'a str)> {
        let tree = self.tree(function)?;
        let index = u64::try_from(self.pc_value(tree.indexes, function.entry, address)?).ok()?;
        let node = self.node(&tree, index, function)?;
        let name = self.string_at(self.layout.names.checked_add(node.name.into())?)?;
        Some((node, name))
    }

    fn tree(&self, function: &Function<'a>) -> Option<Tree> {
        /// `internal/abi.PCDATA_InlTreeIndex`.
        const INL_TREE_INDEX: u64 = 2;
        /// `internal/abi.FUNCDATA_InlTree`.
        const INL_TREE: u64 = 3;
        /// The size of `runtime._func` in bytes. The offsets of the PC-value tables follow it.
        const FUNC_SIZE: u64 = 44;
        let info = function.info;
        let pc_data_count = u64::from(self.u32_at(info.checked_add(28)?)?);
        let func_data_count = u64::from(*self.bytes(info.checked_add(43)?, 1)?.first()?);
        if pc_data_count <= INL_TREE_INDEX || func_data_count <= INL_TREE {
            return None;
        }
        let indexes = self.u32_at(info.checked_add(FUNC_SIZE + 4 * INL_TREE_INDEX)?)?;
        let tree_at = FUNC_SIZE + (pc_data_count + INL_TREE) * 4;
        let tree = self.u32_at(info.checked_add(tree_at)?)?;
        if indexes == 0 || tree == u32::MAX {
            return None;
        }
        Some(Tree { indexes, nodes: self.layout.func_data?.checked_add(tree.into())? })
    }

    fn node(&self, tree: &Tree, index: u64, function: &Function<'a>) -> Option<Node> {
        let at = tree.nodes.checked_add(index.checked_mul(CALL_SIZE)?)?;
        let node = self.file.read(at, CALL_SIZE)?;
        let (name, caller) = (u32_at(node, 4)?, u32_at(node, 8)?);
        Some(Node { name, call_address: function.entry.checked_add(caller.into())? })
    }
}
