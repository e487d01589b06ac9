//! `.lmgc` files without their codecs.

use std::io::Cursor;

use lmgc_container::{BlockInfo, Error, Hashes, Header, Reader, Salvage, SeekReader, Writer};

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
    hashes: Hashes,
}

/// Both readers accept the same, and what they accept can be written again; what is left of other files is found.
fn check(data: &[u8]) {
    let (read, sought, salvaged) = (read(data), seek(data), salvage(data));
    for error in [&read, &sought].into_iter().filter_map(|result| result.as_ref().err()) {
        assert!(error.is_bad_input(), "{error}");
    }
    match (read, sought) {
        (Ok(read), Ok(sought)) => {
            assert_eq!(read, sought);
            assert_eq!(salvaged.expect("a whole file"), read.blocks);
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
    Ok(Content { header: reader.header().clone(), blocks, hashes: trailer.hashes.clone() })
}

fn seek(data: &[u8]) -> Result<Content, Error> {
    let mut reader = SeekReader::open(Cursor::new(data))?;
    let mut blocks = Vec::new();
    for block in reader.index().to_vec() {
        blocks.push((block, reader.read_block(&block)?));
    }
    Ok(Content { header: reader.header().clone(), blocks, hashes: reader.hashes().clone() })
}

/// The blocks that can be read.
fn salvage(data: &[u8]) -> Result<Vec<(BlockInfo, Vec<u8>)>, Error> {
    let mut salvage = Salvage::open(Cursor::new(data))?;
    let blocks: Vec<BlockInfo> = salvage.blocks().copied().collect();
    Ok(blocks.into_iter().enumerate().filter_map(|(n, info)| Some((info, salvage.payload(n).ok()?))).collect())
}

/// The same content comes back, though perhaps from other bytes: strings have two forms, and unknown records are left out.
fn rewrite(content: &Content) {
    let mut writer = Writer::new(Vec::new(), &content.header).expect("a header that was read");
    for (info, payload) in &content.blocks {
        writer
            .write_block(info.stream, info.codec, info.raw_len, info.n_lanes, payload)
            .expect("a block that was read");
    }
    // Files may lack the hashes of tensors; writers may not.
    let tensors = content.hashes.tensors.iter().zip(&content.header.tensors);
    let tensors = tensors.map(|(hash, tensor)| hash.or((tensor.len > 0).then_some([0; 32])));
    let hashes = Hashes { original: content.hashes.original, tensors: tensors.collect() };
    let (file, _) = writer.finish(&hashes).expect("blocks that were read");
    let again = read(&file).expect("what was written");
    assert_eq!((&again.header, &again.hashes), (&content.header, &hashes));
    let without_place =
        |(info, payload): &(BlockInfo, Vec<u8>)| (BlockInfo { file_offset: 0, ..*info }, payload.clone());
    assert!(again.blocks.iter().map(without_place).eq(content.blocks.iter().map(without_place)));
}
