//! Storage documents: libvirtd's texts, and what is told of bad ones.

use expect_test::expect;
use lodge_model::Bytes;
use lodge_model::storage::{Pool, Volume};
use lodge_model::xml::WriteOptions;

/// What `virsh pool-dumpxml --inactive` prints after a define.
const POOL: &str = "\
<pool type='dir'>
  <name>p2</name>
  <uuid>6d0f7a10-3c5e-4f5c-9d2a-0000000002f2</uuid>
  <capacity unit='bytes'>0</capacity>
  <allocation unit='bytes'>0</allocation>
  <available unit='bytes'>0</available>
  <source>
  </source>
  <target>
    <path>/srv/p2</path>
    <permissions>
      <mode>0711</mode>
      <owner>0</owner>
      <group>0</group>
    </permissions>
  </target>
</pool>
";

/// What `virsh vol-dumpxml` prints of an overlay.
const VOLUME: &str = "\
<volume type='file'>
  <name>top.qcow2</name>
  <key>/images/top.qcow2</key>
  <capacity unit='bytes'>1048576</capacity>
  <allocation unit='bytes'>200704</allocation>
  <physical unit='bytes'>196616</physical>
  <target>
    <path>/images/top.qcow2</path>
    <format type='qcow2'/>
    <permissions>
      <mode>0644</mode>
      <owner>0</owner>
      <group>0</group>
    </permissions>
    <timestamps>
      <atime>1795186302.593786968</atime>
      <mtime>1795185750.673765774</mtime>
      <ctime>1795185800.027293315</ctime>
      <btime>0</btime>
    </timestamps>
    <compat>1.1</compat>
    <clusterSize unit='B'>65536</clusterSize>
    <features/>
  </target>
  <backingStore>
    <path>/images/base.raw</path>
    <format type='raw'/>
  </backingStore>
</volume>
";

#[test]
fn a_defined_pool_reads_as_libvirts() {
    let given = "<pool type='dir'><name>p2</name><uuid>6d0f7a10-3c5e-4f5c-9d2a-0000000002f2</uuid><capacity unit='GiB'>1</capacity><source/><target><path>/srv/p2</path><permissions><mode>0711</mode><owner>0</owner><group>0</group></permissions></target></pool>";
    let mut pool = Pool::parse(given).expect("it is valid");
    pool.complete();
    pool.check().expect("it does not contradict itself");
    assert_eq!(pool.to_xml(&WriteOptions::STORED), POOL);
    assert_eq!(pool.path(), Some("/srv/p2"));
}

#[test]
fn a_volumes_text_is_read_and_written_as_it_is() {
    let volume = Volume::parse(VOLUME).expect("it is valid");
    assert_eq!(volume.to_xml(&WriteOptions::default()), VOLUME);
    assert_eq!(volume.format(), "qcow2");
    let small = Volume::parse("<volume><name>v</name><capacity unit='G'>10</capacity></volume>")
        .expect("it is valid");
    assert_eq!(small.capacity.map(|amount| amount.0), Some(Bytes::from_gib(10)));
    assert_eq!(small.format(), "raw");
}

#[test]
fn faults_of_storage_are_named() {
    let faults = |text| {
        Pool::parse(text).and_then(|pool| pool.check()).expect_err("it has faults").locate(text).to_string()
    };
    expect!["line 1, column 18: /pool/name: name `a/b` has a `/`; line 1, column 34: /pool/target: element <path> is missing; line 1, column 55: /pool/target/permissions/mode: `9` is no octal mode, as 0711"].assert_eq(&faults(
        "<pool type='dir'><name>a/b</name><target><permissions><mode>9</mode></permissions></target></pool>",
    ));
    expect!["line 1, column 7: /pool/@type: `tape` is not known here (known: dir, fs, netfs, logical, disk, iscsi, iscsi-direct, scsi, mpath, rbd, sheepdog, gluster, zfs, vstorage)"].assert_eq(&faults("<pool type='tape'/>"));
    let volume = Volume::parse("<volume/>").and_then(|volume| volume.check()).expect_err("it has faults");
    expect!["/volume: element <name> is missing or empty; /volume: element <capacity> is missing"]
        .assert_eq(&volume.to_string());
}
