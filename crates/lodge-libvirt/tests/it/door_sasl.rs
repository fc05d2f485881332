//! Logging in with name and password: the real client with Cyrus SASL's SCRAM.

use std::path::PathBuf;
use std::process::Command;

use lodge_wire::remote::{self, AuthListRet};
use tokio::net::TcpStream;

use crate::door::{Doorway, Outcome, have, open, run};

/// Whether Cyrus SASL's SCRAM is installed.
fn has_scram() -> bool {
    let found = ["/usr/lib/x86_64-linux-gnu/sasl2", "/usr/lib/aarch64-linux-gnu/sasl2", "/usr/lib64/sasl2"]
        .iter()
        .any(|directory| PathBuf::from(directory).join("libscram.so").exists());
    if !found {
        eprintln!("skipped: Cyrus SASL's SCRAM is not installed");
    }
    found && have(&["virsh"])
}

fn virsh(doorway: &Doorway, uri: &str, user: &str, password: &str) -> Outcome {
    let file = doorway.path().join("auth.conf");
    let text = format!(
        "[credentials-test]\nauthname={user}\npassword={password}\n[auth-libvirt-default]\ncredentials=test\n\
         [auth-libvirt-localhost]\ncredentials=test\n"
    );
    std::fs::write(&file, text).unwrap();
    run(Command::new("virsh").args(["-c", uri, "uri"]).env("LIBVIRT_AUTH_FILE", &file))
}

#[test]
fn the_real_client_logs_in_over_a_unix_socket() {
    if !has_scram() {
        return;
    }
    let doorway = open("auth_unix_rw = 'sasl'\nsasl_allowed_username_list = ['j*']\n", |_, _| {});
    doorway.users.set("joe", "se=cr,et").unwrap();
    doorway.users.set("ann", "other").unwrap();
    let uri = doorway.uri("qemu", "libvirt-sock");
    for mechanism in ["", "&auth=sasl.SCRAM-SHA-1", "&auth=sasl.SCRAM-SHA-256", "&auth=sasl.SCRAM-SHA-512"] {
        virsh(&doorway, &format!("{uri}{mechanism}"), "joe", "se=cr,et").fine();
    }
    let denied = "authentication failed: authentication failed";
    for (user, password) in [("joe", "wrong"), ("nobody", "se=cr,et"), ("ann", "other")] {
        let refused = virsh(&doorway, &uri, user, password).refused();
        assert!(refused.contains(denied), "{user}: {refused}");
    }
    doorway.users.remove("joe").unwrap();
    virsh(&doorway, &uri, "joe", "se=cr,et").refused();
}

#[test]
fn over_plain_tcp_no_mechanism_is_good_enough() {
    let conf =
        "auth_tcp = 'sasl'\nlisten_tls = 0\nlisten_tcp = 1\nlisten_addr = '127.0.0.1'\ntcp_port = '0'\n";
    for in_clear in [false, true] {
        let doorway = open(conf, |opening, _| {
            opening.listen = true;
            opening.sasl_in_clear = in_clear;
        });
        doorway.house.run(async {
            let stream = TcpStream::connect(doorway.doors.tcp()[0]).await.unwrap();
            let mut client = crate::raw::Client::over(stream);
            let list: AuthListRet = client.call(remote::call::AuthList, &()).await.value();
            assert_eq!(list.types, [1]);
            let reply = client.call(remote::call::AuthSaslInit, &()).await;
            if in_clear {
                let mechanisms = reply.value::<remote::AuthSaslInitRet>().mechlist.to_string();
                assert_eq!(mechanisms, "SCRAM-SHA-512,SCRAM-SHA-256,SCRAM-SHA-1");
            } else {
                assert_eq!(reply.refusal(), (45, "authentication failed: authentication failed".to_owned()));
            }
            // A step before the start, polkit where there is none.
            let step = client.call(remote::call::AuthSaslStep, &remote::AuthSaslStepArgs::default()).await;
            assert_eq!(step.refusal().0, 45);
            assert_eq!(client.call(remote::call::AuthPolkit, &()).await.refusal().0, 45);
            let open = remote::ConnectOpenArgs { name: Some("qemu:///system".into()), flags: 0 };
            let refusal = client.call(remote::call::ConnectOpen, &open).await.refusal();
            assert_eq!(refusal, (39, "authentication required".to_owned()));
        });
    }
}
