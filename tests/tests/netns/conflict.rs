//! What stands in the way is named, and nothing is left half-made.

use super::serve::{document, started};
use super::space::{in_space, run};
use lodge_model::Kind;
use lodge_network::{NetworkError, Networks};

async fn refused(networks: &Networks, xml: &str) -> NetworkError {
    match networks.define(xml).await {
        Ok(view) => networks.start(view.id).await.unwrap_err(),
        Err(error) => error,
    }
}

#[test]
fn a_taken_bridge_or_subnet_is_said_to_be_whose() {
    in_space(|space| async move {
        run("ip", &["link", "add", "lt0", "type", "bridge"]);
        run("ip", &["link", "add", "lan0", "type", "bridge"]);
        run("ip", &["address", "add", "10.9.2.7/16", "dev", "lan0"]);
        run("ip", &["link", "set", "lan0", "up"]);
        let networks = space.open().await;
        let before = space.trace();

        let error = refused(&networks, &document("a", "lt0", 1)).await;
        assert_eq!(error.kind(), Kind::Conflict);
        assert_eq!(
            error.to_string(),
            "interface `lt0` is already there: it belongs to something else on this host"
        );
        assert!(error.hint().unwrap().contains("ip -d address show lt0"));

        let error = refused(&networks, &document("b", "lt1", 2)).await;
        assert!(
            error
                .to_string()
                .starts_with("subnet 10.9.2.0/24 is already there: it belongs to interface `lan0`"),
            "{error}"
        );
        assert_eq!(space.trace(), before, "nothing was made");
    });
}

#[test]
fn our_own_networks_do_not_share_a_bridge_or_a_subnet() {
    in_space(|space| async move {
        let networks = space.open().await;
        let first = started(&networks, "first", "lt0", 1).await;
        let error = refused(&networks, &document("second", "lt0", 2)).await;
        assert_eq!(error.to_string(), "the bridge `lt0` is already used by network `first`");
        let error = refused(&networks, &document("third", "lt3", 1)).await;
        assert_eq!(error.to_string(), "the subnet 10.9.1.0/24 is already used by network `first`");
        let error = networks
            .define(
                &document("first", "lt0", 1)
                    .replace("<forward", "<uuid>55ab064f-62f8-49d3-8d25-8ef36a524344</uuid><forward"),
            )
            .await;
        assert_eq!(error.unwrap_err().kind(), Kind::Exists, "the name is taken");
        networks.stop(first).await.unwrap();
    });
}

#[test]
fn another_roots_network_is_recognised() {
    in_space(|space| async move {
        let networks = space.open().await;
        let first = started(&networks, "lab", "lt0", 1).await;
        let dir = tempfile::tempdir().unwrap();
        let root = lodge_store::Root::at(dir.path()).unwrap();
        root.prepare().unwrap();
        let other = super::space::Space { dir, root };
        let others = other.open().await;
        let error = refused(&others, &document("lab", "lt0", 1)).await;
        let owner = format!("another Lodge daemon (root tag {}, network {first})", space.root.tag());
        assert!(error.to_string().ends_with(&owner), "{error}");
        networks.stop(first).await.unwrap();
    });
}

#[test]
fn a_start_that_fails_late_leaves_nothing() {
    in_space(|space| async move {
        // Another server on port 53 of every address: known only once the bridge is there.
        let _greedy = std::net::UdpSocket::bind("0.0.0.0:53").unwrap();
        let networks = space.open().await;
        let before = space.trace();
        let error = refused(&networks, &document("lab", "lt0", 1)).await;
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.to_string().starts_with("port 53 on 10.9.1.1 is already there"), "{error}");
        assert_eq!(space.trace(), before);
    });
}

#[test]
fn what_is_not_done_is_refused_by_name() {
    in_space(|space| async move {
        let networks = space.open().await;
        let with = |inner: &str| format!("<network><name>n</name>{inner}</network>");
        let cases = [
            ("<forward mode='private'/>", "network `n`: forward mode 'private' is not supported"),
            ("<forward mode='vepa'/>", "network `n`: forward mode 'vepa' is not supported"),
            (
                "<ip address='10.9.1.1' prefix='24'><tftp root='/x'/></ip>",
                "network `n`: TFTP is not supported",
            ),
        ];
        for (inner, message) in cases {
            let error = networks.define(&with(inner)).await.unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Unsupported, message));
        }
        let bad = with(
            "<bridge name='a-name-that-is-too-long'/><ip address='10.9.1.1' prefix='24'><dhcp>\
             <range start='10.9.2.5' end='10.9.1.9'/><host mac='52:54:00:00:00:01' ip='10.9.1.1'/></dhcp></ip>",
        );
        let error = networks.define(&bad).await.unwrap_err().to_string();
        for place in ["/network/bridge/@name", "/network/ip/dhcp/range", "/network/ip/dhcp/host"] {
            assert!(error.contains(place), "{place} in {error}");
        }
        assert!(networks.list().is_empty());
    });
}
