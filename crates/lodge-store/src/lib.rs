//! Durable things: libvirt's XML files, the SQLite database, the saga log.
