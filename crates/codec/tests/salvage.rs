//! Damaged files: which tensors are hit, and what is restored.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use common::pack;
use lmgc_codec::files::{FileOptions, Place, TensorReport, decompress_tensor, salvage_file, verify_file};
use lmgc_codec::{CodecId, CodecName, CompressOptions, Error, NoModels, NoProgress, SalvageReport, Stage, salvage};
use lmgc_container::{BlockInfo, Header, SeekReader, Stream};
use lmgc_tensors::{Dtype, safetensors};
use lmgc_testkit::gradient_like;

const FILES: FileOptions<'_> = FileOptions { force: true, models: &NoModels, progress: &NoProgress };

/// Tensors that are large enough to have a block each, and two small ones that share one.
fn original() -> Vec<u8> {
    let values: Vec<Vec<u8>> = (0..5).map(|n| gradient_like(n, if n < 3 { 300_000 } else { 4000 })).collect();
    let tensors: Vec<_> = ["a", "b", "c", "d", "e"]
        .iter()
        .zip(&values)
        .map(|(name, values)| ((*name).to_owned(), Dtype::F32, vec![values.len() as u64 / 4], &values[..]))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.safetensors");
    safetensors::write(&path, &tensors, &BTreeMap::new()).unwrap();
    fs::read(path).unwrap()
}

fn packed(original: &[u8], codec: CodecId) -> Vec<u8> {
    pack(original, &CompressOptions { codec: CodecName::One(codec), ..Default::default() }).0
}

fn restore(packed: &[u8]) -> Result<(SalvageReport, Vec<u8>), Error> {
    let mut output = tempfile::tempfile().unwrap();
    let report = salvage(Cursor::new(packed), &mut output, &NoModels, &NoProgress, Stage::Decompress)?;
    let mut restored = Vec::new();
    output.seek(SeekFrom::Start(0)).unwrap();
    output.read_to_end(&mut restored).unwrap();
    Ok((report, restored))
}

fn index(packed: &[u8]) -> (Header, Vec<BlockInfo>) {
    let reader = SeekReader::open(Cursor::new(packed)).unwrap();
    (reader.header().clone(), reader.index().to_vec())
}

/// The original with zeros for what a report calls lost.
fn without_lost(original: &[u8], report: &SalvageReport) -> Vec<u8> {
    let mut expected = original.to_vec();
    for range in &report.lost_ranges {
        expected[range.offset as usize..][..range.bytes as usize].fill(0);
    }
    expected
}

/// Changes what the first block of codec fast decodes to, though its checksum is right.
fn change_plain_bits(packed: &mut [u8]) {
    let (_, blocks) = index(packed);
    let first = blocks.iter().position(|block| block.stream == Stream::Data).unwrap();
    let payload_start = blocks[first + 1].file_offset - blocks[first].payload_len;
    packed[payload_start as usize + 40] ^= 1;
    lmgc_testkit::repair_checksums(packed);
}

fn names(report: &SalvageReport) -> Vec<&str> {
    report.damaged_tensors.iter().map(|tensor| &*tensor.name).collect()
}

#[test]
fn a_whole_file_is_restored_and_called_whole() {
    let original = original();
    for codec in [CodecId::Raw, CodecId::Fast, CodecId::Structural] {
        let (report, restored) = restore(&packed(&original, codec)).unwrap();
        assert!(restored == original && report.is_whole && report.has_hashes, "{codec}: {report:?}");
        assert_eq!((report.n_tensors, report.n_lost_blocks), (5, 0));
    }
    for empty in [&[][..], b"x"] {
        let (report, restored) = restore(&packed(empty, CodecId::Raw)).unwrap();
        assert!(report.is_whole && restored == empty);
    }
}

#[test]
fn damage_to_a_block_is_damage_to_its_tensors_alone() {
    let original = original();
    let packed = packed(&original, CodecId::Fast);
    let (header, blocks) = index(&packed);
    let mut hit_names = Vec::new();
    for (n, block) in blocks.iter().enumerate() {
        let payload_end = blocks.get(n + 1).map_or(block.file_offset + 40 + block.payload_len, |next| next.file_offset);
        let mut damaged = packed.clone();
        damaged[payload_end as usize - 30] ^= 0x10;
        let (report, restored) = restore(&damaged).unwrap();
        assert!(!report.is_whole && report.has_hashes && report.n_lost_blocks == 1, "{report:?}");
        assert_eq!(restored, without_lost(&original, &report));
        let lost: u64 = report.lost_ranges.iter().map(|range| range.bytes).sum();
        assert_eq!(lost, block.raw_len);
        assert_eq!(report.lost_skeleton_bytes > 0, block.stream == Stream::Skeleton);
        for tensor in &report.damaged_tensors {
            assert_eq!((tensor.lost_bytes, tensor.dtype.as_str()), (tensor.raw_bytes, "F32"));
        }
        hit_names.extend(report.damaged_tensors.into_iter().map(|tensor| tensor.name));
    }
    hit_names.sort();
    let mut all: Vec<String> = header.tensors.iter().map(|tensor| tensor.name.clone()).collect();
    all.sort();
    assert_eq!(hit_names, all, "each tensor is hit once");
}

#[test]
fn a_truncated_file_gives_back_what_lies_before_its_end() {
    let original = original();
    let packed = packed(&original, CodecId::Fast);
    let (_, blocks) = index(&packed);
    for n in 0..blocks.len() {
        let (report, restored) = restore(&packed[..blocks[n].file_offset as usize + 10]).unwrap();
        assert_eq!(report.n_blocks, n);
        assert!(!report.is_whole && !report.has_hashes);
        assert_eq!(restored, without_lost(&original, &report));
        let lost: u64 = report.lost_ranges.iter().map(|range| range.bytes).sum();
        assert_eq!(lost, blocks[n..].iter().map(|block| block.raw_len).sum::<u64>());
    }
    // All blocks are there, but not the hashes that could tell.
    let (report, restored) = restore(&packed[..packed.len() - 1]).unwrap();
    assert!(restored == original && !report.is_whole && report.lost_ranges.is_empty());
}

#[test]
fn a_payload_that_decodes_to_something_else_is_told_by_the_hash() {
    let original = original();
    let mut packed = packed(&original, CodecId::Fast);
    change_plain_bits(&mut packed);
    let (report, restored) = restore(&packed).unwrap();
    assert_eq!((report.damaged_tensors.len(), report.n_lost_blocks), (1, 0));
    assert!(report.has_hashes && !report.is_whole);
    assert_eq!(restored, without_lost(&original, &report));
}

#[test]
fn files_without_their_header_are_lost() {
    let mut packed = packed(&original(), CodecId::Fast);
    packed[20] ^= 1;
    assert!(restore(&packed).unwrap_err().is_damage());
}

fn place(directory: &Path, name: &str) -> Place {
    Place::File(directory.join(name))
}

#[test]
fn verify_says_which_tensors_are_hit_and_salvage_restores_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let original = original();
    let mut packed = packed(&original, CodecId::Fast);
    let (header, blocks) = index(&packed);
    let block = blocks.iter().find(|block| block.stream == Stream::Data).unwrap();
    packed[block.file_offset as usize + 100] ^= 1;
    let path = directory.path().join("x.lmgc");
    fs::write(&path, &packed).unwrap();

    let first = &header.tensors[0].name;
    match verify_file(&Place::File(path.clone()), &FILES) {
        Err(Error::Damaged { source, damage }) => {
            assert!(matches!(*source, Error::Container(_)), "{source}");
            assert_eq!(names(&damage), [first]);
        }
        other => panic!("{other:?}"),
    }
    let report = salvage_file(&Place::File(path), &place(directory.path(), "x"), &FILES).unwrap();
    assert_eq!(names(&report), [first]);
    assert_eq!(fs::read(directory.path().join("x")).unwrap(), without_lost(&original, &report));
}

#[test]
fn one_tensor_costs_its_blocks_and_the_index() {
    let directory = tempfile::tempdir().unwrap();
    let original = original();
    let packed = packed(&original, CodecId::Fast);
    fs::write(directory.path().join("x.lmgc"), &packed).unwrap();
    let (header, blocks) = index(&packed);
    for tensor in &header.tensors {
        let output = place(directory.path(), "tensor");
        let TensorReport { raw_bytes, read_bytes } =
            decompress_tensor(&place(directory.path(), "x.lmgc"), &tensor.name, &output, &FILES).unwrap();
        let bytes = fs::read(directory.path().join("tensor")).unwrap();
        assert!(bytes == original[tensor.offset as usize..][..tensor.len as usize]);
        assert_eq!(raw_bytes, tensor.len);
        let largest = blocks.iter().map(|block| block.payload_len).max().unwrap();
        assert!(read_bytes < largest + 20_000, "{} takes {read_bytes} of {}", tensor.name, packed.len());
    }
}

#[test]
fn a_tensor_alone_is_compared_with_its_hash() {
    let directory = tempfile::tempdir().unwrap();
    let mut packed = packed(&original(), CodecId::Fast);
    let (header, _) = index(&packed);
    change_plain_bits(&mut packed);
    fs::write(directory.path().join("x.lmgc"), &packed).unwrap();
    let tensor = |name: &str| {
        let (input, output) = (place(directory.path(), "x.lmgc"), place(directory.path(), "out"));
        decompress_tensor(&input, name, &output, &FILES)
    };
    let hit = &header.tensors[0].name;
    assert!(matches!(tensor(hit), Err(Error::TensorHashMismatch { name }) if name == *hit));
    assert!(!directory.path().join("out").exists());
    tensor(&header.tensors[1].name).unwrap();
}
