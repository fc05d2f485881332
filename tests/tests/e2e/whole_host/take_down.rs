//! A daemon that is taken down.

use std::path::Path;

use anyhow::Result;
use lodge_tests::{Host, Trace, document::tiny, turn_alone};

#[test]
fn a_daemon_that_is_taken_down_leaves_nothing_behind() -> Result<()> {
    let Some(_turn) = turn_alone() else { return Ok(()) };
    let root;
    let before;
    {
        let host = Host::start()?;
        root = host.root().to_owned();
        before = Trace::look(Path::new("/nonexistent"));
        let document = host.file("brief.xml", &tiny("brief"))?;
        host.lodge(&["create", &document])?.ok()?;
    }
    before.is_unchanged(&root)
}
