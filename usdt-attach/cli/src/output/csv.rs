//! Events as comma-separated values (RFC 4180): fixed columns, one for each argument's name, and one for the arguments
//! that files have whose probes came later.

use super::json::Args;

use indexmap::IndexSet;
use std::io::{self, Write};
use usdt_attach::event::Event;
use usdt_attach::plan::Plan;

const FIXED: [&str; 7] = ["time_ns", "pid", "tid", "goid", "comm", "provider", "probe"];
const OTHERS: &str = "others";

/// Writes a header, and a record for each event.
pub(crate) struct Csv<W: Write> {
    out: csv::Writer<W>,
    columns: IndexSet<String>,
}

impl<W: Write> Csv<W> {
    /// With the arguments of a plan as columns.
    pub(crate) fn new(out: W, plan: &Plan) -> io::Result<Csv<W>> {
        let columns: IndexSet<String> =
            plan.argument_names().into_iter().map(str::to_owned).collect();
        let mut out = csv::Writer::from_writer(out);
        let names = columns.iter().map(String::as_str);
        // An argument may be called as a column is that is there already.
        let names = names.map(|n| {
            if FIXED.contains(&n) || n == OTHERS { format!("arg:{n}") } else { n.to_owned() }
        });
        out.write_record(
            FIXED.iter().map(|n| (*n).to_owned()).chain(names).chain([OTHERS.to_owned()]),
        )?;
        Ok(Csv { out, columns })
    }

    /// Writes an event.
    pub(crate) fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let goid = event.goid.map_or(String::new(), |goid| goid.to_string());
        self.out.write_field(event.time_ns.to_string())?;
        self.out.write_field(event.pid.to_string())?;
        self.out.write_field(event.tid.to_string())?;
        self.out.write_field(goid)?;
        self.out.write_field(String::from_utf8_lossy(event.comm()).as_ref())?;
        self.out.write_field(&event.probe.provider)?;
        self.out.write_field(&event.probe.name)?;
        for column in &self.columns {
            self.out.write_field(
                event.arg(column).map_or(String::new(), usdt_attach::event::Value::to_plain_string),
            )?;
        }
        if event.args().all(|(name, _)| self.columns.contains(name)) {
            self.out.write_field("")?;
        } else {
            self.out.write_field(serde_json::to_string(&Args(event)).map_err(io::Error::from)?)?;
        }
        self.out.write_record(None::<&[u8]>).map_err(io::Error::from)
    }

    /// Hands on what is buffered.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
