//! Writes the generated files anew. A test of each holds it equal to the code.

mod wire;

use anyhow::{Context, Result};

use crate::command::{self, cargo};

/// lodge-wire's tables from their facts; `docs/openapi.json` and `docs/libvirt.md`, by the tests that compare them.
pub fn run(args: &[String]) -> Result<()> {
    command::words(args, &[], 0)?;
    for program in wire::PROGRAMS {
        let facts = wire::facts(program);
        let text =
            std::fs::read_to_string(&facts).with_context(|| format!("cannot read {}", facts.display()))?;
        let module = wire::generate(&text).with_context(|| format!("{}", facts.display()))?;
        std::fs::write(wire::module(program), module)?;
    }
    command::run(cargo().args(["test", "--quiet", "-p", "lodge-http", "openapi"]).env("UPDATE_EXPECT", "1"))?;
    let docs =
        ["test", "--quiet", "-p", "lodge-libvirt", "--test", "documented", "docs", "--", "--include-ignored"];
    command::run(cargo().args(docs).env("UPDATE_EXPECT", "1"))
}
