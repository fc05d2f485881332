//! Events: who asked for them gets them, in order, once per callback; who went gets none.

use lodge_api::DefineOptions;
use lodge_engine::Caller;
use lodge_wire::packet::Kind;
use lodge_wire::{qemu, remote, xdr};

use crate::raw::{Client, House, house};

fn document(name: &str) -> String {
    format!(
        "<domain type='qemu'><name>{name}</name><memory>65536</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"
    )
}

async fn define(house: &House, name: &str) -> uuid::Uuid {
    let options = DefineOptions::default();
    let engine = house.server.engine();
    engine.define_domain(&Caller::daemon(), document(name), options).await.unwrap().uuid
}

async fn undefine(house: &House, name: &str) {
    let engine = house.server.engine();
    engine.undefine_domain(&Caller::daemon(), name, lodge_api::UndefineOptions::default()).await.unwrap();
}

async fn register(client: &mut Client, event_id: i32, dom: Option<remote::Domain>) -> i32 {
    let args = remote::ConnectDomainEventCallbackRegisterAnyArgs { event_id, dom };
    let reply = client.call(remote::call::ConnectDomainEventCallbackRegisterAny, &args).await;
    reply.value::<remote::ConnectDomainEventCallbackRegisterAnyRet>().callback_id
}

/// The next lifecycle events about `name`: callback, event, detail.
async fn told(client: &mut Client, name: &str, count: usize) -> Vec<(i32, i32, i32)> {
    let mut told = Vec::new();
    while told.len() < count {
        let message = client.receive().await.unwrap();
        assert_eq!((message.header.kind, message.header.serial), (Kind::Message, 0));
        assert_eq!(message.header.procedure, remote::Procedure::DomainEventCallbackLifecycle.number());
        let event: remote::DomainEventCallbackLifecycleMsg = xdr::from_bytes(&message.payload).unwrap();
        if event.msg.dom.name == name {
            told.push((event.callback_id, event.msg.event, event.msg.detail));
        }
    }
    told
}

#[test]
fn lifecycle() {
    let house = house();
    house.run(async {
        let mut client = house.opened().await;
        let first = register(&mut client, 0, None).await;
        let second = register(&mut client, 0, None).await;
        assert_ne!(first, second);
        define(house, "life").await;
        undefine(house, "life").await;
        // Added, then removed, each once for each callback.
        let mut news = told(&mut client, "life", 4).await;
        news[..2].sort_unstable();
        news[2..].sort_unstable();
        assert_eq!(news, [(first, 0, 0), (second, 0, 0), (first, 1, 0), (second, 1, 0)]);
        for id in [first, second] {
            let args = remote::ConnectDomainEventCallbackDeregisterAnyArgs { callback_id: id };
            client.call(remote::call::ConnectDomainEventCallbackDeregisterAny, &args).await.value::<()>();
        }
        // Another client's news shows that the news went out; here the next message is the reply to a call.
        let mut other = house.opened().await;
        register(&mut other, 0, None).await;
        define(house, "later").await;
        told(&mut other, "later", 1).await;
        let header = client.header(remote::PROGRAM, remote::Procedure::ConnectGetLibVersion.number());
        client.send_message(&header, &[]).await.unwrap();
        assert_eq!(
            client.receive().await.unwrap().header.kind,
            Kind::Reply,
            "told of what is no longer asked for"
        );
    });
}

#[test]
fn one_domains_callback_hears_of_that_one_only() {
    let house = house();
    house.run(async {
        let wanted = define(house, "wanted").await;
        let mut client = house.opened().await;
        let dom = remote::Domain { name: "any".into(), uuid: *wanted.as_bytes(), id: -1 };
        let id = register(&mut client, 0, Some(dom)).await;
        define(house, "unwanted").await;
        undefine(house, "unwanted").await;
        undefine(house, "wanted").await;
        let message = client.receive().await.unwrap();
        let event: remote::DomainEventCallbackLifecycleMsg = xdr::from_bytes(&message.payload).unwrap();
        assert_eq!((event.callback_id, event.msg.dom.name.to_string().as_str()), (id, "wanted"));
    });
}

#[test]
fn registering() {
    let house = house();
    house.run(async {
        let mut client = house.opened().await;
        for event_id in 0..28 {
            register(&mut client, event_id, None).await;
        }
        for event_id in [-1, 28, 1000] {
            let args = remote::ConnectDomainEventCallbackRegisterAnyArgs { event_id, dom: None };
            let reply = client.call(remote::call::ConnectDomainEventCallbackRegisterAny, &args).await;
            assert_eq!(reply.refusal(), (1, format!("internal error: unsupported event ID {event_id}")));
        }
        // Another family's number is none of this family's, and another connection's none of this one's.
        let args = remote::ConnectNetworkEventRegisterAnyArgs { event_id: 0, net: None };
        let reply = client.call(remote::call::ConnectNetworkEventRegisterAny, &args).await;
        let callback_id = reply.value::<remote::ConnectNetworkEventRegisterAnyRet>().callback_id;
        let args = remote::ConnectDomainEventCallbackDeregisterAnyArgs { callback_id };
        let reply = client.call(remote::call::ConnectDomainEventCallbackDeregisterAny, &args).await;
        let text = format!("internal error: domain event callback {callback_id} not registered");
        assert_eq!(reply.refusal(), (1, text));
        let args = remote::ConnectNetworkEventDeregisterAnyArgs { callback_id };
        let mut other = house.opened().await;
        assert_eq!(other.call(remote::call::ConnectNetworkEventDeregisterAny, &args).await.refusal().0, 1);
        client.call(remote::call::ConnectNetworkEventDeregisterAny, &args).await.value::<()>();
        assert_eq!(client.call(remote::call::ConnectNetworkEventDeregisterAny, &args).await.refusal().0, 1);
        let args = qemu::ConnectDomainMonitorEventRegisterArgs::default();
        let reply = client.call(qemu::call::ConnectDomainMonitorEventRegister, &args).await;
        let callback_id = reply.value::<qemu::ConnectDomainMonitorEventRegisterRet>().callback_id;
        let args = qemu::ConnectDomainMonitorEventDeregisterArgs { callback_id };
        client.call(qemu::call::ConnectDomainMonitorEventDeregister, &args).await.value::<()>();
    });
}

#[test]
fn registering_as_of_old() {
    let house = house();
    house.run(async {
        let mut client = house.opened().await;
        let ret = client.call(remote::call::ConnectDomainEventRegister, &()).await;
        assert_eq!(ret.value::<remote::ConnectDomainEventRegisterRet>().cb_registered, 1);
        let uuid = define(house, "old").await;
        let message = client.receive().await.unwrap();
        assert_eq!(message.header.procedure, remote::Procedure::DomainEventLifecycle.number());
        let event: remote::DomainEventLifecycleMsg = xdr::from_bytes(&message.payload).unwrap();
        assert_eq!((event.dom.uuid, event.event, event.detail), (*uuid.as_bytes(), 0, 0));
        let ret = client.call(remote::call::ConnectDomainEventDeregister, &()).await;
        assert_eq!(ret.value::<remote::ConnectDomainEventDeregisterRet>().cb_registered, 0);
        let again = client.call(remote::call::ConnectDomainEventDeregister, &()).await;
        assert_eq!(again.refusal(), (1, "internal error: domain event 0 not registered".to_owned()));
        // The same by number, up to the last event that is older than callbacks' numbers.
        for event_id in 0..=15 {
            let args = remote::ConnectDomainEventRegisterAnyArgs { event_id };
            client.call(remote::call::ConnectDomainEventRegisterAny, &args).await.value::<()>();
        }
        let args = remote::ConnectDomainEventRegisterAnyArgs { event_id: 16 };
        let reply = client.call(remote::call::ConnectDomainEventRegisterAny, &args).await;
        assert_eq!(reply.refusal(), (1, "internal error: unsupported event ID 16".to_owned()));
        undefine(house, "old").await;
        let message = client.receive().await.unwrap();
        assert_eq!(message.header.procedure, remote::Procedure::DomainEventLifecycle.number());
        let args = remote::ConnectDomainEventDeregisterAnyArgs { event_id: 15 };
        client.call(remote::call::ConnectDomainEventDeregisterAny, &args).await.value::<()>();
        let again = client.call(remote::call::ConnectDomainEventDeregisterAny, &args).await;
        assert_eq!(again.refusal().1, "internal error: domain event 15 not registered");
    });
}

#[test]
fn nobody_registers_without_end() {
    let house = house();
    house.run(async {
        let mut client = house.opened().await;
        for _ in 0..4096 {
            register(&mut client, 27, None).await;
        }
        let args = remote::ConnectDomainEventCallbackRegisterAnyArgs { event_id: 27, dom: None };
        let reply = client.call(remote::call::ConnectDomainEventCallbackRegisterAny, &args).await;
        assert_eq!(reply.refusal().0, 1);
    });
}
