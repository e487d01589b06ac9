//! What is left of damaged files is found.

use std::io::Cursor;
use std::ops::Range;

use crate::files::{Block, hashes, header, read_streaming, small_file, spans, write};
use lmgc_container::{BlockInfo, Error, Reader, Salvage, SeekReader, Stream, TensorEntry, Writer};

/// A block, and its payload if that is whole.
type Found = (BlockInfo, Option<Vec<u8>>);

/// The blocks that are found, and whether the hashes are there.
fn salvage(bytes: &[u8]) -> Result<(Vec<Found>, bool), Error> {
    let mut salvage = Salvage::open(Cursor::new(bytes))?;
    let infos: Vec<BlockInfo> = salvage.blocks().copied().collect();
    let blocks = infos.into_iter().enumerate().map(|(n, info)| (info, salvage.payload(n).ok())).collect();
    Ok((blocks, salvage.hashes().is_some()))
}

/// The stream, place and payload of each block that can be read.
fn readable(bytes: &[u8]) -> Vec<(Stream, u64, Vec<u8>)> {
    let (blocks, _) = salvage(bytes).unwrap();
    blocks.into_iter().filter_map(|(info, payload)| Some((info.stream, info.stream_offset, payload?))).collect()
}

/// Where the parts of a file lie: each block's section and payload.
fn places(bytes: &[u8]) -> Vec<(Range<usize>, Range<usize>)> {
    let blocks = read_streaming(bytes).unwrap().blocks;
    let ends = blocks.iter().skip(1).map(|(next, _)| next.file_offset as usize);
    let footer_len = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
    let ends = ends.chain([bytes.len() - 8 - footer_len]);
    let place = |((info, payload), end): (&(BlockInfo, Vec<u8>), usize)| {
        let payload_start = end - payload.len();
        (info.file_offset as usize..payload_start, payload_start..end)
    };
    blocks.iter().zip(ends).map(place).collect()
}

#[test]
fn a_flipped_bit_costs_one_block_at_most() {
    let whole = small_file();
    let (all, has_hashes) = salvage(&whole).unwrap();
    assert!(has_hashes && all.iter().all(|(_, payload)| payload.is_some()));
    let places = places(&whole);
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if bit / 8 < places[0].0.start {
            assert!(salvage(&flipped).unwrap_err().is_bad_input());
            continue;
        }
        let expected: Vec<_> = all
            .iter()
            .zip(&places)
            .map(|((info, payload), (_, place))| (*info, payload.clone().filter(|_| !place.contains(&(bit / 8)))))
            .collect();
        let (found, has_hashes) = salvage(&flipped).unwrap();
        assert_eq!(found, expected, "bit {bit}");
        assert_eq!(has_hashes, bit / 8 < places[2].1.end, "bit {bit}");
    }
}

#[test]
fn a_truncated_file_keeps_the_blocks_before_its_end() {
    let whole = small_file();
    let places = places(&whole);
    for len in places[0].0.start..whole.len() {
        let n_whole = places.iter().filter(|(_, payload)| payload.end <= len).count();
        assert_eq!(readable(&whole[..len]).len(), n_whole, "{len}");
    }
}

#[test]
fn missing_and_additional_bytes_cost_the_blocks_that_they_are_in() {
    let whole = small_file();
    let (all, places) = (readable(&whole), places(&whole));
    for at in places[0].0.start..places[2].1.end {
        let hit = |range: &Range<usize>| range.contains(&at);
        let rest: Vec<_> = all
            .iter()
            .zip(&places)
            .filter(|(_, (section, payload))| !hit(section) && !hit(payload))
            .map(|(block, _)| block.clone())
            .collect();
        let shorter = [&whole[..at], &whole[at + 1..]].concat();
        assert_eq!(readable(&shorter), rest, "without byte {at}");
        let longer = [&whole[..at], b"BFB", &whole[at..]].concat();
        let found = readable(&longer);
        assert!(rest.iter().all(|block| found.contains(block)), "more bytes at {at}");
    }
}

#[test]
fn a_file_inside_a_damaged_block_is_not_taken_for_the_file() {
    let inner = write(&header(3, &spans(3)), &[raw(b"abc")], [1; 32]);
    let len = inner.len() as u64;
    let tensors = [(0, 3), (3, len), (3 + len, 3)];
    let blocks = [raw(b"one"), raw(&inner), raw(b"two")];
    let mut outer = write(&header(len + 6, &tensors), &blocks, [2; 32]);
    let inner_at = outer.windows(inner.len()).position(|window| window == inner).unwrap();
    outer[inner_at + inner.len() - 1] ^= 1;
    let end = outer.len() - 1;
    outer[end] ^= 1;
    let expected = vec![(Stream::Data, 0, b"one".to_vec()), (Stream::Data, 3 + len, b"two".to_vec())];
    assert_eq!(readable(&outer), expected);
}

fn raw(bytes: &[u8]) -> Block {
    Block { stream: Stream::Data, codec: 0, raw_len: bytes.len() as u64, n_lanes: 0, payload: bytes.to_vec() }
}

#[test]
fn long_damage_is_passed() {
    let spans: Vec<(u64, u64)> = (0..4).map(|n| (n * 100_000, 100_000)).collect();
    let blocks: Vec<Block> = (0..4).map(|n| raw(&vec![b"BFHB"[n]; 100_000])).collect();
    let whole = write(&header(400_000, &spans), &blocks, [7; 32]);
    let places = places(&whole);
    let mut damaged = whole.clone();
    damaged[places[1].0.start..places[2].0.start + 3].fill(b'B');
    damaged.truncate(whole.len() - 1);
    let found: Vec<u64> = readable(&damaged).into_iter().map(|(_, at, _)| at).collect();
    assert_eq!(found, [0, 300_000]);
}

#[test]
fn every_tensor_with_bytes_needs_its_hash() {
    let header = header(10, &[(0, 4), (4, 0), (4, 6)]);
    let good = hashes(&header, [3; 32]);
    let finish = |hashes: &lmgc_container::Hashes| {
        let mut writer = Writer::new(Vec::new(), &header).unwrap();
        writer.write_block(Stream::Data, 0, 10, 0, &[0; 10]).unwrap();
        writer.finish(hashes).map(|(bytes, _)| bytes)
    };
    let bytes = finish(&good).unwrap();
    assert_eq!(SeekReader::open(Cursor::new(&bytes)).unwrap().hashes(), &good);
    for n in 0..3 {
        let mut bad = good.clone();
        bad.tensors[n] = if n == 1 { Some([0; 32]) } else { None };
        assert!(matches!(finish(&bad), Err(Error::Misuse { .. })));
    }
}

/// A file's bytes with another footer, whose checksum and trailer are right.
fn with_records(bytes: &[u8], records: &[u8]) -> Vec<u8> {
    let footer_len = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
    let footer_start = bytes.len() - 8 - footer_len;
    let hash_end = bytes.windows(32).rposition(|window| window == [0xee; 32]).unwrap() + 32;
    let body_start = footer_start + 1 + if footer_len > 134 { 2 } else { 1 };
    let body = [&bytes[body_start..hash_end], records].concat();
    let mut footer = vec![b'F'];
    lmgc_container::fields::put_varint(&mut footer, body.len() as u64);
    footer.extend_from_slice(&body);
    footer.extend_from_slice(&crc32c::crc32c(&footer).to_le_bytes());
    let trailer = [&(footer.len() as u32).to_le_bytes()[..], b"\x9aEND"].concat();
    [&bytes[..footer_start], &footer, &trailer].concat()
}

#[test]
fn hashes_of_tensors_may_be_missing_but_not_wrong() {
    let tensor = TensorEntry { name: "x".into(), dtype: "U8".into(), shape: vec![4], offset: 0, len: 4 };
    let header = lmgc_container::Header { tensors: vec![tensor], ..header(10, &[]) };
    let skeleton = Block { stream: Stream::Skeleton, ..raw(&[0; 6]) };
    let bytes = write(&header, &[raw(&[1; 4]), skeleton], [0xee; 32]);
    let hash = [1; 32];
    let record = [&[2, 32][..], &hash].concat();
    assert_eq!(with_records(&bytes, &record), bytes);
    let read = |records: &[u8]| {
        let file = with_records(&bytes, records);
        let streamed = read_streaming(&file).map(|contents| contents.hashes.tensors);
        let sought = SeekReader::open(Cursor::new(&file)).map(|reader| reader.hashes().tensors.clone());
        assert_eq!(streamed.as_ref().ok(), sought.as_ref().ok());
        streamed
    };
    assert_eq!(read(&record).unwrap(), [Some(hash)]);
    assert_eq!(read(&[]).unwrap(), [None]);
    assert_eq!(read(&[4, 1, 0]).unwrap(), [None], "an unknown record");
    for bad in [&[2, 31][..], &[2, 33], &[2, 0]] {
        let mut record = bad.to_vec();
        record.resize(2 + usize::from(bad[1]), 9);
        assert!(matches!(read(&record), Err(Error::Corrupt { what: "tensors' hashes", .. })), "{bad:?}");
    }
    assert!(matches!(read(&[&record[..], &record].concat()), Err(Error::Corrupt { .. })));
    assert!(Reader::new(&bytes[..]).is_ok());
}
