//! Finds static probes (USDT) and enables them: `discover -> select -> plan -> attach -> stream`.
//!
//! ```no_run
//! use usdt_attach::{backend, discover, plan, select, session};
//! # fn main() -> usdt_attach::error::Result<()> {
//! let found = [discover::file("/usr/bin/app".as_ref())?];
//! let chosen = select::select(&found, &["app:request-*".to_owned()])?;
//! let options = plan::Options { optimisation: usdt_attach::optimisation(), ..Default::default() };
//! let (plan, _warnings) = plan::Plan::new(&chosen, &options)?;
//! let backend = backend::Choice::Embedded.backend(session::Mechanism::Auto)?;
//! let mut session = session::Session::start(plan, &*backend)?;
//! session.drain(|event| println!("{} {:?}", event.probe.name, event.args().collect::<Vec<_>>()))?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here prints or exits; the command line ([`cli`]) is one more caller.

pub mod aggregate;
pub mod backend;
pub mod census;
pub mod cli;
pub mod cost;
pub mod discover;
pub mod doctor;
pub mod error;
pub mod event;
pub mod export;
pub mod filter;
pub mod follow;
pub mod overview;
mod pairs;
pub mod plan;
mod privileges;
pub mod report;
pub mod select;
pub mod session;
mod stream;
pub mod symbols;
pub mod target;
mod time;

pub use backend::kernel::detect::optimisation;
