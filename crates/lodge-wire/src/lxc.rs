//! Program `lxc`: its types and procedures.
//!
//! Written by `cargo xtask codegen` from `facts/lxc.facts`; change that, not this.

use crate::remote;

procedures! {
    program 0x0006_8000 version 1;
    calls {
        1 DomainOpenNamespace "DOMAIN_OPEN_NAMESPACE" (DomainOpenNamespaceArgs) -> () { fds_out acl[domain.open_namespace] }
    }
    events {
    }
}

structs! {
    DomainOpenNamespaceArgs { dom: remote::Domain, flags: u32, }
}
