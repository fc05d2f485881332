//! The host's devices: found, described, and taken from their drivers by hand. Making some is answered as libvirtd answers
//! on a host that cannot.

use lodge_engine::EngineError;
use lodge_engine::host_facts::devices::{Device, SORT_WORDS, Sort};
use lodge_engine::host_facts::hostdev::{Fault as Assignment, HostdevError};
use lodge_wire::Text;
use lodge_wire::remote::{
    self, ConnectListAllNodeDevicesArgs, ConnectListAllNodeDevicesRet, NodeDeviceCreateArgs,
    NodeDeviceCreateXmlArgs, NodeDeviceCreateXmlRet, NodeDeviceDefineXmlArgs, NodeDeviceDefineXmlRet,
    NodeDeviceDestroyArgs, NodeDeviceDetachFlagsArgs, NodeDeviceDettachArgs, NodeDeviceGetAutostartArgs,
    NodeDeviceGetAutostartRet, NodeDeviceGetParentArgs, NodeDeviceGetParentRet, NodeDeviceGetXmlDescArgs,
    NodeDeviceGetXmlDescRet, NodeDeviceIsActiveArgs, NodeDeviceIsActiveRet, NodeDeviceIsPersistentArgs,
    NodeDeviceIsPersistentRet, NodeDeviceListCapsArgs, NodeDeviceListCapsRet, NodeDeviceLookupByNameArgs,
    NodeDeviceLookupByNameRet, NodeDeviceLookupScsiHostByWwnArgs, NodeDeviceLookupScsiHostByWwnRet,
    NodeDeviceNumOfCapsArgs, NodeDeviceNumOfCapsRet, NodeDeviceReAttachArgs, NodeDeviceResetArgs,
    NodeDeviceSetAutostartArgs, NodeDeviceUndefineArgs, NodeDeviceUpdateArgs, NodeListDevicesArgs,
    NodeListDevicesRet, NodeNumOfDevicesArgs, NodeNumOfDevicesRet,
};

use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_CONNECT_LIST_NODE_DEVICES_*`: the sorts, then whether they persist and are active.
const SORTS: u32 = (1 << 24) - 1;
const PERSISTENT: u32 = 1 << 28;
const TRANSIENT: u32 = 1 << 29;
const INACTIVE: u32 = 1 << 30;
const ACTIVE: u32 = 1 << 31;

fn nodedev(code: Code, text: impl Into<String>) -> Fault {
    Fault::new(code, Origin::Nodedev, text)
}

async fn find(call: &Call, name: &Text) -> Result<Device, Fault> {
    let found = call.engine().host_device(&call.caller(), &name.to_string_lossy()).await;
    found.ok_or_else(|| nodedev(Code::NoNodeDevice, format!("no node device with matching name '{name}'")))
}

/// Devices of a sort, or all of them.
async fn of_sort(call: &Call, sort: Option<&Text>) -> Result<Vec<Device>, Fault> {
    let all = call.engine().host_devices(&call.caller()).await;
    let Some(sort) = sort else { return Ok(all) };
    let word = sort.to_string_lossy();
    if !SORT_WORDS.contains(&&*word) {
        return Ok(Vec::new());
    }
    Ok(all.into_iter().filter(|device| device.sort.words().first() == Some(&&*word)).collect())
}

pub(crate) async fn num_of(call: &Call, args: NodeNumOfDevicesArgs) -> Result<NodeNumOfDevicesRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let count = of_sort(call, args.cap.as_ref()).await?.len();
    Ok(NodeNumOfDevicesRet { num: i32::try_from(count).unwrap_or(i32::MAX) })
}

pub(crate) async fn list(call: &Call, args: NodeListDevicesArgs) -> Result<NodeListDevicesRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let found = of_sort(call, args.cap.as_ref()).await?;
    let most = usize::try_from(args.maxnames).unwrap_or_default();
    Ok(NodeListDevicesRet { names: found.into_iter().take(most).map(|device| device.name.into()).collect() })
}

/// All that are there are active, and none is kept in a definition of ours.
fn passes(device: &Device, flags: u32) -> bool {
    (flags & SORTS == 0 || flags & device.sort.bit() != 0)
        && (flags & (ACTIVE | INACTIVE) == 0 || flags & ACTIVE != 0)
        && (flags & (PERSISTENT | TRANSIENT) == 0 || flags & TRANSIENT != 0)
}

pub(crate) async fn list_all(
    call: &Call,
    args: ConnectListAllNodeDevicesArgs,
) -> Result<ConnectListAllNodeDevicesRet, Fault> {
    call.only_flags(args.flags, SORTS | PERSISTENT | TRANSIENT | INACTIVE | ACTIVE)?;
    let all = call.engine().host_devices(&call.caller()).await;
    let wanted = all.into_iter().filter(|device| passes(device, args.flags));
    let devices: Vec<_> = wanted.map(|device| remote::NodeDevice { name: device.name.into() }).collect();
    let ret = u32::try_from(devices.len()).unwrap_or(u32::MAX);
    Ok(ConnectListAllNodeDevicesRet {
        devices: if args.need_results == 0 { Vec::new() } else { devices },
        ret,
    })
}

pub(crate) async fn lookup_by_name(
    call: &Call,
    args: NodeDeviceLookupByNameArgs,
) -> Result<NodeDeviceLookupByNameRet, Fault> {
    let device = find(call, &args.name).await?;
    Ok(NodeDeviceLookupByNameRet { dev: remote::NodeDevice { name: device.name.into() } })
}

pub(crate) async fn lookup_scsi_host(
    call: &Call,
    args: NodeDeviceLookupScsiHostByWwnArgs,
) -> Result<NodeDeviceLookupScsiHostByWwnRet, Fault> {
    call.only_flags(args.flags, 0)?;
    // Fibre Channel's adapters are not told apart by their names yet.
    let text = format!("no SCSI host with WWNN '{}' and WWPN '{}'", args.wwnn, args.wwpn);
    Err(nodedev(Code::NoNodeDevice, text))
}

pub(crate) async fn xml_desc(
    call: &Call,
    args: NodeDeviceGetXmlDescArgs,
) -> Result<NodeDeviceGetXmlDescRet, Fault> {
    /// `VIR_NODE_DEVICE_XML_INACTIVE`
    const XML_INACTIVE: u32 = 1;
    call.only_flags(args.flags, XML_INACTIVE)?;
    let device = find(call, &args.name).await?;
    if args.flags & XML_INACTIVE != 0 {
        let text = format!("Node device '{}' is not persistent", device.name);
        return Err(nodedev(Code::OperationInvalid, text));
    }
    Ok(NodeDeviceGetXmlDescRet { xml: call.engine().host_device_xml(&call.caller(), device).await.into() })
}

pub(crate) async fn parent(
    call: &Call,
    args: NodeDeviceGetParentArgs,
) -> Result<NodeDeviceGetParentRet, Fault> {
    Ok(NodeDeviceGetParentRet { parent_name: find(call, &args.name).await?.parent.map(Into::into) })
}

pub(crate) async fn num_of_caps(
    call: &Call,
    args: NodeDeviceNumOfCapsArgs,
) -> Result<NodeDeviceNumOfCapsRet, Fault> {
    let count = find(call, &args.name).await?.sort.words().len();
    Ok(NodeDeviceNumOfCapsRet { num: i32::try_from(count).unwrap_or(i32::MAX) })
}

pub(crate) async fn list_caps(
    call: &Call,
    args: NodeDeviceListCapsArgs,
) -> Result<NodeDeviceListCapsRet, Fault> {
    let words = find(call, &args.name).await?.sort.words();
    let most = usize::try_from(args.maxnames).unwrap_or_default();
    Ok(NodeDeviceListCapsRet { names: words.iter().take(most).map(|word| (*word).into()).collect() })
}

/// VFIO's drivers alone are for guests; libvirt's words.
fn judge_driver(call: &Call, driver: Option<&str>) -> Result<(), Fault> {
    let unsupported = |text: &str| Fault::new(Code::ArgumentUnsupported, Origin::Qemu, text);
    match driver {
        Some("kvm") => Err(unsupported("KVM device assignment is no longer supported on this system")),
        Some("xen") => Err(unsupported("unknown driver name 'xen'")),
        _ if !call.engine().gives_host_devices(&call.caller()) => {
            Err(unsupported("VFIO device assignment is currently not supported on this system"))
        }
        _ => Ok(()),
    }
}

/// What a guest has is refused in libvirt's words.
fn in_use(error: EngineError) -> Fault {
    match error.resource::<HostdevError>() {
        Some(HostdevError { fault: Assignment::Taken { what, by }, .. }) => {
            let text = format!("{what} is in use by driver QEMU, domain {by}");
            Fault::new(Code::OperationInvalid, Origin::None, text)
        }
        _ => error.into(),
    }
}

async fn take(call: &Call, name: &Text, driver: Option<&Text>) -> Result<(), Fault> {
    let device = pci_only(call, name).await?;
    let driver = driver.map(|driver| driver.to_string_lossy().into_owned());
    judge_driver(call, driver.as_deref())?;
    let taken = call.engine().detach_host_device(&call.caller(), &device, driver.as_deref()).await;
    taken.map_err(in_use)
}

pub(crate) async fn detach(call: &Call, args: NodeDeviceDettachArgs) -> Result<(), Fault> {
    take(call, &args.name, None).await
}

pub(crate) async fn detach_flags(call: &Call, args: NodeDeviceDetachFlagsArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    take(call, &args.name, args.driver_name.as_ref()).await
}

async fn pci_only(call: &Call, name: &Text) -> Result<Device, Fault> {
    let device = find(call, name).await?;
    if device.sort == Sort::Pci {
        return Ok(device);
    }
    let text = format!("device {} is not a PCI device", device.name);
    Err(Fault::new(Code::InvalidArg, Origin::Qemu, text))
}

pub(crate) async fn reattach(call: &Call, args: NodeDeviceReAttachArgs) -> Result<(), Fault> {
    let device = pci_only(call, &args.name).await?;
    call.engine().reattach_host_device(&call.caller(), &device).await.map_err(in_use)
}

pub(crate) async fn reset(call: &Call, args: NodeDeviceResetArgs) -> Result<(), Fault> {
    let device = pci_only(call, &args.name).await?;
    call.engine().reset_host_device(&call.caller(), &device).await.map_err(in_use)
}

/// Devices that are made (mediated devices, virtual ports) are not supported yet.
fn not_made() -> Fault {
    nodedev(Code::OperationUnsupported, "Unsupported device type")
}

pub(crate) async fn create_xml(
    call: &Call,
    args: NodeDeviceCreateXmlArgs,
) -> Result<NodeDeviceCreateXmlRet, Fault> {
    call.only_flags(args.flags, 1)?;
    Err(not_made())
}

pub(crate) async fn define_xml(
    call: &Call,
    args: NodeDeviceDefineXmlArgs,
) -> Result<NodeDeviceDefineXmlRet, Fault> {
    call.only_flags(args.flags, 1)?;
    Err(not_made())
}

pub(crate) async fn destroy(call: &Call, args: NodeDeviceDestroyArgs) -> Result<(), Fault> {
    find(call, &args.name).await?;
    Err(nodedev(Code::ConfigUnsupported, "Unsupported device type"))
}

pub(crate) async fn undefine(call: &Call, args: NodeDeviceUndefineArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    let device = find(call, &args.name).await?;
    Err(nodedev(Code::OperationInvalid, format!("Node device '{}' is not defined", device.name)))
}

pub(crate) async fn create(call: &Call, args: NodeDeviceCreateArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    find(call, &args.name).await?;
    Err(nodedev(Code::OperationInvalid, "Device is already active"))
}

pub(crate) async fn get_autostart(
    call: &Call,
    args: NodeDeviceGetAutostartArgs,
) -> Result<NodeDeviceGetAutostartRet, Fault> {
    let device = find(call, &args.name).await?;
    Ok(NodeDeviceGetAutostartRet { autostart: i32::from(is_lasting(&device)) })
}

pub(crate) async fn set_autostart(call: &Call, args: NodeDeviceSetAutostartArgs) -> Result<(), Fault> {
    find(call, &args.name).await?;
    Err(not_made())
}

/// The computer itself is there at every boot; of other devices nobody has said so.
fn is_lasting(device: &Device) -> bool {
    device.sort == Sort::Computer
}

pub(crate) async fn is_persistent(
    call: &Call,
    args: NodeDeviceIsPersistentArgs,
) -> Result<NodeDeviceIsPersistentRet, Fault> {
    let device = find(call, &args.name).await?;
    Ok(NodeDeviceIsPersistentRet { persistent: i32::from(is_lasting(&device)) })
}

pub(crate) async fn is_active(
    call: &Call,
    args: NodeDeviceIsActiveArgs,
) -> Result<NodeDeviceIsActiveRet, Fault> {
    find(call, &args.name).await?;
    Ok(NodeDeviceIsActiveRet { active: 1 })
}

pub(crate) async fn update(call: &Call, args: NodeDeviceUpdateArgs) -> Result<(), Fault> {
    // Live and config.
    call.only_flags(args.flags, 3)?;
    find(call, &args.name).await?;
    Err(not_made())
}
