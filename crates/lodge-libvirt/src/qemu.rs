//! The QEMU program: the monitor, as it is.

mod event;

use crate::dispatch::procedures;

procedures! {
    qemu;

    ConnectDomainMonitorEventRegister => event::register, "events::registering";
    ConnectDomainMonitorEventDeregister => event::deregister, "events::registering";
}
