//! Tap devices.
