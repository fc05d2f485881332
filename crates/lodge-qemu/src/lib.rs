//! QEMU: capabilities, command line, monitor, process.
//!
//! A newcomer's path: [`Capabilities::probe`] (what this QEMU can do) → [`command_line()`] (the document as
//! arguments, a pure function) → [`launch()`] (the process) → [`qmp::Monitor`] (talking to it) → [`adopt()`] (finding it
//! again after the daemon's own end).
//!
//! This is the only crate with QEMU's and x86's words. Deliberately absent: what a guest's life is (lodge-domain), and
//! where disks and nets come from: they arrive here as descriptors ([`Claims`]).

mod adopt;
pub mod agent;
mod capabilities;
mod claims;
mod command_line;
mod explain;
pub mod firmware;
pub mod helper;
mod hotplug;
mod launch;
mod log;
pub mod qmp;
pub mod save_image;
mod socket;
pub mod speed;
mod stop;
mod vmm;

pub use adopt::{AdoptError, Stranger, adopt, introduce, is_qemu_of};
pub use capabilities::{Capabilities, Others, ProbeError, Processor, debian_package_of};
pub use claims::{
    Accelerator, BootFiles, Chain, Claims, Descriptors, FdNumber, HostdevClaim, Link, LinkBytes, NicClaim,
    Password, ScreenClaim, SecurityClaim, Served,
};
pub use command_line::{
    Argument, CommandLine, MonitorCommand, Refusals, Refused, Warning, assign_aliases, command_line,
    device_arguments, listeners, memory_files, node_numbers, reopened_file, secure_streams, secured_streams,
    throttle,
};
pub use explain::{Explained, Explanation, Rehearsal, UNKNOWN, Without, explain};
pub use hotplug::{Plugged, plug, remove_layer, sweep_nodes, unplug_rest};
pub use launch::{Credentials, ENVIRONMENT, LaunchError, LaunchSpec, guest_credentials, launch};
pub use log::last_words_in;
pub use socket::{connect, connect_now, listen};
pub use speed::Speed;
pub use stop::{Stop, StopError, kill_noted};
pub use vmm::{AGENT_SOCKET, MONITOR_SOCKET, Note, QEMU_LOG, VMM_FILE, Vmm, forget};
