//! Files of a guest, as hostile as they come: no plan panics, and each is proven on the tree it changes.
//! The input: lines `/PATH`, each followed by the file's lines up to the next line that begins with `/`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lodge_identity::{Catalogue, Fresh, HostFacts, Purpose, Wish, verify};
use lodge_model::guest_disk::{Edit, FileNode, FilePath, Files, Layout, Owner};

fn files(data: &[u8]) -> Files {
    let mut files = Files::default();
    let owner = Owner { uid: 0, gid: 0, mode: 0o644 };
    let mut at = FilePath::new("/etc/passwd").ok();
    let mut content: Vec<u8> = Vec::new();
    for line in data.split(|byte| *byte == b'\n') {
        if line.starts_with(b"/") {
            if let Some(path) = at.take() {
                let bytes = std::mem::take(&mut content);
                files.nodes.insert(path, FileNode::File { size: bytes.len() as u64, bytes, owner });
            }
            at = FilePath::new(line).ok();
        } else {
            content.extend_from_slice(line);
            content.push(b'\n');
        }
    }
    if let Some(path) = at {
        files.nodes.insert(path, FileNode::File { size: content.len() as u64, bytes: content, owner });
    }
    files
}

fuzz_target!(|data: &[u8]| {
    let (catalogue, layout, host) = (Catalogue::builtin(), Layout::default(), HostFacts::default());
    let mut files = files(data);
    let before = catalogue.read(&layout, &files, &host);
    let mut wish = Wish::new(Purpose::Clone, Fresh::new([1; 32]));
    wish.host_name = Some("clone".to_owned());
    let Ok(plan) = catalogue.plan(&before, &layout, &files, &wish) else { return };
    for edit in &plan.edits {
        if let Edit::File(edit) = edit {
            files.apply(edit);
        }
    }
    let after = catalogue.read(&layout, &files, &host);
    for verdict in verify(&before, &after, &plan) {
        assert!(verdict.is_good, "{verdict:?}");
    }
});
