//! What the tables and the codec do with bytes: those of real conversations, chance ones, and hostile ones.

use lodge_wire::{
    Call, Facts, Part, Text, When, admin, keepalive, lxc,
    packet::{self, ErrorBody, Header, Kind, Status, StreamHole},
    qemu, remote,
    xdr::{self, Decoder, XdrError},
};
use proptest::prelude::*;

type Recoded = Option<Result<Vec<u8>, XdrError>>;

/// By program and procedure, as a server or a client finds the type.
fn recode(program: u32, procedure: i32, part: Part, payload: &[u8]) -> Recoded {
    match program {
        remote::PROGRAM => remote::Procedure::from_number(procedure)?.recode(part, payload),
        qemu::PROGRAM => qemu::Procedure::from_number(procedure)?.recode(part, payload),
        lxc::PROGRAM => lxc::Procedure::from_number(procedure)?.recode(part, payload),
        admin::PROGRAM => admin::Procedure::from_number(procedure)?.recode(part, payload),
        _ => None,
    }
}

fn rows() -> impl Iterator<Item = &'static Facts> {
    let remote = remote::Procedure::ALL.iter().map(|procedure| procedure.facts());
    let qemu = qemu::Procedure::ALL.iter().map(|procedure| procedure.facts());
    let lxc = lxc::Procedure::ALL.iter().map(|procedure| procedure.facts());
    let admin = admin::Procedure::ALL.iter().map(|procedure| procedure.facts());
    remote.chain(qemu).chain(lxc).chain(admin)
}

fn unhex(text: &str) -> Vec<u8> {
    let nibbles: Vec<u8> =
        text.chars().map(|c| u8::try_from(c.to_digit(16).expect("hex")).expect("4 bits")).collect();
    nibbles.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn a_real_conversation_is_read_and_written_to_the_byte() {
    let (mut payloads, mut errors, mut holes, mut events) = (0, 0, 0, 0);
    for (index, line) in include_str!("conversation.txt").lines().enumerate() {
        let Some((side, hex)) = line.split_once(' ').filter(|(side, _)| *side != "#") else { continue };
        let message = unhex(hex);
        let word = u32::from_be_bytes(message[..4].try_into().unwrap());
        assert_eq!(packet::length(word), Some(message.len() - 4), "line {}", index + 1);
        let mut input = Decoder::new(&message[4..]);
        let header: Header = xdr::Xdr::decode(&mut input).unwrap();
        assert_eq!(xdr::to_bytes(&header).unwrap(), message[4..28]);
        let payload = input.rest();
        let part = match (header.kind, header.status) {
            (Kind::Stream, Status::Continue | Status::Ok) => continue,
            (Kind::StreamHole, _) => {
                holes += 1;
                assert_eq!(xdr::recode::<StreamHole>(payload).unwrap(), payload);
                continue;
            }
            (_, Status::Error) if payload.is_empty() => continue,
            (_, Status::Error) => {
                errors += 1;
                assert_eq!(xdr::recode::<ErrorBody>(payload).unwrap(), payload, "line {}", index + 1);
                continue;
            }
            (Kind::Call, _) => {
                assert_eq!(side, "c");
                Part::Args
            }
            (Kind::Reply, _) => Part::Ret,
            (Kind::Message, _) if header.program == keepalive::PROGRAM => continue,
            (Kind::Message, _) => {
                events += 1;
                Part::Message
            }
            other => panic!("line {}: {other:?}", index + 1),
        };
        let recoded = recode(header.program, header.procedure, part, payload);
        let recoded = recoded.unwrap_or_else(|| panic!("line {}: no such procedure {header:?}", index + 1));
        assert_eq!(recoded.expect("a real payload"), payload, "line {}: {header:?}", index + 1);
        payloads += 1;
    }
    assert!(payloads > 150 && errors > 3 && holes > 0 && events > 5, "{payloads} {errors} {holes} {events}");
}

#[test]
fn the_table_is_whole() {
    let count = |program: u32| rows().filter(|row| row.program == program).count();
    assert_eq!(count(remote::PROGRAM), 453);
    assert_eq!((count(qemu::PROGRAM), count(lxc::PROGRAM), count(admin::PROGRAM)), (7, 1, 20));
    assert_eq!(rows().count() + 2, 483, "with keepalive's two");
    let early: Vec<&str> = rows().filter(|row| row.before_login).map(|row| row.name).collect();
    assert_eq!(early, ["AUTH_LIST", "AUTH_SASL_INIT", "AUTH_SASL_START", "AUTH_SASL_STEP", "AUTH_POLKIT"]);
    assert_eq!(rows().filter(|row| row.stream.is_some()).count(), 8);
}

#[test]
fn looking_is_told_from_changing_by_permission_and_flags() {
    use remote::call;
    let xml = |flags| remote::DomainGetXmlDescArgs { flags, ..Default::default() };
    assert!(call::DomainGetXmlDesc::only_looks(&xml(0)));
    assert!(call::DomainGetXmlDesc::only_looks(&xml(2)), "inactive");
    assert!(!call::DomainGetXmlDesc::only_looks(&xml(1)), "secrets");
    assert!(!call::DomainGetXmlDesc::only_looks(&xml(8)), "migratable");
    assert!(!call::DomainDestroy::only_looks(&remote::DomainDestroyArgs::default()));
    let addresses = |source| remote::DomainInterfaceAddressesArgs { source, ..Default::default() };
    assert!(call::DomainInterfaceAddresses::only_looks(&addresses(0)));
    assert!(!call::DomainInterfaceAddresses::only_looks(&addresses(1)), "asks the agent");
    let facts = call::DomainInterfaceAddresses::FACTS;
    assert!(facts.acl.iter().any(|rule| rule.when == When::Parameter("source", 1)));
}

#[test]
fn length_words_are_judged_before_anything_is_read() {
    assert_eq!(packet::length(0), None);
    assert_eq!(packet::length(27), None);
    assert_eq!(packet::length(28), Some(24));
    assert_eq!(packet::length(33_554_436), Some(33_554_432));
    assert_eq!(packet::length(33_554_437), None);
    assert_eq!(packet::length(u32::MAX), None);
}

#[test]
fn a_false_count_neither_allocates_nor_passes() {
    // 16,384 names are allowed, and announced, and none is there.
    let args = [&16_384_u32.to_be_bytes()[..], &[0; 8]].concat();
    assert!(matches!(
        xdr::from_bytes::<remote::ConnectListDefinedDomainsRet>(&args),
        Err(XdrError::Short { .. })
    ));
    let over = 16_385_u32.to_be_bytes();
    assert_eq!(
        xdr::from_bytes::<remote::ConnectListDefinedDomainsRet>(&over),
        Err(XdrError::TooMany { count: 16_385, max: 16_384 })
    );
    let long = remote::ConnectListDefinedDomainsRet { names: vec![Text::default(); 16_385] };
    assert_eq!(xdr::to_bytes(&long), Err(XdrError::TooMany { count: 16_385, max: 16_384 }));
    let word = (4_194_305_u32).to_be_bytes();
    assert_eq!(xdr::from_bytes::<Text>(&word), Err(XdrError::TooMany { count: 4_194_305, max: 4_194_304 }));
}

#[test]
fn libvirts_dialect() {
    assert_eq!(
        xdr::from_bytes::<Option<u32>>(&[1, 0, 0, 0, 0, 0, 0, 7]),
        Ok(Some(7)),
        "any bit means present"
    );
    assert_eq!(xdr::from_bytes::<Text>(&[0, 0, 0, 3, b'a', 0, b'b', 0]).unwrap(), "a", "cut at NUL");
    assert_eq!(xdr::from_bytes::<u32>(&[0, 0, 0, 7, 9, 9]), Ok(7), "what follows is ignored");
    assert_eq!(xdr::to_bytes(&-1_i8).unwrap(), [0xff; 4]);
    let unknown = [0, 0, 0, 1, b'x', 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0];
    assert_eq!(xdr::from_bytes::<remote::TypedParam>(&unknown), Err(XdrError::NoSuchArm(9)));
    let info = remote::NodeGetInfoRet { model: [b'x'; 32], ..Default::default() };
    assert_eq!(xdr::to_bytes(&info).unwrap().len(), 128 + 8 + 6 * 4, "a character is a word");
}

proptest! {
    #[test]
    fn chance_bytes_are_a_value_or_an_error(
        payload in proptest::collection::vec(prop_oneof![3 => Just(0_u8), 1 => 0_u8..8, 1 => any::<u8>()], 0..400),
    ) {
        for row in rows() {
            for part in [Part::Args, Part::Ret, Part::Message] {
                if let Some(Ok(once)) = recode(row.program, row.number, part, &payload) {
                    // What was read once is read alike again.
                    let twice = recode(row.program, row.number, part, &once).expect("the same procedure");
                    prop_assert_eq!(twice.expect("our own bytes"), once, "{}", row.name);
                }
            }
        }
        let _ = xdr::from_bytes::<Header>(&payload);
        let _ = xdr::from_bytes::<ErrorBody>(&payload);
    }
}
