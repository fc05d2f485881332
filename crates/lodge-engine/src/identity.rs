//! Use cases of identities: what makes a machine this machine, and what becomes of it.
//!
//! What the host gives a guest is in `facts`, what lies on its disks is read and changed by `inside`, what a guest that runs
//! tells is in `running`. `rules` takes in what the host's owner adds to the catalogue. `look` puts them together, `audit`
//! puts all machines beside each other, also the host's `containers` and `strangers` on the networks, `reset` makes another
//! machine of a guest (by `steps` whatever else somebody wants in it), `starts` sees to it that no two run, `log` is the book.

pub(crate) mod alter;
mod audit;
pub(crate) mod cache;
mod containers;
mod facts;
pub(crate) mod inside;
mod log;
mod look;
mod reset;
pub(crate) mod rules;
mod running;
pub(crate) mod starts;
mod steps;
mod strangers;
mod sysprep;
