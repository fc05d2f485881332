//! Typed parameters, and what else every question about a guest has in common.

use lodge_engine::control::tune::{Setting, Settings};
use lodge_engine::control::{Change, Scope};
use lodge_engine::{Figure, Guest, Value};
use lodge_wire::remote::{Domain, TypedParam, TypedParamValue};

use super::lookup::find;
use crate::call::Call;
use crate::fault::{Code, Fault, Origin};

/// `VIR_DOMAIN_AFFECT_LIVE`
pub(super) const LIVE: u32 = 1;
/// `VIR_DOMAIN_AFFECT_CONFIG`
pub(super) const CONFIG: u32 = 2;
/// `VIR_TYPED_PARAM_STRING_OKAY`
pub(super) const STRINGS: u32 = 4;

/// The domain that a handle means, to be looked at.
pub(super) fn guest(call: &Call, dom: &Domain) -> Result<Guest, Fault> {
    let handle = find(call, dom)?;
    Ok(call.engine().guest(&call.caller(), handle.id())?)
}

/// Changes the domain that a handle means.
pub(super) async fn change(call: &Call, dom: &Domain, change: Change) -> Result<(), Fault> {
    let handle = find(call, dom)?;
    Ok(call.engine().change_domain(&call.caller(), handle.id(), change).await?)
}

/// Which documents flags mean.
pub(super) fn scope(flags: u32) -> Scope {
    Scope { live: flags & LIVE != 0, config: flags & CONFIG != 0 }
}

/// Whether a question is for the running guest; the C API allows one of both only.
pub(super) fn asks_live(guest: &Guest, flags: u32) -> Result<bool, Fault> {
    if flags & (LIVE | CONFIG) == LIVE | CONFIG {
        let text = "Flags 'VIR_DOMAIN_AFFECT_LIVE' and 'VIR_DOMAIN_AFFECT_CONFIG' are mutually exclusive";
        return Err(Fault::bare(Code::InvalidArg, Origin::Domain, text));
    }
    let snapshot = guest.snapshot();
    Ok(scope(flags).resolve(snapshot.is_active(), snapshot.persistent)?.live)
}

/// Figures as parameters.
pub(super) fn to_wire(figures: Vec<Figure>, strings: bool) -> Vec<TypedParam> {
    let param = |Figure { name, value }: Figure| {
        let value = match value {
            Value::Int(value) => TypedParamValue::Int(value),
            Value::Uint(value) => TypedParamValue::Uint(value),
            Value::Long(value) => TypedParamValue::Llong(value),
            Value::Ulong(value) => TypedParamValue::Ullong(value),
            Value::Double(value) => TypedParamValue::Double(value),
            Value::Flag(value) => TypedParamValue::Boolean(i32::from(value)),
            Value::Text(value) if strings => TypedParamValue::String(value.into()),
            Value::Text(_) => return None,
        };
        Some(TypedParam { field: name.into(), value })
    };
    figures.into_iter().filter_map(param).collect()
}

/// The convention of older calls: asked with no room, they tell how much is needed; else as many as there is room for.
pub(super) fn two_step(mut figures: Vec<Figure>, room: i32, flags: u32) -> (Vec<TypedParam>, i32) {
    if room == 0 {
        return (Vec::new(), i32::try_from(figures.len()).unwrap_or(i32::MAX));
    }
    figures.truncate(usize::try_from(room).unwrap_or(0));
    (to_wire(figures, flags & STRINGS != 0), 0)
}

/// A parameter's type (`virTypedParameterType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Uint,
    Llong,
    Ullong,
    Boolean,
    String,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Llong => "llong",
            Self::Ullong => "ullong",
            Self::Boolean => "boolean",
            Self::String => "string",
        }
    }
}

/// Parameters that somebody sets: each known, of its type, and there once (`virTypedParamsValidate`).
pub(super) fn settings(params: Vec<TypedParam>, known: &[(&str, Kind)]) -> Result<Settings, Fault> {
    let mut settings = Settings::new();
    for TypedParam { field, value } in params {
        let name = field.to_string_lossy().into_owned();
        let Some((_, kind)) = known.iter().find(|(known, _)| *known == name) else {
            let text = format!("parameter '{name}' not supported");
            return Err(Fault::new(Code::ArgumentUnsupported, Origin::None, text));
        };
        if settings.iter().any(|(known, _)| *known == name) {
            let text = format!("parameter '{name}' occurs multiple times");
            return Err(Fault::new(Code::InvalidArg, Origin::None, text));
        }
        let setting = match (value, kind) {
            (TypedParamValue::Int(value), Kind::Int) => Setting::Signed(i64::from(value)),
            (TypedParamValue::Uint(value), Kind::Uint) => Setting::Unsigned(u64::from(value)),
            (TypedParamValue::Llong(value), Kind::Llong) => Setting::Signed(value),
            (TypedParamValue::Ullong(value), Kind::Ullong) => Setting::Unsigned(value),
            (TypedParamValue::Boolean(value), Kind::Boolean) => Setting::Flag(value != 0),
            (TypedParamValue::String(value), Kind::String) => {
                Setting::Text(value.to_string_lossy().into_owned())
            }
            (value, kind) => {
                let (is, wanted) = (word(&value), kind.word());
                let text = format!("invalid type '{is}' for parameter '{name}', expected '{wanted}'");
                return Err(Fault::new(Code::InvalidArg, Origin::None, text));
            }
        };
        settings.push((name, setting));
    }
    Ok(settings)
}

fn word(value: &TypedParamValue) -> &'static str {
    match value {
        TypedParamValue::Int(_) => "int",
        TypedParamValue::Uint(_) => "uint",
        TypedParamValue::Llong(_) => "llong",
        TypedParamValue::Ullong(_) => "ullong",
        TypedParamValue::Double(_) => "double",
        TypedParamValue::Boolean(_) => "boolean",
        TypedParamValue::String(_) => "string",
    }
}

/// A number that the wire has signed.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
