//! Snapshots of whole documents.

use super::{bpftrace_script, markdown_reference};
use crate::dlang;
use stapsdt::schema::Schema;

fn schema() -> Schema {
    let source = "
provider app {
	/** A job begins. */
	probe job__start(uint64_t id, /* where it
		 waited */ string queue);
	/** A job is done.
	 *
	 * With its | outcome. */
	probe job__end(uint64_t id, int status, double load, bool ok, error err, const char *where, bytes data, void *p);
	probe tick();
	probe read__begin(int fd);
	probe read__end(int fd, ssize_t bytes);
};
#pragma D attributes Evolving/Evolving/Common provider app args
";
    dlang::parse(source).model.unwrap().schema()
}

#[test]
fn markdown_reference_matches_its_snapshot() {
    insta::assert_snapshot!("markdown_reference", markdown_reference(&schema()));
}

#[test]
fn bpftrace_script_matches_its_snapshot() {
    insta::assert_snapshot!("bpftrace_script", bpftrace_script(&schema(), None));
    assert!(bpftrace_script(&schema(), Some("./app")).contains("usdt:./app:app:tick"));
}
