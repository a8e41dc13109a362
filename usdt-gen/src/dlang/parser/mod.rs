//! Recursive-descent parser from tokens to the syntax tree.
//!
//! After an error it continues at the next `;`, so that each mistake has a message of its own.
//! `cursor` holds the position in the tokens, `file` parses the top level, `provider` and
//! `declaration` parse providers and C declarations, and `doc` turns comments into documentation.

mod cursor;
mod declaration;
mod doc;
mod file;
mod provider;

pub(super) use file::parse;
