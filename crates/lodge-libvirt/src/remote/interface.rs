//! The host's own interfaces: no driver, as in Debian's libvirtd, which leaves them to the host's network tools.

use lodge_wire::remote::{
    ConnectListAllInterfacesArgs, ConnectListAllInterfacesRet, ConnectListDefinedInterfacesArgs,
    ConnectListDefinedInterfacesRet, ConnectListInterfacesArgs, ConnectListInterfacesRet,
    ConnectNumOfDefinedInterfacesRet, ConnectNumOfInterfacesRet, InterfaceChangeBeginArgs,
    InterfaceChangeCommitArgs, InterfaceChangeRollbackArgs, InterfaceCreateArgs, InterfaceDefineXmlArgs,
    InterfaceDefineXmlRet, InterfaceDestroyArgs, InterfaceGetXmlDescArgs, InterfaceGetXmlDescRet,
    InterfaceIsActiveArgs, InterfaceIsActiveRet, InterfaceLookupByMacStringArgs,
    InterfaceLookupByMacStringRet, InterfaceLookupByNameArgs, InterfaceLookupByNameRet,
    InterfaceUndefineArgs,
};

use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// What libvirtd says where a driver lacks a function.
fn no_driver(call: &Call) -> Fault {
    Fault::new(Code::NoSupport, Origin::Interface, crate::api::function(call.facts()))
}

macro_rules! absent {
    ($($name:ident($args:ty) -> $ret:ty;)*) => {
        $(pub(crate) async fn $name(call: &Call, _: $args) -> Result<$ret, Fault> {
            Err(no_driver(call))
        })*
    };
}

absent! {
    num_of(()) -> ConnectNumOfInterfacesRet;
    list(ConnectListInterfacesArgs) -> ConnectListInterfacesRet;
    num_of_defined(()) -> ConnectNumOfDefinedInterfacesRet;
    list_defined(ConnectListDefinedInterfacesArgs) -> ConnectListDefinedInterfacesRet;
    list_all(ConnectListAllInterfacesArgs) -> ConnectListAllInterfacesRet;
    lookup_by_name(InterfaceLookupByNameArgs) -> InterfaceLookupByNameRet;
    lookup_by_mac(InterfaceLookupByMacStringArgs) -> InterfaceLookupByMacStringRet;
    xml_desc(InterfaceGetXmlDescArgs) -> InterfaceGetXmlDescRet;
    define_xml(InterfaceDefineXmlArgs) -> InterfaceDefineXmlRet;
    undefine(InterfaceUndefineArgs) -> ();
    create(InterfaceCreateArgs) -> ();
    destroy(InterfaceDestroyArgs) -> ();
    is_active(InterfaceIsActiveArgs) -> InterfaceIsActiveRet;
    change_begin(InterfaceChangeBeginArgs) -> ();
    change_commit(InterfaceChangeCommitArgs) -> ();
    change_rollback(InterfaceChangeRollbackArgs) -> ();
}
