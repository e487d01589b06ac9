//! The fuzz target of this crate (`fuzz/`) in small.

use crate::files::{hashes, write};
use lmgc_container::{Header, Reader, Stream, TensorEntry, Writer};
use lmgc_testkit::{fuzz_seeds, require_fuzz_seed, run_fuzz_target};

#[path = "../../../../fuzz/src/container.rs"]
#[expect(unreachable_pub, reason = "there it is a library's module")]
mod targets;

/// One F32 tensor of 12 bytes in a file of 30; of two blocks each stream.
fn several_blocks() -> Vec<u8> {
    let tensor = TensorEntry { name: "a".to_owned(), dtype: "F32".to_owned(), shape: vec![3], offset: 10, len: 12 };
    let header = Header {
        settings: [("codec".to_owned(), "zstd".to_owned())].into(),
        file_format: "safetensors".to_owned(),
        original_len: 30,
        tensors: vec![tensor],
        model: None,
    };
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    for (stream, raw_len) in [(Stream::Skeleton, 4), (Stream::Skeleton, 8), (Stream::Data, 9), (Stream::Data, 3)] {
        writer.write_block(stream, 0, raw_len, 0, &[1; 9][..raw_len as usize]).unwrap();
    }
    writer.write_block(Stream::Skeleton, 1, 6, 2, b"packed").unwrap();
    writer.finish(&hashes(&header, [7; 32])).unwrap().0
}

/// No tensor, no block.
fn empty() -> Vec<u8> {
    let header = Header {
        settings: Default::default(),
        file_format: "raw".to_owned(),
        original_len: 0,
        tensors: Vec::new(),
        model: None,
    };
    write(&header, &[], [0; 32])
}

#[test]
fn mutated_seeds_are_files_or_errors() {
    require_fuzz_seed("container", "several_blocks", &several_blocks());
    require_fuzz_seed("container", "empty", &empty());
    run_fuzz_target("container", targets::container, &fuzz_seeds("lmgc_file"), 2000);
}

#[test]
fn seeds_are_files() {
    for (name, seed) in fuzz_seeds("container") {
        let mut reader = Reader::new(seed.as_slice()).unwrap();
        while reader.next_block().unwrap_or_else(|error| panic!("{name}: {error}")).is_some() {}
    }
}
