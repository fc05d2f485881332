//! Giving up privileges before hostile bytes are read.
