use super::*;

/// RFC 7677, section 3: user "user", password "pencil".
const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

fn users(directory: &tempfile::TempDir) -> Users {
    let users = Users::at(directory.path().join("sasl-users"));
    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    users.set_derived("user", Mechanism::Sha256, "pencil", salt, 4096).unwrap();
    users
}

fn scram(directory: &tempfile::TempDir) -> Scram {
    Scram::new(Mechanism::Sha256, users(directory), Decoy::new().unwrap())
}

#[test]
fn the_example_of_rfc_7677_is_proven() {
    let directory = tempfile::tempdir().unwrap();
    let mut scram = scram(&directory);
    let first = scram.step_with(FIRST.as_bytes(), SERVER_NONCE).unwrap();
    let expected = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    assert_eq!(first, Answer::Continue(expected.to_owned()));
    let last = scram.step_with(FINAL.as_bytes(), "").unwrap();
    let proof = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_owned();
    assert_eq!(last, Answer::Proven { last: proof, user: "user".to_owned() });
    // Nothing more is taken.
    assert!(matches!(scram.step(FINAL.as_bytes()), Err(Refused::Malformed(_))));
}

#[test]
fn a_changed_message_is_refused_whatever_is_changed() {
    let directory = tempfile::tempdir().unwrap();
    for (first, last) in [
        (FIRST.to_owned(), FINAL.replace("p=dH", "p=dX")),
        (FIRST.to_owned(), FINAL.replace("c=biws", "c=eSws")),
        (FIRST.to_owned(), FINAL.replace("r=rO", "r=rX")),
        (FIRST.to_owned(), FINAL.replace(",p=", ",q=")),
        (FIRST.to_owned(), format!("{FINAL}=")),
        (FIRST.replace("n,,", "y,,"), FINAL.to_owned()),
    ] {
        let mut scram = scram(&directory);
        scram.step_with(first.as_bytes(), SERVER_NONCE).unwrap();
        assert!(scram.step_with(last.as_bytes(), "").is_err(), "{first} {last}");
    }
}

#[test]
fn a_first_message_that_cannot_be_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for first in [
        "",
        "n",
        "n,,",
        "n,,n=user",
        "n,,n=,r=x",
        "n,,n=user,r=",
        "n,,m=ext,n=user,r=x",
        "n,,n=us=er,r=x",
        "p=tls-unique,,n=user,r=x",
        "n,a=root,n=user,r=x",
        "n,user,n=user,r=x",
    ] {
        assert!(scram(&directory).step(first.as_bytes()).is_err(), "{first}");
    }
    assert!(scram(&directory).step(&[b'n', b',', b',', 0xff]).is_err());
    assert!(scram(&directory).step(&[b'n'; 5000]).is_err());
}

#[test]
fn an_unknown_name_goes_the_same_way_and_is_refused_like_a_wrong_password() {
    let directory = tempfile::tempdir().unwrap();
    let decoy = Decoy::new().unwrap();
    let salts: Vec<String> = (0..2)
        .map(|_| {
            let mut scram = Scram::new(Mechanism::Sha256, users(&directory), decoy.clone());
            let Answer::Continue(reply) = scram.step_with(b"n,,n=nobody,r=abc", SERVER_NONCE).unwrap() else {
                panic!("proven without a proof");
            };
            let last = format!("c=biws,r=abc{SERVER_NONCE},p={}", BASE64.encode([0; 32]));
            assert!(matches!(scram.step(last.as_bytes()), Err(Refused::Wrong(name)) if name == "nobody"));
            reply
        })
        .collect();
    assert_eq!(salts[0], salts[1]);
}

#[test]
fn names_are_unescaped() {
    assert_eq!(unescape("a=2Cb=3Dc").as_deref(), Some("a,b=c"));
    assert_eq!(unescape("a=2cb"), None);
    assert_eq!(unescape("=").as_deref(), None);
}
