//! Generates documents from a schema: a Markdown reference and a bpftrace script.

mod arguments;
mod bpftrace;
mod markdown;

pub(crate) use arguments::{describe_words, numbered};
pub(crate) use bpftrace::bpftrace_script;
pub(crate) use markdown::{markdown_reference, table_cell};

#[cfg(test)]
mod tests;
