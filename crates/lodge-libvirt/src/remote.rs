//! The REMOTE program: which function does which procedure.
//!
//! One line per procedure: `Procedure => function, "the test that shows it works";`. A procedure without a line
//! answers `unknown procedure`, as libvirtd would.

mod connect;
mod domain;
mod event;

use crate::dispatch::procedures;

procedures! {
    remote;

    // The connection.
    ConnectOpen => connect::open, "attack::a_second_open_fails";
    ConnectClose => connect::close, "compat: uri";
    ConnectGetType => connect::get_type, "compat: version";
    ConnectGetVersion => connect::get_version, "compat: version";
    ConnectGetLibVersion => connect::get_lib_version, "compat: version";
    ConnectGetHostname => connect::get_hostname, "compat: hostname";
    ConnectGetUri => connect::get_uri, "compat: uri";
    ConnectSupportsFeature => connect::supports_feature, "attack::features";
    ConnectIsSecure => connect::is_secure, "compat: python-connection";
    ConnectRegisterCloseCallback => connect::register_close_callback, "compat: list";
    ConnectUnregisterCloseCallback => connect::unregister_close_callback, "compat: list";
    AuthList => connect::auth_list, "attack::before_login";

    // Events.
    ConnectDomainEventCallbackRegisterAny => event::register_domain, "events::lifecycle";
    ConnectDomainEventCallbackDeregisterAny => event::deregister_domain, "events::lifecycle";
    ConnectNetworkEventRegisterAny => event::register_network, "events::registering";
    ConnectNetworkEventDeregisterAny => event::deregister_network, "events::registering";
    ConnectStoragePoolEventRegisterAny => event::register_pool, "events::registering";
    ConnectStoragePoolEventDeregisterAny => event::deregister_pool, "events::registering";
    ConnectNodeDeviceEventRegisterAny => event::register_node_device, "events::registering";
    ConnectNodeDeviceEventDeregisterAny => event::deregister_node_device, "events::registering";
    ConnectSecretEventRegisterAny => event::register_secret, "events::registering";
    ConnectSecretEventDeregisterAny => event::deregister_secret, "events::registering";

    // Domains: finding them.
    DomainLookupById => domain::lookup::by_id, "compat: domname";
    DomainLookupByName => domain::lookup::by_name, "compat: domid";
    DomainLookupByUuid => domain::lookup::by_uuid, "compat: domname";
    ConnectListAllDomains => domain::lookup::list_all, "compat: list";
    DomainGetState => domain::lookup::get_state, "compat: domstate";
}
