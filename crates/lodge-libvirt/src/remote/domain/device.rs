//! Devices: plugged in, taken out, changed.

use lodge_engine::control::Scope;
use lodge_engine::control::device::{Given, UpdateOptions, attach, detach, detach_alias, update};
use lodge_wire::Text;
use lodge_wire::remote::{
    Domain, DomainAttachDeviceArgs, DomainAttachDeviceFlagsArgs, DomainDetachDeviceAliasArgs,
    DomainDetachDeviceArgs, DomainDetachDeviceFlagsArgs, DomainUpdateDeviceFlagsArgs,
};

use super::params::{CONFIG, LIVE, change, guest, scope};
use crate::call::Call;
use crate::fault::Fault;

/// `VIR_DOMAIN_DEVICE_MODIFY_FORCE`
const FORCE: u32 = 4;

/// Reads a device's text; the state is judged before it.
fn given(call: &Call, dom: &Domain, xml: &Text, scope: Scope) -> Result<Given, Fault> {
    let guest = guest(call, dom)?;
    scope.resolve(guest.snapshot().is_active(), guest.snapshot().persistent)?;
    Ok(Given::parse(&xml.to_string_lossy())?)
}

pub(crate) async fn attach_device(call: &Call, args: DomainAttachDeviceArgs) -> Result<(), Fault> {
    let given = given(call, &args.dom, &args.xml, Scope::LIVE)?;
    change(call, &args.dom, attach(given, Scope::LIVE)).await
}

pub(crate) async fn attach_device_flags(call: &Call, args: DomainAttachDeviceFlagsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    let scope = scope(args.flags);
    let given = given(call, &args.dom, &args.xml, scope)?;
    change(call, &args.dom, attach(given, scope)).await
}

pub(crate) async fn detach_device(call: &Call, args: DomainDetachDeviceArgs) -> Result<(), Fault> {
    let given = given(call, &args.dom, &args.xml, Scope::LIVE)?;
    change(call, &args.dom, detach(given, Scope::LIVE)).await
}

pub(crate) async fn detach_device_flags(call: &Call, args: DomainDetachDeviceFlagsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    let scope = scope(args.flags);
    let given = given(call, &args.dom, &args.xml, scope)?;
    change(call, &args.dom, detach(given, scope)).await
}

pub(crate) async fn detach_device_alias(call: &Call, args: DomainDetachDeviceAliasArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    let alias = args.alias.to_string_lossy().into_owned();
    change(call, &args.dom, detach_alias(alias, scope(args.flags))).await
}

pub(crate) async fn update_device_flags(call: &Call, args: DomainUpdateDeviceFlagsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG | FORCE)?;
    let scope = scope(args.flags);
    let given = given(call, &args.dom, &args.xml, scope)?;
    let options = UpdateOptions { force: args.flags & FORCE != 0 };
    change(call, &args.dom, update(given, options, scope)).await
}
