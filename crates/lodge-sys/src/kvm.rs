//! KVM proven by running timed guest code, never by looking at the device node.
