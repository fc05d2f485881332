//! Changing a network: sections of its document, words for people.

use lodge_engine::{Affects, MetadataChange, MetadataPart};
use lodge_model::network::{Command, Section, Update};
use lodge_wire::Text;
use lodge_wire::remote::{
    NetworkGetMetadataArgs, NetworkGetMetadataRet, NetworkSetMetadataArgs, NetworkUpdateArgs,
};

use super::{document, fault, find};
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_NETWORK_UPDATE_AFFECT_LIVE`
const LIVE: u32 = 1;
/// `VIR_NETWORK_UPDATE_AFFECT_CONFIG`
const CONFIG: u32 = 2;

fn affects(flags: u32) -> Affects {
    Affects { live: flags & LIVE != 0, config: flags & CONFIG != 0 }
}

pub(crate) async fn update(call: &Call, args: NetworkUpdateArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    let view = find(call, &args.net)?;
    let unsupported = |text: &str| Fault::new(Code::OperationUnsupported, Origin::Network, text);
    let section = Section::from_number(args.section)
        .ok_or_else(|| unsupported("can't update unrecognized section of network"))?;
    let command = Command::from_number(args.command)
        .ok_or_else(|| unsupported("unrecognized network update command code"))?;
    let xml = document(&args.xml)?.to_owned();
    let update = Update { command, section, parent: usize::try_from(args.parent_index).ok(), xml };
    let networks = call.engine().networks_to_change(&call.caller())?;
    networks.update(view.id, update, affects(args.flags)).await.map_err(|error| fault(&error))
}

/// `virNetworkMetadataType`
fn part(kind: i32, uri: Option<&Text>) -> Result<MetadataPart, Fault> {
    match kind {
        0 => Ok(MetadataPart::Description),
        1 => Ok(MetadataPart::Title),
        2 => Ok(MetadataPart::Element(uri.map(|uri| uri.to_string_lossy().into_owned()).unwrap_or_default())),
        _ => Err(Fault::new(Code::InvalidArg, Origin::Network, "unknown metadata type")),
    }
}

pub(crate) async fn set_metadata(call: &Call, args: NetworkSetMetadataArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    let view = find(call, &args.network)?;
    let text = |text: &Option<Text>| text.as_ref().map(|text| text.to_string_lossy().into_owned());
    let change = MetadataChange {
        part: part(args.r#type, args.uri.as_ref())?,
        text: text(&args.metadata),
        key: text(&args.key),
    };
    let networks = call.engine().networks_to_change(&call.caller())?;
    networks.set_metadata(view.id, change, affects(args.flags)).await.map_err(|error| fault(&error))
}

pub(crate) async fn get_metadata(
    call: &Call,
    args: NetworkGetMetadataArgs,
) -> Result<NetworkGetMetadataRet, Fault> {
    call.only_flags(args.flags, LIVE | CONFIG)?;
    let view = find(call, &args.network)?;
    let part = part(args.r#type, args.uri.as_ref())?;
    let networks = call.engine().networks_to_see(&call.caller());
    let text = networks.metadata(view.id, part, affects(args.flags)).await.map_err(|error| fault(&error))?;
    Ok(NetworkGetMetadataRet { metadata: text.into() })
}
