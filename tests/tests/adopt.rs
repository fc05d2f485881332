//! A host moves from libvirtd to Lodge and back while its guests run: `lodge adopt`.

mod adopt {
    mod back;
    mod house;
    mod kinds;
    mod over;
}
