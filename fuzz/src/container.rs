//! `.lmgc` files without their codecs.

use std::io::Cursor;

use lmgc_container::{BlockInfo, Error, Header, Reader, SeekReader, Writer};

/// A `.lmgc` file, as it is and with its checksums repaired.
pub fn container(data: &[u8]) {
    check(data);
    let mut repaired = data.to_vec();
    lmgc_testkit::repair_checksums(&mut repaired);
    check(&repaired);
}

/// All that a file says.
#[derive(Debug, PartialEq)]
struct Content {
    header: Header,
    blocks: Vec<(BlockInfo, Vec<u8>)>,
    original_blake3: [u8; 32],
}

/// Both readers accept the same, and what they accept can be written again.
fn check(data: &[u8]) {
    let (read, sought) = (read(data), seek(data));
    for error in [&read, &sought].into_iter().filter_map(|result| result.as_ref().err()) {
        assert!(error.is_bad_input(), "{error}");
    }
    match (read, sought) {
        (Ok(read), Ok(sought)) => {
            assert_eq!(read, sought);
            rewrite(&read);
        }
        (read, sought) => assert_eq!(read.is_ok(), sought.is_ok(), "{:?} {:?}", read.err(), sought.err()),
    }
}

fn read(data: &[u8]) -> Result<Content, Error> {
    let mut reader = Reader::new(data)?;
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block()? {
        blocks.push(block);
    }
    let trailer = reader.trailer().expect("all blocks were read");
    assert_eq!(trailer.file_len, data.len() as u64);
    Ok(Content { header: reader.header().clone(), blocks, original_blake3: trailer.original_blake3 })
}

fn seek(data: &[u8]) -> Result<Content, Error> {
    let mut reader = SeekReader::open(Cursor::new(data))?;
    let mut blocks = Vec::new();
    for block in reader.index().to_vec() {
        blocks.push((block, reader.read_block(&block)?));
    }
    Ok(Content { header: reader.header().clone(), blocks, original_blake3: reader.original_blake3() })
}

/// The same content comes back, though perhaps from other bytes: strings have two forms, and unknown records are left out.
fn rewrite(content: &Content) {
    let mut writer = Writer::new(Vec::new(), &content.header).expect("a header that was read");
    for (info, payload) in &content.blocks {
        writer
            .write_block(info.stream, info.codec, info.raw_len, info.n_lanes, payload)
            .expect("a block that was read");
    }
    let (file, _) = writer.finish(content.original_blake3).expect("blocks that were read");
    let again = read(&file).expect("what was written");
    assert_eq!((&again.header, again.original_blake3), (&content.header, content.original_blake3));
    let without_place =
        |(info, payload): &(BlockInfo, Vec<u8>)| (BlockInfo { file_offset: 0, ..*info }, payload.clone());
    assert!(again.blocks.iter().map(without_place).eq(content.blocks.iter().map(without_place)));
}
