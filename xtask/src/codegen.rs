//! Writes the generated files anew. A test of each holds it equal to the code.

use anyhow::Result;

use crate::command::{self, cargo};

/// `docs/openapi.json`, by the test that compares it.
pub fn run() -> Result<()> {
    command::run(cargo().args(["test", "--quiet", "-p", "lodge-http", "openapi"]).env("UPDATE_EXPECT", "1"))
}
