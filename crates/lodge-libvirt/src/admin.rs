//! The ADMIN program: what `virt-admin` asks about the daemon itself, on a socket of its own.
//!
//! libvirtd has two servers, `libvirtd` for the hypervisor's clients and `admin` for these; so have we. What has no
//! meaning here is said to be unsupported: there is no pool of workers to size, calls are tasks.

mod client;
mod connect;
mod server;

use std::time::Duration;

use crate::dispatch::procedures;
use crate::fault::{Code, Fault, Origin};

/// What the daemon lets `virt-admin` do with it.
pub trait Controls: Send + Sync {
    /// Where the log goes, in libvirt's words: `3:stderr 1:file:/var/log/x`.
    fn log_outputs(&self) -> String;

    /// Sets it; the text says what is wrong.
    fn set_log_outputs(&self, outputs: &str) -> Result<(), String>;

    /// What is logged beyond the outputs' levels, in libvirt's words: `1:qemu 3:remote`.
    fn log_filters(&self) -> String;

    /// Sets it; the text says what is wrong.
    fn set_log_filters(&self, filters: &str) -> Result<(), String>;

    /// Ends the daemon once nobody has been connected and nothing has run for so long; none: never.
    fn set_timeout(&self, timeout: Option<Duration>);

    /// Ends the daemon. Guests and networks run on.
    fn shut_down(&self);
}

procedures! {
    admin;

    ConnectOpen => connect::open, "door_admin::the_real_client_asks_and_sets";
    ConnectClose => connect::close, "door_admin::the_real_client_asks_and_sets";
    ConnectGetLibVersion => connect::get_lib_version, "door_admin::the_real_client_asks_and_sets";
    ConnectListServers => server::list, "door_admin::the_real_client_asks_and_sets";
    ConnectLookupServer => server::lookup, "door_admin::the_real_client_asks_and_sets";
    ServerGetThreadpoolParameters => server::get_threadpool, "door_admin::the_real_client_asks_and_sets";
    ServerSetThreadpoolParameters => server::set_threadpool, "door_admin::the_real_client_asks_and_sets";
    ServerListClients => client::list, "door_admin::the_real_client_sees_and_disconnects_clients";
    ServerLookupClient => client::lookup, "door_admin::the_real_client_sees_and_disconnects_clients";
    ClientGetInfo => client::get_info, "door_admin::the_real_client_sees_and_disconnects_clients";
    ClientClose => client::close, "door_admin::the_real_client_sees_and_disconnects_clients";
    ServerGetClientLimits => server::get_limits, "door_admin::the_real_client_asks_and_sets";
    ServerSetClientLimits => server::set_limits, "door_admin::the_real_client_asks_and_sets";
    ConnectGetLoggingOutputs => connect::get_logging_outputs, "door_admin::the_real_client_asks_and_sets";
    ConnectGetLoggingFilters => connect::get_logging_filters, "door_admin::the_real_client_asks_and_sets";
    ConnectSetLoggingOutputs => connect::set_logging_outputs, "door_admin::the_real_client_asks_and_sets";
    ConnectSetLoggingFilters => connect::set_logging_filters, "door_admin::the_real_client_asks_and_sets";
    ServerUpdateTlsFiles => server::update_tls_files, "door_tls::new_certificates_are_taken_without_a_restart";
    ConnectSetDaemonTimeout => connect::set_daemon_timeout, "door_admin::the_real_client_asks_and_sets";
    ConnectDaemonShutdown => connect::daemon_shutdown, "door_admin::the_real_client_asks_and_sets";
}

fn invalid(text: impl Into<String>) -> Fault {
    Fault::new(Code::InvalidArg, Origin::Rpc, text)
}
