//! Pools, volumes and image formats.
