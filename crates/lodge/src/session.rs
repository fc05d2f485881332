//! What every verb shares: the connection, made when it is first needed, and the way to print.

use std::io::IsTerminal;

use lodge_client::{Client, Endpoint};
use serde::Serialize;

use crate::args::{Format, Global};
use crate::failure::{Failure, What};
use crate::output;

/// One run of the program, or one interactive shell.
pub struct Session {
    global: Global,
    client: Option<Client>,
}

impl Session {
    /// Nothing is connected yet.
    pub fn new(global: Global) -> Self {
        Self { global, client: None }
    }

    /// The daemon, found at the first call.
    pub async fn client(&mut self) -> Result<Client, Failure> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let connected = match Endpoint::find(self.global.connect.as_deref()) {
            Ok(endpoint) => Client::connect(&endpoint).await,
            Err(error) => Err(error),
        };
        let client = connected.what(|| "failed to connect to the hypervisor".to_owned())?;
        Ok(self.client.insert(client).clone())
    }

    /// Forgets the daemon: the next verb looks for it anew (the shell's `connect`).
    pub fn reconnect(&mut self, uri: Option<String>) {
        self.client = None;
        if uri.is_some() {
            self.global.connect = uri;
        }
    }

    /// The global options, with what this verb's own line says laid over (in the shell).
    pub fn with(&self, typed: Global) -> Global {
        Global {
            connect: typed.connect.or_else(|| self.global.connect.clone()),
            output: if typed.output == Format::default() { self.global.output } else { typed.output },
            quiet: typed.quiet || self.global.quiet,
        }
    }

    /// Exchanges the global options, and gives the old ones back.
    pub fn swap(&mut self, global: Global) -> Global {
        if global.connect != self.global.connect {
            self.client = None;
        }
        std::mem::replace(&mut self.global, global)
    }

    /// How to print.
    pub fn format(&self) -> Format {
        self.global.output
    }

    /// Whether only what was asked for is to be said.
    pub fn quiet(&self) -> bool {
        self.global.quiet
    }

    /// Whether a progress bar has someone to look at it.
    pub fn shows_progress(&self) -> bool {
        !self.global.quiet && self.global.output == Format::Table && std::io::stderr().is_terminal()
    }

    /// A confirmation: not with `--quiet`, not among JSON.
    pub fn say(&self, text: &str) {
        if !self.quiet() && self.format() == Format::Table {
            output::print(text);
        }
    }

    /// Something odd, to standard error; among JSON the document has it.
    pub fn warn(&self, warnings: &[String]) {
        if self.format() == Format::Table {
            for warning in warnings {
                output::complain(&format!("warning: {warning}\n"));
            }
        }
    }

    /// The document for programs, or the text for people.
    pub fn show<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) {
        match self.format() {
            Format::Json => output::print(&output::json(value)),
            Format::Table => output::print(&text(value)),
        }
    }

    /// The document for programs; for people a confirmation.
    pub fn done<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) {
        match self.format() {
            Format::Json => output::print(&output::json(value)),
            Format::Table => self.say(&text(value)),
        }
    }

    /// A table for people.
    pub fn table(&self, heading: &[&str], rows: &[Vec<String>]) -> String {
        output::table(heading, rows, self.quiet())
    }
}
