//! The whole product, driven as a user drives it: the real daemon, the real command line, real QEMU.

mod e2e {
    mod bad_input;
    mod booted_clones;
    mod clones;
    mod crash;
    mod disk_contents;
    mod disk_model;
    mod disks;
    mod encrypted;
    mod first_run;
    mod generation_id;
    mod guest;
    mod guest_disk;
    mod identity;
    mod identity_crash;
    mod image_files;
    mod layouts;
    mod live_clones;
    mod passt;
    mod policies;
    mod screens;
    mod served;
    mod snapshots;
    mod stands;
    mod storage;
    mod strangers;
    mod sysprep;
    mod tpm;
    mod transient;
    mod verbs;
}
