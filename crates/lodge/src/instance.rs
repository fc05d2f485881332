//! Lodge's own verbs: instances from images, the way into them, images, jobs, events.

use clap::Subcommand;

use crate::domain::Dom;
use crate::failure::Failure;
use crate::session::Session;

pub mod access;
mod event;
mod image;
mod image_file;
mod job;
pub mod progress;
mod remove;
mod run;
mod seed;
mod ssh;
mod wait;

/// Lodge's own verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run an instance of an image: clone its disk, seed it, start it, follow it until it is ready
    Run(run::Run),
    /// Log in to an instance, or run a command in it
    Ssh(ssh::Ssh),
    /// Print a domain's addresses, the best first
    Ip(Dom),
    /// Wait until a domain is ready, has an address, its agent answers, runs or is stopped
    Wait(wait::Wait),
    /// How far the guest inside a domain is, and how it got there
    Readiness(Dom),
    /// Remove domains with all their files
    Rm(remove::Rm),
    /// What a guest's cloud-init is given at its first boot
    #[command(subcommand)]
    Seed(seed::Verb),
    /// The SSH key that instances get when no other is named
    #[command(subcommand)]
    Key(access::Verb),
    /// Images: the disks instances are cloned from
    #[command(subcommand)]
    Image(image::Verb),
    /// Jobs: acts that take long
    #[command(subcommand)]
    Job(job::Verb),
    /// Follow what changes on the host, one line each
    Event(event::Event),
}

/// Runs one of them.
pub async fn run(verb: Verb, session: &mut Session) -> Result<(), Failure> {
    match verb {
        Verb::Run(verb) => verb.run(session).await,
        Verb::Ssh(verb) => verb.run(session).await,
        Verb::Ip(dom) => wait::ip(&dom.domain, session).await,
        Verb::Wait(verb) => verb.run(session).await,
        Verb::Readiness(dom) => wait::readiness(&dom.domain, session).await,
        Verb::Rm(verb) => verb.run(session).await,
        Verb::Seed(verb) => verb.run(session).await,
        Verb::Key(verb) => verb.run(session),
        Verb::Image(verb) => verb.run(session).await,
        Verb::Job(verb) => verb.run(session).await,
        Verb::Event(verb) => verb.run(session).await,
    }
}
