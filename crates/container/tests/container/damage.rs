//! No damage goes unnoticed, and none ends in a panic.

use crate::files::{Contents, read_seeking, read_streaming, small_file};
use lmgc_container::{Error, Limits, MAGIC, Reader, SeekReader};
use proptest::prelude::*;

/// Reads with both readers; both must refuse.
fn refusals(bytes: &[u8]) -> [Error; 2] {
    [read_streaming(bytes), read_seeking(bytes)].map(|result: Result<Contents, Error>| {
        let error = result.expect_err("damage went unnoticed");
        assert!(error.is_bad_input(), "{error:?}");
        assert!(!error.to_string().is_empty());
        error
    })
}

#[test]
fn every_truncation_is_called_one() {
    let whole = small_file();
    for len in 0..whole.len() {
        for error in refusals(&whole[..len]) {
            assert!(matches!(error, Error::Truncated { needed, got, .. } if got < needed), "{len}: {error:?}");
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let whole = small_file();
    assert!(read_streaming(&whole).is_ok() && read_seeking(&whole).is_ok());
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let [streamed, _] = refusals(&flipped);
        match bit / 8 {
            0..8 => assert!(matches!(streamed, Error::NotLmgc), "{streamed:?}"),
            8..10 => assert!(matches!(streamed, Error::UnsupportedVersion { supported: 1, .. }), "{streamed:?}"),
            _ => {}
        }
    }
}

#[test]
fn appended_bytes_are_noticed() {
    let whole = small_file();
    let len = whole.len() as u64;
    for n_bytes in 1..20 {
        let mut longer = whole.clone();
        longer.resize(whole.len() + n_bytes, 0);
        for error in refusals(&longer) {
            assert!(matches!(error, Error::TrailingBytes { offset } if offset == len), "{error:?}");
        }
    }
    // From the end alone, two files in one look like one with a strange index.
    let twice = [whole.clone(), whole].concat();
    for error in refusals(&twice) {
        assert!(matches!(error, Error::TrailingBytes { offset } if offset == len), "{error:?}");
    }
}

#[test]
fn other_files_are_not_ours() {
    for bytes in [&b"PK\x03\x04 a zip"[..], b"\x93NUMPY", b"{", b"\x8cLMGC\n\x1a\0\0\0"] {
        for error in refusals(bytes) {
            assert!(matches!(error, Error::NotLmgc), "{error:?}");
        }
    }
    // The start of a file of ours, and nothing more.
    for error in refusals(&MAGIC[..5]) {
        assert!(matches!(error, Error::Truncated { what: "magic", needed: 8, got: 5 }), "{error:?}");
    }
}

#[test]
fn limits_hold_before_anything_is_read() {
    let bytes = small_file();
    let mut tight = Limits::default();
    tight.max_header_bytes = 20;
    for result in [
        Reader::with_limits(&bytes[..], tight.clone()).map(drop),
        SeekReader::with_limits(std::io::Cursor::new(&bytes), tight).map(drop),
    ] {
        assert!(matches!(result, Err(Error::LimitExceeded { what: "header", limit: 20, .. })), "{result:?}");
    }
    let mut few = Limits::default();
    few.max_tensors = 2;
    let result = Reader::with_limits(&bytes[..], few).map(drop);
    assert!(matches!(result, Err(Error::LimitExceeded { value: 3, limit: 2, .. })), "{result:?}");

    // A header that claims 16 MiB of which nothing is there.
    let mut claim = bytes[..13].to_vec();
    claim.extend([0x80, 0x80, 0x80, 8]);
    for error in refusals(&claim) {
        assert!(matches!(error, Error::Truncated { what: "header", needed: 0x100_0000, got: 0 }), "{error:?}");
    }
    claim[16] = 9;
    for error in refusals(&claim) {
        assert!(matches!(error, Error::LimitExceeded { what: "header", .. }), "{error:?}");
    }
}

#[test]
fn damage_to_one_block_leaves_the_others_readable() {
    let whole = small_file();
    let mut reader = SeekReader::open(std::io::Cursor::new(whole.clone())).unwrap();
    let index = reader.index().to_vec();
    let payloads: Vec<_> = index.iter().map(|block| reader.read_block(block).unwrap()).collect();
    let mut damaged = whole;
    // In the second block's payload, which is followed by the third block's section.
    damaged[index[2].file_offset as usize - 1] ^= 4;
    let mut reader = SeekReader::open(std::io::Cursor::new(damaged)).unwrap();
    assert_eq!(reader.index(), index);
    assert_eq!(reader.read_block(&index[0]).unwrap(), payloads[0]);
    assert!(matches!(reader.read_block(&index[1]), Err(Error::Corrupt { what: "block payload", .. })));
    assert_eq!(reader.read_block(&index[2]).unwrap(), payloads[2]);
}

#[test]
fn nothing_is_read_after_an_error() {
    let whole = small_file();
    let mut reader = Reader::new(&whole[..whole.len() - 1]).unwrap();
    let error = loop {
        if let Err(error) = reader.next_block() {
            break error;
        }
    };
    assert!(matches!(error, Error::Truncated { what: "trailer", needed: 8, got: 7 }));
    assert!(matches!(reader.next_block(), Err(Error::Misuse { .. })));
    assert!(matches!(reader.trailer(), Err(Error::Misuse { .. })));
}

/// Recomputes the checksum that ends at `end` and covers `start..end - 4`.
fn reseal(bytes: &mut [u8], start: usize, end: usize) {
    let crc = crc32c::crc32c(&bytes[start..end - 4]);
    bytes[end - 4..end].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn reserved_bits_and_critical_records_are_refused() {
    let whole = small_file();
    let index = SeekReader::open(std::io::Cursor::new(&whole)).unwrap().index().to_vec();
    let header_end = index[0].file_offset as usize;

    let mut flagged = whole.clone();
    flagged[11] = 1;
    reseal(&mut flagged, 0, header_end);
    for error in refusals(&flagged) {
        assert!(matches!(error, Error::UnsupportedFeature { what: "file flags", value: 256, offset: 10 }), "{error:?}");
    }

    let mut flagged = whole.clone();
    let block_body = header_end + 2;
    let block_end = block_body + usize::from(whole[header_end + 1]) + 4;
    flagged[block_body + 2] = 0x80;
    reseal(&mut flagged, header_end, block_end);
    let error = read_streaming(&flagged).unwrap_err();
    assert!(matches!(error, Error::UnsupportedFeature { what: "block flags", value: 0x80, .. }), "{error:?}");
    assert!(read_seeking(&flagged).unwrap_err().is_bad_input());

    // A record at the end of the header: with an even tag ignored, with an odd one not.
    for (tag, is_read) in [(2, true), (3, false)] {
        let mut extended = whole[..12].to_vec();
        let body = &whole[14..header_end - 4];
        assert_eq!(whole[12..14], [b'H', body.len() as u8]);
        extended.extend([b'H', body.len() as u8 + 4]);
        extended.extend(body);
        extended.extend([tag, 2, 0xaa, 0xbb]);
        extended.extend([0; 4]);
        let end = extended.len();
        reseal(&mut extended, 0, end);
        extended.extend(&whole[header_end..]);
        for result in [read_streaming(&extended), read_seeking(&extended)] {
            match result {
                Ok(contents) if is_read => assert_eq!(contents.header, read_streaming(&whole).unwrap().header),
                Err(Error::UnsupportedFeature { what: "record", value: 3, .. }) if !is_read => {}
                other => panic!("{tag}: {other:?}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Several changes at once, with the checksums of header and footer recomputed so that the parsers behind them are
    /// reached: an error or a file, never a panic.
    #[test]
    fn resealed_mutations_end_cleanly(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let whole = small_file();
        let index = SeekReader::open(std::io::Cursor::new(&whole)).unwrap().index().to_vec();
        let header_end = index[0].file_offset as usize;
        let footer_len = u32::from_le_bytes(*whole[..whole.len() - 4].last_chunk().unwrap()) as usize;
        let footer_end = whole.len() - 8;

        let mut changed = whole.clone();
        for (place, byte) in &changes {
            changed[place.index(whole.len())] = *byte;
        }
        reseal(&mut changed, 0, header_end);
        reseal(&mut changed, footer_end - footer_len, footer_end);
        for block in &index {
            let start = block.file_offset as usize;
            let end = start + 2 + usize::from(whole[start + 1]) + 4;
            reseal(&mut changed, start, end);
        }
        for result in [read_streaming(&changed), read_seeking(&changed)] {
            if let Err(error) = result {
                prop_assert!(error.is_bad_input(), "{:?}", error);
            }
        }
    }
}
