//! Program `qemu`: its types and procedures.
//!
//! Written by `cargo xtask codegen` from `facts/qemu.facts`; change that, not this.

use crate::Text;
use crate::remote;

procedures! {
    program 0x2000_8087 version 1;
    calls {
        1 DomainMonitorCommand "DOMAIN_MONITOR_COMMAND" (DomainMonitorCommandArgs) -> DomainMonitorCommandRet { acl[domain.write] }
        2 DomainAttach "DOMAIN_ATTACH" (DomainAttachArgs) -> DomainAttachRet { acl[domain.start, domain.write] }
        3 DomainAgentCommand "DOMAIN_AGENT_COMMAND" (DomainAgentCommandArgs) -> DomainAgentCommandRet { acl[domain.write] }
        4 ConnectDomainMonitorEventRegister "CONNECT_DOMAIN_MONITOR_EVENT_REGISTER" (ConnectDomainMonitorEventRegisterArgs) -> ConnectDomainMonitorEventRegisterRet { high acl[connect.search_domains, connect.write] }
        5 ConnectDomainMonitorEventDeregister "CONNECT_DOMAIN_MONITOR_EVENT_DEREGISTER" (ConnectDomainMonitorEventDeregisterArgs) -> () { high acl[connect.write] }
        7 DomainMonitorCommandWithFiles "DOMAIN_MONITOR_COMMAND_WITH_FILES" (DomainMonitorCommandWithFilesArgs) -> DomainMonitorCommandWithFilesRet { fds_in fds_out acl[domain.write] }
    }
    events {
        6 DomainMonitorEvent "DOMAIN_MONITOR_EVENT" (DomainMonitorEventMsg) {}
    }
}

structs! {
    DomainMonitorCommandArgs { dom: remote::Domain, cmd: Text, flags: u32, }
    DomainMonitorCommandRet { result: Text, }
    DomainAttachArgs { pid_value: u32, flags: u32, }
    DomainAttachRet { dom: remote::Domain, }
    DomainAgentCommandArgs { dom: remote::Domain, cmd: Text, timeout: i32, flags: u32, }
    DomainAgentCommandRet { result: Option<Text>, }
    ConnectDomainMonitorEventRegisterArgs { dom: Option<remote::Domain>, event: Option<Text>, flags: u32, }
    ConnectDomainMonitorEventRegisterRet { callback_id: i32, }
    ConnectDomainMonitorEventDeregisterArgs { callback_id: i32, }
    DomainMonitorEventMsg { callback_id: i32, dom: remote::Domain, event: Text, seconds: i64, micros: u32, details: Option<Text>, }
    DomainMonitorCommandWithFilesArgs { dom: remote::Domain, cmd: Text, flags: u32, }
    DomainMonitorCommandWithFilesRet { result: Text, }
}
