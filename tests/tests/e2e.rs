//! The whole product, driven as a user drives it: the real daemon, the real command line, real QEMU.

mod e2e {
    mod booted_clones;
    mod clones;
    mod disk_contents;
    mod disk_model;
    mod disks;
    mod encrypted;
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
    mod sysprep;
    mod tpm;
    mod transient;
    mod verbs;
    /// Those that take the host for themselves (`turn_alone`). Tests go in the order of their names, so these come last and
    /// together: each that came amid the others would wait for those that run, and let nobody begin meanwhile.
    mod whole_host {
        mod bad_input;
        mod crash;
        mod documents;
        mod first_run;
        mod strangers;
        mod take_down;
    }
}
