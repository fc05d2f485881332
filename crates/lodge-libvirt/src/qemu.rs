//! The QEMU program: the monitor, as it is.

mod command;
mod event;

use crate::dispatch::procedures;

procedures! {
    qemu;

    DomainMonitorCommand => command::monitor, "compat: queries";
    DomainAgentCommand => command::agent, "compat: queries";
    DomainMonitorCommandWithFiles => command::monitor_with_files, "compat: queries";

    ConnectDomainMonitorEventRegister => event::register, "events::registering";
    ConnectDomainMonitorEventDeregister => event::deregister, "events::registering";
}
