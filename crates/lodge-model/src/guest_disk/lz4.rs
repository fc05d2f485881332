//! lz4 as `lz4 -l` writes it and the kernel's unpacker of an initramfs reads it (`lib/decompress_unlz4.c`): a mark, then
//! chunks to the end of the file, each after its size. A further mark between chunks says nothing, so what was packed
//! elsewhere stands behind it as it is.
//!
//! Only stored here, never made smaller: what is added to an initramfs is a few KiB. Blocks are lz4's (`lz4_Block_format.md`).

/// What it begins with.
pub const LZ4_MARK: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
/// What a chunk unpacks to at most; the kernel has this much room for one.
pub const LZ4_CHUNK_BYTES: usize = 8 << 20;

/// Bytes as such a file.
pub fn stored_as_lz4(bytes: &[u8]) -> Vec<u8> {
    let mut packed = LZ4_MARK.to_vec();
    for chunk in bytes.chunks(LZ4_CHUNK_BYTES) {
        let block = literals(chunk);
        let size = u32::try_from(block.len()).expect("a chunk has a few bytes more than it unpacks to");
        packed.extend_from_slice(&size.to_le_bytes());
        packed.extend_from_slice(&block);
    }
    packed
}

/// A block of one sequence, which has literals alone.
fn literals(bytes: &[u8]) -> Vec<u8> {
    let mut block = Vec::with_capacity(bytes.len() + bytes.len() / 255 + 2);
    let nibble = u8::try_from(bytes.len()).unwrap_or(15).min(15);
    block.push(nibble << 4);
    if let Some(mut more) = bytes.len().checked_sub(15) {
        while more >= 255 {
            block.push(255);
            more -= 255;
        }
        block.push(u8::try_from(more).unwrap_or_default());
    }
    block.extend_from_slice(bytes);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_the_format_has_them() {
        assert_eq!(stored_as_lz4(b"abc"), b"\x02\x21\x4c\x18\x04\0\0\0\x30abc");
        for (length, head) in [
            (14, &[0xe0][..]),
            (15, &[0xf0, 0]),
            (16, &[0xf0, 1]),
            (269, &[0xf0, 254]),
            (270, &[0xf0, 255, 0]),
            (526, &[0xf0, 255, 255, 1]),
        ] {
            let block = literals(&vec![b'x'; length]);
            assert!(block.starts_with(head) && block.len() == head.len() + length, "{length}");
        }
        // Two chunks, each with its size.
        let packed = stored_as_lz4(&vec![0; LZ4_CHUNK_BYTES + 1]);
        assert!(packed.ends_with(&[2, 0, 0, 0, 0x10, 0]));
    }
}
