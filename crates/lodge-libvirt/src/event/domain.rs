//! What libvirt tells of a domain's events: which message, and libvirt's numbers for QEMU's words.

use lodge_engine::verb::{GraphicsAddress, GraphicsEvent, TunableValue};
use lodge_engine::{DomainEvent, Engine, EventKind};
use lodge_wire::Text;
use lodge_wire::remote::{self, TypedParam, TypedParamValue};

use super::{Class, Subject, Told};
use crate::remote::job_params;

/// `VIR_DOMAIN_EVENT_ID_*`
mod id {
    pub const LIFECYCLE: i32 = 0;
    pub const REBOOT: i32 = 1;
    pub const RTC_CHANGE: i32 = 2;
    pub const WATCHDOG: i32 = 3;
    pub const IO_ERROR: i32 = 4;
    pub const GRAPHICS: i32 = 5;
    pub const IO_ERROR_REASON: i32 = 6;
    pub const CONTROL_ERROR: i32 = 7;
    pub const BLOCK_JOB: i32 = 8;
    pub const DISK_CHANGE: i32 = 9;
    pub const TRAY_CHANGE: i32 = 10;
    pub const PMWAKEUP: i32 = 11;
    pub const PMSUSPEND: i32 = 12;
    pub const BALLOON_CHANGE: i32 = 13;
    pub const PMSUSPEND_DISK: i32 = 14;
    pub const DEVICE_REMOVED: i32 = 15;
    pub const BLOCK_JOB_2: i32 = 16;
    pub const TUNABLE: i32 = 17;
    pub const AGENT_LIFECYCLE: i32 = 18;
    pub const DEVICE_ADDED: i32 = 19;
    pub const MIGRATION_ITERATION: i32 = 20;
    pub const JOB_COMPLETED: i32 = 21;
    pub const DEVICE_REMOVAL_FAILED: i32 = 22;
    pub const METADATA_CHANGE: i32 = 23;
    pub const BLOCK_THRESHOLD: i32 = 24;
    pub const MEMORY_FAILURE: i32 = 25;
    pub const MEMORY_DEVICE_SIZE_CHANGE: i32 = 26;
}

/// One message of an event's number. `$inner` is the old message that the new one carries.
macro_rules! told {
    ($told:ident, $id:ident, $message:ident { $($field:ident $(: $value:expr)?),* $(,)? }) => {
        $told.put(id::$id, &remote::$message { callback_id: 0, $($field $(: $value)?),* })
    };
}

/// The same for an event that clients without callbacks' numbers know too: the inner message alone is theirs.
macro_rules! told_both {
    ($told:ident, $id:ident, $message:ident { $($field:ident $(: $value:expr)?),* $(,)? }, $msg:expr) => {
        let msg = $msg;
        let old = Told::message(&msg);
        told!($told, $id, $message { $($field $(: $value)?,)* msg });
        if let Some(last) = $told.told.last_mut() {
            last.old = old;
        }
    };
}

/// The messages under way for one event.
struct Messages {
    subject: Subject,
    told: Vec<Told>,
}

impl Messages {
    fn put<M: lodge_wire::Event>(&mut self, id: i32, message: &M) {
        self.told.extend(Told::new(Class::Domain, id, self.subject.clone(), message));
    }
}

/// The place of `word` in `words`: libvirt's number of QEMU's word.
fn number(words: &[&str], word: &str) -> i32 {
    let at = words.iter().position(|known| *known == word);
    at.and_then(|at| i32::try_from(at).ok()).unwrap_or(0)
}

/// `virDomainEventWatchdogAction`
const WATCHDOG: [&str; 7] = ["none", "pause", "reset", "poweroff", "shutdown", "debug", "inject-nmi"];
/// `virDomainEventIOErrorAction`
const IO_ERROR: [&str; 3] = ["ignore", "stop", "report"];
/// `virDomainMemoryFailureRecipientType`
const RECIPIENT: [&str; 2] = ["hypervisor", "guest"];
/// `virDomainMemoryFailureActionType`
const FAILURE: [&str; 4] = ["ignore", "inject", "fatal", "reset"];
/// `virDomainEventGraphicsAddressType`
const FAMILY: [&str; 3] = ["ipv4", "ipv6", "unix"];

/// The messages that say what `event` says.
#[expect(clippy::too_many_lines, reason = "one arm per event, each a line or two")]
pub(crate) fn messages(_engine: &Engine, event: &DomainEvent) -> Vec<Told> {
    let uuid = *event.domain.0.as_bytes();
    let mut told = Messages { subject: Subject::Uuid(uuid), told: Vec::new() };
    let id = event.domid.and_then(|id| i32::try_from(id).ok()).unwrap_or(-1);
    let dom = remote::Domain { name: (&*event.name).into(), uuid, id };
    let text = |text: &str| Text::from(text);
    match &event.kind {
        EventKind::Lifecycle(lifecycle, detail) => {
            let (event, detail) = (i32::from(*lifecycle as u8), i32::from(*detail));
            told_both!(
                told,
                LIFECYCLE,
                DomainEventCallbackLifecycleMsg {},
                remote::DomainEventLifecycleMsg { dom, event, detail }
            );
        }
        EventKind::Reboot => {
            told_both!(told, REBOOT, DomainEventCallbackRebootMsg {}, remote::DomainEventRebootMsg { dom });
        }
        EventKind::RtcChange { offset_s } => {
            told_both!(
                told,
                RTC_CHANGE,
                DomainEventCallbackRtcChangeMsg {},
                remote::DomainEventRtcChangeMsg { dom, offset: *offset_s }
            );
        }
        EventKind::Watchdog { action } => {
            told_both!(
                told,
                WATCHDOG,
                DomainEventCallbackWatchdogMsg {},
                remote::DomainEventWatchdogMsg { dom, action: number(&WATCHDOG, action) }
            );
        }
        EventKind::IoError { disk, action, reason } => {
            let (src_path, dev_alias) = (text(&disk.path), text(&disk.alias));
            let action = number(&IO_ERROR, action);
            told_both!(
                told,
                IO_ERROR,
                DomainEventCallbackIoErrorMsg {},
                remote::DomainEventIoErrorMsg {
                    dom: dom.clone(),
                    src_path: src_path.clone(),
                    dev_alias: dev_alias.clone(),
                    action,
                }
            );
            // libvirt has a word for one reason only.
            let reason = text(if reason == "enospc" { "enospc" } else { "" });
            told_both!(
                told,
                IO_ERROR_REASON,
                DomainEventCallbackIoErrorReasonMsg {},
                remote::DomainEventIoErrorReasonMsg { dom, src_path, dev_alias, action, reason }
            );
        }
        EventKind::Graphics(event) => {
            told_both!(told, GRAPHICS, DomainEventCallbackGraphicsMsg {}, graphics(dom, event));
        }
        // Nobody can be told more of a monitor that does not answer.
        EventKind::Responding { responding: false } => {
            told_both!(
                told,
                CONTROL_ERROR,
                DomainEventCallbackControlErrorMsg {},
                remote::DomainEventControlErrorMsg { dom }
            );
        }
        EventKind::DiskChange { old, new, device, reason } => {
            told_both!(
                told,
                DISK_CHANGE,
                DomainEventCallbackDiskChangeMsg {},
                remote::DomainEventDiskChangeMsg {
                    dom,
                    old_src_path: old.as_deref().map(text),
                    new_src_path: new.as_deref().map(text),
                    dev_alias: text(device),
                    reason: reason.cast_signed(),
                }
            );
        }
        EventKind::TrayChange { device, open } => {
            let msg =
                remote::DomainEventTrayChangeMsg { dom, dev_alias: text(device), reason: i32::from(!open) };
            told!(told, TRAY_CHANGE, DomainEventCallbackTrayChangeMsg { msg });
        }
        EventKind::PmWakeup => {
            told_both!(
                told,
                PMWAKEUP,
                DomainEventCallbackPmwakeupMsg { reason: 0 },
                remote::DomainEventPmwakeupMsg { dom }
            );
        }
        EventKind::PmSuspend => {
            told_both!(
                told,
                PMSUSPEND,
                DomainEventCallbackPmsuspendMsg { reason: 0 },
                remote::DomainEventPmsuspendMsg { dom }
            );
        }
        EventKind::PmSuspendDisk => {
            told_both!(
                told,
                PMSUSPEND_DISK,
                DomainEventCallbackPmsuspendDiskMsg { reason: 0 },
                remote::DomainEventPmsuspendDiskMsg { dom }
            );
        }
        EventKind::BalloonChange { actual_kib } => {
            told_both!(
                told,
                BALLOON_CHANGE,
                DomainEventCallbackBalloonChangeMsg {},
                remote::DomainEventBalloonChangeMsg { dom, actual: *actual_kib }
            );
        }
        EventKind::DeviceRemoved { device } => {
            told_both!(
                told,
                DEVICE_REMOVED,
                DomainEventCallbackDeviceRemovedMsg {},
                remote::DomainEventDeviceRemovedMsg { dom, dev_alias: text(device) }
            );
        }
        EventKind::DeviceAdded { device } => {
            told!(told, DEVICE_ADDED, DomainEventCallbackDeviceAddedMsg { dom, dev_alias: text(device) });
        }
        EventKind::DeviceRemovalFailed { device } => {
            let dev_alias = text(device);
            told!(told, DEVICE_REMOVAL_FAILED, DomainEventCallbackDeviceRemovalFailedMsg { dom, dev_alias });
        }
        EventKind::Tunable { params } => {
            let params = params.iter().map(tunable).collect();
            told!(told, TUNABLE, DomainEventCallbackTunableMsg { dom, params });
        }
        EventKind::Agent { connected, at_start } => {
            let (state, reason) = (if *connected { 1 } else { 2 }, if *at_start { 1 } else { 2 });
            told!(told, AGENT_LIFECYCLE, DomainEventCallbackAgentLifecycleMsg { dom, state, reason });
        }
        EventKind::MigrationIteration { pass } => {
            let iteration = pass.cast_signed();
            told!(told, MIGRATION_ITERATION, DomainEventCallbackMigrationIterationMsg { dom, iteration });
        }
        EventKind::JobCompleted(stats) => {
            let params = job_params(stats);
            told!(told, JOB_COMPLETED, DomainEventCallbackJobCompletedMsg { dom, params });
        }
        EventKind::MetadataChange { kind, uri } => {
            let (r#type, nsuri) = (i32::from(*kind as u8), uri.as_deref().map(text));
            told!(told, METADATA_CHANGE, DomainEventCallbackMetadataChangeMsg { dom, r#type, nsuri });
        }
        EventKind::BlockJob { disk, path, kind, status, error: _ } => {
            let (r#type, status) = (i32::from(*kind as u8), i32::from(*status as u8));
            let msg = remote::DomainEventBlockJobMsg { dom: dom.clone(), path: text(path), r#type, status };
            told_both!(told, BLOCK_JOB, DomainEventCallbackBlockJobMsg {}, msg);
            told!(told, BLOCK_JOB_2, DomainEventBlockJob2Msg { dom, dst: text(disk), r#type, status });
        }
        EventKind::BlockThreshold { dev, path, threshold, excess } => {
            let (dev, path) = (text(dev), path.as_deref().map(text));
            let (threshold, excess) = (*threshold, *excess);
            told!(told, BLOCK_THRESHOLD, DomainEventBlockThresholdMsg { dom, dev, path, threshold, excess });
        }
        EventKind::MemoryFailure { recipient, action, action_required, recursive } => {
            let (recipient, action) = (number(&RECIPIENT, recipient), number(&FAILURE, action));
            let flags = u32::from(*action_required) | u32::from(*recursive) << 1;
            told!(told, MEMORY_FAILURE, DomainEventMemoryFailureMsg { dom, recipient, action, flags });
        }
        EventKind::MemoryDeviceSizeChange { device, size_kib } => {
            let (alias, size) = (text(device), *size_kib);
            told!(told, MEMORY_DEVICE_SIZE_CHANGE, DomainEventMemoryDeviceSizeChangeMsg { dom, alias, size });
        }
        // Lodge's own: libvirt has no word for them.
        EventKind::Responding { responding: true }
        | EventKind::Room { .. }
        | EventKind::Autostart { .. }
        | EventKind::InvalidEdit { .. } => {}
    }
    told.told
}

fn graphics(dom: remote::Domain, event: &GraphicsEvent) -> remote::DomainEventGraphicsMsg {
    let address = |address: &GraphicsAddress| remote::DomainEventGraphicsAddress {
        family: number(&FAMILY, &address.family),
        node: address.node.as_str().into(),
        service: address.service.as_str().into(),
    };
    let subject = event.subject.iter().map(|(kind, name)| remote::DomainEventGraphicsIdentity {
        r#type: kind.as_str().into(),
        name: name.as_str().into(),
    });
    remote::DomainEventGraphicsMsg {
        dom,
        phase: i32::from(event.phase as u8),
        local: address(&event.local),
        remote: address(&event.remote),
        auth_scheme: event.auth_scheme.as_str().into(),
        subject: subject.collect(),
    }
}

fn tunable((field, value): &(String, TunableValue)) -> TypedParam {
    let value = match value {
        TunableValue::Number(number) => TypedParamValue::Ullong(*number),
        TunableValue::Signed(number) => TypedParamValue::Llong(*number),
        TunableValue::Text(text) => TypedParamValue::String(text.as_str().into()),
    };
    TypedParam { field: field.as_str().into(), value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qemus_words_have_libvirts_numbers() {
        assert_eq!(number(&IO_ERROR, "report"), 2);
        assert_eq!(number(&WATCHDOG, "inject-nmi"), 6);
        assert_eq!(number(&FAMILY, "unix"), 2);
        assert_eq!(number(&FAILURE, "of a later QEMU"), 0);
    }
}
