//! Events as comma-separated values (RFC 4180): fixed columns, one column for each argument name of
//! the plan, and a last column for the arguments of probes that were found later.

use super::json::Args;

use indexmap::IndexSet;
use stapsdt::escape::escape_lines;
use std::io::{self, Write};
use usdt_attach::event::{Event, Value};
use usdt_attach::plan::Plan;

const FIXED_COLUMNS: [&str; 7] = ["time_ns", "pid", "tid", "goid", "comm", "provider", "probe"];
/// Holds all arguments as JSON, if the event has one without a column.
const OTHERS: &str = "others";

/// Writes a header, and a record for each event.
pub(crate) struct CsvWriter<W: Write> {
    out: csv::Writer<W>,
    argument_names: IndexSet<String>,
}

impl<W: Write> CsvWriter<W> {
    /// Writes the header, with a column for each argument name of the plan.
    pub(crate) fn new(out: W, plan: &Plan) -> io::Result<CsvWriter<W>> {
        let argument_names: IndexSet<String> =
            plan.argument_names().into_iter().map(str::to_owned).collect();
        let mut out = csv::Writer::from_writer(out);
        for column in FIXED_COLUMNS {
            out.write_field(column)?;
        }
        for name in &argument_names {
            // An argument may have the name of another column.
            if FIXED_COLUMNS.contains(&name.as_str()) || name == OTHERS {
                out.write_field(escape_lines(&format!("arg:{name}")).as_ref())?;
            } else {
                out.write_field(escape_lines(name).as_ref())?;
            }
        }
        out.write_field(OTHERS)?;
        out.write_record(None::<&[u8]>)?;
        Ok(CsvWriter { out, argument_names })
    }

    /// Writes the record of an event.
    pub(crate) fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        let goid = event.goid.map_or(String::new(), |goid| goid.to_string());
        self.out.write_field(event.time_ns.to_string())?;
        self.out.write_field(event.pid.to_string())?;
        self.out.write_field(event.tid.to_string())?;
        self.out.write_field(goid)?;
        self.write_string(&String::from_utf8_lossy(event.comm()))?;
        self.write_string(&event.probe.provider)?;
        self.write_string(&event.probe.name)?;
        for index in 0..self.argument_names.len() {
            let Some(name) = self.argument_names.get_index(index) else { continue };
            let value = event.arg(name).map_or(String::new(), Value::to_plain_string);
            self.write_string(&value)?;
        }
        if event.args().all(|(name, _)| self.argument_names.contains(name)) {
            self.out.write_field("")?;
        } else {
            let mut others = Vec::new();
            cli_common::write_json(&mut others, &Args(event))?;
            self.out.write_field(others)?;
        }
        self.out.write_record(None::<&[u8]>).map_err(io::Error::from)
    }

    /// Writes a string of the target.
    ///
    /// CSV has no escapes, but the file may be shown on a terminal. Newlines and tabs are kept; what
    /// else a terminal would obey is escaped as in text. JSON has the exact strings.
    fn write_string(&mut self, string: &str) -> io::Result<()> {
        self.out.write_field(escape_lines(string).as_ref()).map_err(io::Error::from)
    }

    /// Writes what is buffered.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
