use std::fmt::Write;

use hickory_proto::op::Query;
use proptest::prelude::*;

use super::*;
use crate::netd::setup::DnsHost;

const GUEST: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

/// One guest at 10.0.0.7.
struct One;

impl Holders for One {
    fn address_of(&self, mac: MacAddr) -> Option<Ipv4Addr> {
        (mac == GUEST).then_some(Ipv4Addr::new(10, 0, 0, 7))
    }

    fn holder(&self, ip: Ipv4Addr) -> Option<MacAddr> {
        (ip == Ipv4Addr::new(10, 0, 0, 7)).then_some(GUEST)
    }
}

fn rules() -> DnsRules {
    DnsRules {
        clients: vec![(IpAddr::from([10, 0, 0, 1]), 24)],
        domain: Some("lab.test".into()),
        forward_plain_names: true,
        hosts: vec![DnsHost { ip: "fd00::9".parse().unwrap(), names: vec!["six".into()] }],
        ..DnsRules::default()
    }
}

fn names(rules: &DnsRules) -> Names {
    let mut names = Names::new(rules, &[]);
    names.vouch(GUEST, &["web1".into()]);
    names
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn decided(rules: &DnsRules, client: [u8; 4], name: &str, kind: RecordType) -> String {
    let bytes = query(name, kind).to_vec().unwrap();
    match decide(&bytes, client.into(), rules, &names(rules), &One) {
        Decision::Ignore => "ignored".into(),
        Decision::Forward(_) => "asked outside".into(),
        Decision::Answer(answer) => {
            let data: Vec<String> = answer.answers.iter().map(|record| record.data.to_string()).collect();
            format!("{:?} {}", answer.metadata.response_code, data.join(" ")).trim_end().to_owned()
        }
    }
}

#[test]
fn who_asks_what_and_is_told_what() {
    use RecordType::{A, AAAA, AXFR, MX, PTR};
    let open = rules();
    let closed = DnsRules { local_only: true, forward_plain_names: false, ..rules() };
    let (guest, host, stranger) = ([10, 0, 0, 9], [10, 0, 0, 1], [192, 0, 2, 9]);
    let cases = [
        (guest, "web1.", A),
        (guest, "WEB1.Lab.Test.", A),
        (guest, "web1.lab.test.", AAAA),
        (guest, "web1.", MX),
        (guest, "six.", AAAA),
        (guest, "7.0.0.10.in-addr.arpa.", PTR),
        (guest, "8.0.0.10.in-addr.arpa.", PTR),
        (guest, "8.2.0.192.in-addr.arpa.", PTR),
        (guest, "nobody.lab.test.", A),
        (host, "nobody.lab.test.", A),
        (guest, "lab.test.", A),
        (guest, "plain.", A),
        (host, "plain.", A),
        (guest, "www.example.org.", A),
        (host, "www.example.org.", A),
        (guest, "lab.test.", AXFR),
        (stranger, "web1.", A),
    ];
    let mut table = String::new();
    for (client, name, kind) in cases {
        let client_ip = IpAddr::from(client).to_string();
        let (one, two) = (decided(&open, client, name, kind), decided(&closed, client, name, kind));
        let kind = kind.to_string();
        writeln!(table, "{client_ip:10} {kind:5} {name:24} {one:24} {two}").unwrap();
    }
    expect_test::expect![[r"
        10.0.0.9   A     web1.                    NoError 10.0.0.7         NoError 10.0.0.7
        10.0.0.9   A     WEB1.Lab.Test.           NoError 10.0.0.7         NoError 10.0.0.7
        10.0.0.9   AAAA  web1.lab.test.           NoError                  NoError
        10.0.0.9   MX    web1.                    NoError                  NoError
        10.0.0.9   AAAA  six.                     NoError fd00::9          NoError fd00::9
        10.0.0.9   PTR   7.0.0.10.in-addr.arpa.   NoError web1.lab.test.   NoError web1.lab.test.
        10.0.0.9   PTR   8.0.0.10.in-addr.arpa.   NXDomain                 NXDomain
        10.0.0.9   PTR   8.2.0.192.in-addr.arpa.  asked outside            asked outside
        10.0.0.9   A     nobody.lab.test.         asked outside            NXDomain
        10.0.0.1   A     nobody.lab.test.         NXDomain                 NXDomain
        10.0.0.9   A     lab.test.                asked outside            NoError
        10.0.0.9   A     plain.                   asked outside            NXDomain
        10.0.0.1   A     plain.                   NXDomain                 NXDomain
        10.0.0.9   A     www.example.org.         asked outside            asked outside
        10.0.0.1   A     www.example.org.         asked outside            asked outside
        10.0.0.9   AXFR  lab.test.                Refused                  Refused
        192.0.2.9  A     web1.                    ignored                  ignored
    "]]
    .assert_eq(&table);
}

#[test]
fn an_answer_too_long_for_a_datagram_says_so() {
    let mut answer = blank(&query("many.", RecordType::A), ResponseCode::NoError);
    for last in 0..100 {
        let data = RData::A(Ipv4Addr::new(10, 0, 0, last).into());
        answer.add_answer(Record::from_rdata(Name::from_ascii("many.").unwrap(), 5, data));
    }
    let short = Message::from_vec(&fit(&answer, 512).unwrap()).unwrap();
    assert!(short.metadata.truncation && short.answers.is_empty() && short.queries.len() == 1);
    assert_eq!(Message::from_vec(&fit(&answer, 4096).unwrap()).unwrap().answers.len(), 100);
}

#[test]
fn what_is_no_query_is_refused_or_ignored() {
    let (rules, guest) = (rules(), IpAddr::from([10, 0, 0, 9]));
    let code =
        |message: &Message| match decide(&message.to_vec().unwrap(), guest, &rules, &names(&rules), &One) {
            Decision::Answer(answer) => Some(answer.metadata.response_code),
            Decision::Forward(_) | Decision::Ignore => None,
        };
    let good = query("web1.", RecordType::A);
    let mut response = good.clone();
    response.metadata.message_type = MessageType::Response;
    assert_eq!(code(&response), None, "two servers must not talk to each other for ever");
    let mut update = good.clone();
    update.metadata.op_code = OpCode::Update;
    assert_eq!(code(&update), Some(ResponseCode::NotImp));
    let mut two = good.clone();
    two.add_query(good.queries[0].clone());
    assert_eq!(code(&two), Some(ResponseCode::FormErr));
    let mut chaos = good;
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(code(&chaos), Some(ResponseCode::Refused));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        fuzz(&bytes);
    }

    #[test]
    fn any_question_is_survived(mut body in proptest::collection::vec(any::<u8>(), 0..100), counts in any::<[u8; 4]>()) {
        let mut bytes = vec![0, 1, 1, 0, 0, 1, 0, counts[0] % 3, 0, counts[1] % 3, 0, counts[2] % 3];
        bytes.append(&mut body);
        fuzz(&bytes);
    }
}
