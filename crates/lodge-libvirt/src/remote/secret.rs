//! Secrets: their documents and values.

use std::sync::Arc;

use lodge_engine::{EngineError, SecretError};
use lodge_model::secret::{BadSecret, Secret, SecretUsage, UsageKind};
use lodge_wire::remote::{
    self, ConnectListAllSecretsArgs, ConnectListAllSecretsRet, ConnectListSecretsArgs, ConnectListSecretsRet,
    ConnectNumOfSecretsRet, SecretDefineXmlArgs, SecretDefineXmlRet, SecretGetValueArgs, SecretGetValueRet,
    SecretGetXmlDescArgs, SecretGetXmlDescRet, SecretLookupByUsageArgs, SecretLookupByUsageRet,
    SecretLookupByUuidArgs, SecretLookupByUuidRet, SecretSetValueArgs, SecretUndefineArgs,
};
use uuid::Uuid;

use crate::call::Call;
use crate::fault::{Code, Fault, Origin, whole};

/// `VIR_SECRET_DEFINE_VALIDATE`
const VALIDATE: u32 = 1;

/// A secret's handle on the wire.
pub(crate) fn wire(secret: &Secret) -> remote::Secret {
    remote::Secret {
        uuid: *secret.uuid.as_bytes(),
        usage_type: secret.usage.as_ref().map_or(0, |usage| usage.kind.number()),
        usage_id: secret.usage_id().into(),
    }
}

/// The secrets' errors in libvirt's numbers.
fn fault(error: &SecretError) -> Fault {
    let code = match error {
        SecretError::NotFound(_) => Code::NoSecret,
        SecretError::Document(BadSecret::Xml(_)) => Code::XmlError,
        SecretError::Document(BadSecret::Schema(_)) => Code::XmlInvalidSchema,
        SecretError::Document(BadSecret::Incomplete(_))
        | SecretError::Clash(_)
        | SecretError::File { .. } => Code::InternalError,
        SecretError::Denied(_) => Code::OperationDenied,
        SecretError::Private => Code::InvalidSecret,
        SecretError::NotBase64 | SecretError::Empty | SecretError::TooLong => Code::InvalidArg,
    };
    Fault::new(code, Origin::Secret, whole(error))
}

/// An act's error: the secrets' own, or that the caller may not.
fn act_fault(error: EngineError) -> Fault {
    match error.resource::<SecretError>() {
        Some(own) => fault(own),
        None => error.into(),
    }
}

fn find(call: &Call, secret: &remote::Secret) -> Result<Arc<Secret>, Fault> {
    let secrets = call.engine().secrets(&call.caller());
    secrets.by_uuid(Uuid::from_bytes(secret.uuid)).map_err(|error| fault(&error))
}

pub(crate) async fn num_of(call: &Call, (): ()) -> Result<ConnectNumOfSecretsRet, Fault> {
    let count = call.engine().secrets(&call.caller()).list().len();
    Ok(ConnectNumOfSecretsRet { num: i32::try_from(count).unwrap_or(i32::MAX) })
}

pub(crate) async fn list(call: &Call, args: ConnectListSecretsArgs) -> Result<ConnectListSecretsRet, Fault> {
    let secrets = call.engine().secrets(&call.caller()).list();
    let most = usize::try_from(args.maxuuids).unwrap_or_default();
    let uuids = secrets.iter().take(most).map(|secret| secret.uuid.to_string().into()).collect();
    Ok(ConnectListSecretsRet { uuids })
}

/// `VIR_CONNECT_LIST_SECRETS_*`
fn passes(secret: &Secret, flags: u32) -> bool {
    let either =
        |yes: u32, no: u32, is: bool| flags & (yes | no) == 0 || flags & (if is { yes } else { no }) != 0;
    either(1, 2, secret.ephemeral) && either(4, 8, secret.private)
}

pub(crate) async fn list_all(
    call: &Call,
    args: ConnectListAllSecretsArgs,
) -> Result<ConnectListAllSecretsRet, Fault> {
    call.only_flags(args.flags, 15)?;
    let all = call.engine().secrets(&call.caller()).list();
    let found: Vec<_> =
        all.iter().filter(|secret| passes(secret, args.flags)).map(|secret| wire(secret)).collect();
    let ret = u32::try_from(found.len()).unwrap_or(u32::MAX);
    Ok(ConnectListAllSecretsRet { secrets: if args.need_results == 0 { Vec::new() } else { found }, ret })
}

pub(crate) async fn lookup_by_uuid(
    call: &Call,
    args: SecretLookupByUuidArgs,
) -> Result<SecretLookupByUuidRet, Fault> {
    let secrets = call.engine().secrets(&call.caller());
    let found = secrets.by_uuid(Uuid::from_bytes(args.uuid)).map_err(|error| fault(&error))?;
    Ok(SecretLookupByUuidRet { secret: wire(&found) })
}

pub(crate) async fn lookup_by_usage(
    call: &Call,
    args: SecretLookupByUsageArgs,
) -> Result<SecretLookupByUsageRet, Fault> {
    let id = args.usage_id.to_string_lossy().into_owned();
    let missing =
        || Fault::new(Code::NoSecret, Origin::Secret, format!("no secret with matching usage '{id}'"));
    let kind = UsageKind::from_number(args.usage_type).ok_or_else(missing)?;
    let secrets = call.engine().secrets(&call.caller());
    let found = secrets.by_usage(&SecretUsage { kind, id: id.clone() }).map_err(|error| fault(&error))?;
    Ok(SecretLookupByUsageRet { secret: wire(&found) })
}

pub(crate) async fn define_xml(call: &Call, args: SecretDefineXmlArgs) -> Result<SecretDefineXmlRet, Fault> {
    call.only_flags(args.flags, VALIDATE)?;
    let xml = args
        .xml
        .to_str()
        .map_err(|_| Fault::new(Code::XmlError, Origin::Secret, "the document is no UTF-8"))?;
    if args.flags & VALIDATE != 0 {
        Secret::check_strict(xml).map_err(|bad| fault(&bad.into()))?;
    }
    let made = call.engine().define_secret(&call.caller(), xml.to_owned()).await.map_err(act_fault)?;
    Ok(SecretDefineXmlRet { secret: wire(&made) })
}

pub(crate) async fn xml_desc(call: &Call, args: SecretGetXmlDescArgs) -> Result<SecretGetXmlDescRet, Fault> {
    call.only_flags(args.flags, 0)?;
    Ok(SecretGetXmlDescRet { xml: find(call, &args.secret)?.to_xml().into() })
}

pub(crate) async fn set_value(call: &Call, args: SecretSetValueArgs) -> Result<(), Fault> {
    call.only_flags(args.flags, 0)?;
    let uuid = find(call, &args.secret)?.uuid;
    call.engine().set_secret_value(&call.caller(), uuid, args.value).await.map_err(act_fault)
}

pub(crate) async fn get_value(call: &Call, args: SecretGetValueArgs) -> Result<SecretGetValueRet, Fault> {
    call.only_flags(args.flags, 0)?;
    let uuid = find(call, &args.secret)?.uuid;
    let value = call.engine().secret_value(&call.caller(), uuid).await.map_err(act_fault)?;
    Ok(SecretGetValueRet { value })
}

pub(crate) async fn undefine(call: &Call, args: SecretUndefineArgs) -> Result<(), Fault> {
    let uuid = find(call, &args.secret)?.uuid;
    call.engine().undefine_secret(&call.caller(), uuid).await.map_err(act_fault)
}
