//! Documents with the text that libvirtd 11.3 has of them after `virsh define`.

use lodge_model::domain::{Domain, Platform};
use lodge_model::xml::WriteOptions;

#[test]
fn dump() {
    let text = include_str!("../corpus/rhel8.0.in.xml");
    let mut domain = Domain::parse(text).unwrap();
    domain.complete(&Platform::default()).unwrap();
    let out = domain.to_xml(&WriteOptions { inactive: true, ..Default::default() });
    println!("{out}");
    println!("{:?}", domain.unsupported());
    assert_eq!(Domain::parse(&out).unwrap(), domain);
}
