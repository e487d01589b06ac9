//! What is written is read back, by both readers, and only well-formed files can be written.

use std::io::Cursor;

use crate::files::{Block, hashes, header, read_seeking, read_streaming, spans, write};
use lmgc_container::{Error, Header, ModelRecord, Reader, SeekReader, Stream, StreamLayout, TensorEntry, Writer};
use proptest::prelude::*;

/// A header for any file, tensors included.
fn any_header() -> impl Strategy<Value = Header> {
    let tensor = ("\\PC{0,20}", "F32|BF16|U8|\\PC{0,9}", prop::collection::vec(any::<u64>(), 0..4), 0u64..99, 0u64..99);
    let model = ("[a-z0-9-]{0,20}", any::<[u8; 32]>(), any::<u32>(), any::<u32>(), any::<u32>());
    (
        prop::collection::btree_map("format|mask|\\PC{0,9}", "hex-space|none|\\PC{0,9}", 0..6),
        "raw|npz|\\PC{0,9}",
        prop::collection::vec(tensor, 0..6),
        0u64..99,
        prop::option::of(model),
    )
        .prop_map(|(settings, file_format, tensors, tail, model)| {
            let mut end = 0;
            let tensors: Vec<_> = tensors
                .into_iter()
                .map(|(name, dtype, shape, gap, len)| {
                    let offset = end + gap;
                    end = offset + len;
                    TensorEntry { name, dtype, shape, offset, len }
                })
                .collect();
            let model = model.map(|(name, fingerprint, numerics_revision, vocab_size, start_token)| ModelRecord {
                name,
                fingerprint,
                numerics_revision,
                vocab_size,
                start_token,
            });
            Header { settings, file_format, original_len: end + tail, tensors, model }
        })
}

/// Cuts both streams into blocks of at most `max_raw_len` bytes, in the order that the format asks for.
fn cut(header: &Header, max_raw_len: u64) -> Vec<Block> {
    let layout = StreamLayout::new(header).unwrap();
    let mut blocks = Vec::new();
    for stream in [Stream::Skeleton, Stream::Data] {
        let len = layout.len_bytes(stream);
        for start in (0..len).step_by(max_raw_len as usize) {
            let raw_len = max_raw_len.min(len - start);
            let place = layout.original_offset(stream, start).unwrap();
            let payload = vec![place as u8; (start % 7) as usize];
            blocks.push((place, Block { stream, codec: 3, raw_len, n_lanes: start as u16, payload }));
        }
    }
    blocks.sort_by_key(|&(place, _)| place);
    blocks.into_iter().map(|(_, block)| block).collect()
}

proptest! {
    #[test]
    fn any_file_comes_back(header in any_header(), max_raw_len in 1u64..200, hash: [u8; 32]) {
        let blocks = cut(&header, max_raw_len);
        let bytes = write(&header, &blocks, hash);

        let streamed = read_streaming(&bytes).unwrap();
        let sought = read_seeking(&bytes).unwrap();
        prop_assert_eq!(&streamed.header, &header);
        prop_assert_eq!(&streamed.hashes, &hashes(&header, hash));
        prop_assert_eq!(&streamed, &sought);

        prop_assert_eq!(streamed.blocks.len(), blocks.len());
        for ((info, payload), block) in streamed.blocks.iter().zip(&blocks) {
            prop_assert_eq!(info.stream, block.stream);
            prop_assert_eq!(info.codec, block.codec);
            prop_assert_eq!(info.raw_len, block.raw_len);
            prop_assert_eq!(info.n_lanes, block.n_lanes);
            prop_assert_eq!(payload, &block.payload);
        }
    }

    #[test]
    fn any_bytes_end_in_a_clean_error(bytes: Vec<u8>) {
        prop_assert!(read_streaming(&bytes).unwrap_err().is_bad_input());
        prop_assert!(read_seeking(&bytes).unwrap_err().is_bad_input());
    }
}

#[test]
fn an_empty_file_has_no_blocks() {
    let empty = header(0, &[]);
    let bytes = write(&empty, &[], [7; 32]);
    let read = read_streaming(&bytes).unwrap();
    assert_eq!(read.header, empty);
    assert!(read.blocks.is_empty());
    assert_eq!(read, read_seeking(&bytes).unwrap());
}

#[test]
fn blocks_can_be_read_in_any_order() {
    let header = header(300, &[(10, 200)]);
    let blocks = cut(&header, 50);
    let mut reader = SeekReader::open(Cursor::new(write(&header, &blocks, [0; 32]))).unwrap();
    let index = reader.index().to_vec();
    for at in [3, 0, 5, 3] {
        assert_eq!(reader.read_block(&index[at]).unwrap(), blocks[at].payload);
    }
    let mut other = index[2];
    other.codec ^= 1;
    assert!(matches!(reader.read_block(&other), Err(Error::Corrupt { .. })));
    other = index[2];
    other.file_offset += 1;
    assert!(reader.read_block(&other).unwrap_err().is_bad_input());
    assert_eq!(reader.read_block(&index[2]).unwrap(), blocks[2].payload);
}

#[test]
fn a_large_payload_comes_back() {
    let payload: Vec<u8> = (0..5_000_000u32).map(|i| (i ^ i >> 8) as u8).collect();
    let header = header(4_000_000, &[(0, 4_000_000)]);
    let block = Block { stream: Stream::Data, codec: 255, raw_len: 4_000_000, n_lanes: 65535, payload };
    let bytes = write(&header, std::slice::from_ref(&block), [1; 32]);
    let read = read_streaming(&bytes).unwrap();
    assert_eq!(read.blocks[0].1, block.payload);
    assert_eq!(read, read_seeking(&bytes).unwrap());
}

#[test]
fn misplaced_blocks_are_refused_and_nothing_is_written() {
    let header = header(100, &[(10, 40)]);
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    let misplaced = |result| assert!(matches!(result, Err(Error::MisplacedBlock { .. })), "{result:?}");
    misplaced(writer.write_block(Stream::Skeleton, 0, 0, 0, &[]));
    misplaced(writer.write_block(Stream::Skeleton, 0, 61, 0, &[]));
    writer.write_block(Stream::Skeleton, 0, 30, 0, &[]).unwrap();
    misplaced(writer.write_block(Stream::Data, 0, 41, 0, &[]));
    writer.write_block(Stream::Data, 0, 40, 0, &[]).unwrap();
    misplaced(writer.write_block(Stream::Data, 0, 1, 0, &[]));
    writer.write_block(Stream::Skeleton, 0, 30, 0, &[]).unwrap();
    let (bytes, len) = writer.finish(&hashes(&header, [0; 32])).unwrap();
    assert_eq!(bytes.len() as u64, len);
    assert_eq!(read_streaming(&bytes).unwrap().blocks.len(), 3);

    // Data that starts before a skeleton block's first byte comes first.
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    writer.write_block(Stream::Skeleton, 0, 30, 0, &[]).unwrap();
    misplaced(writer.write_block(Stream::Skeleton, 0, 30, 0, &[]));
    writer.write_block(Stream::Data, 0, 40, 0, &[]).unwrap();
    writer.write_block(Stream::Skeleton, 0, 30, 0, &[]).unwrap();
}

#[test]
fn missing_blocks_are_noticed_at_the_end() {
    let header = header(100, &[(10, 40)]);
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    writer.write_block(Stream::Skeleton, 0, 60, 0, &[]).unwrap();
    writer.write_block(Stream::Data, 0, 39, 0, &[]).unwrap();
    assert!(matches!(
        writer.finish(&hashes(&header, [0; 32])),
        Err(Error::StreamIncomplete { stream: Stream::Data, written: 39, expected: 40 })
    ));
}

#[test]
fn what_no_reader_accepts_is_not_written() {
    assert!(matches!(Writer::new(Vec::new(), &header(10, &[(5, 6)])), Err(Error::InvalidHeader { .. })));

    let mut many = header(10, &[]);
    many.settings = (0..1025).map(|i| (format!("{i}"), String::new())).collect();
    assert!(matches!(Writer::new(Vec::new(), &many), Err(Error::LimitExceeded { value: 1025, limit: 1024, .. })));

    let mut long = header(10, &[]);
    long.file_format = "x".repeat(16 << 20);
    assert!(matches!(Writer::new(Vec::new(), &long), Err(Error::LimitExceeded { .. })));

    let large = header(1 << 40, &[(0, 1 << 40)]);
    let mut writer = Writer::new(Vec::new(), &large).unwrap();
    let limited = |result| assert!(matches!(result, Err(Error::LimitExceeded { .. })), "{result:?}");
    limited(writer.write_block(Stream::Data, 0, (64 << 20) + 1, 0, &[]));
    limited(writer.write_block(Stream::Data, 0, 10, 0, &vec![0; (64 << 10) + 21]));
    writer.write_block(Stream::Data, 0, 64 << 20, 0, &[]).unwrap();
    writer.write_block(Stream::Data, 0, 10, 0, &vec![0; (64 << 10) + 20]).unwrap();
}

#[test]
fn the_trailer_waits_for_the_last_block() {
    let header = header(5, &spans(5));
    let block = Block { stream: Stream::Data, codec: 0, raw_len: 5, n_lanes: 0, payload: vec![1, 2, 3] };
    let bytes = write(&header, &[block], [9; 32]);
    let mut reader = Reader::new(&bytes[..]).unwrap();
    assert!(matches!(reader.trailer(), Err(Error::Misuse { .. })));
    assert!(reader.next_block().unwrap().is_some());
    assert!(matches!(reader.trailer(), Err(Error::Misuse { .. })));
    assert!(reader.next_block().unwrap().is_none());
    assert!(reader.next_block().unwrap().is_none());
    let trailer = reader.trailer().unwrap();
    assert_eq!(trailer.hashes.original, [9; 32]);
    assert_eq!(trailer.file_len, bytes.len() as u64);
}
