//! What can be restored of a damaged file.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek};
use std::ops::Range;

use lmgc_container::{BlockInfo, Salvage, Stream, TensorEntry};
use serde::Serialize;

use crate::decompress::Decoders;
use crate::hashes::hash_range;
use crate::streams::StreamMap;
use crate::{CodecId, Error, ModelSource, Progress, Stage};

/// What was restored of a file, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SalvageReport {
    /// Length of the original.
    pub raw_bytes: u64,
    /// Number of blocks that were found.
    pub n_blocks: usize,
    /// How many of them could not be decoded.
    pub n_lost_blocks: usize,
    /// Number of tensors in the original.
    pub n_tensors: usize,
    /// The tensors that are not whole, in file order.
    pub damaged_tensors: Vec<DamagedTensor>,
    /// Lost bytes outside tensors.
    pub lost_skeleton_bytes: u64,
    /// Stretches of the original that were lost, in file order; they are zeros in what was restored.
    pub lost_ranges: Vec<LostRange>,
    /// Whether all is there, and the original's hash says so.
    pub is_whole: bool,
    /// Whether the footer with the hashes is whole. Without it, only the blocks' checksums say that what was restored is right.
    pub has_hashes: bool,
}

/// A tensor that is not whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedTensor {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: String,
    /// Elements along each dimension.
    pub shape: Vec<u64>,
    /// Its first byte in the original.
    pub offset: u64,
    /// Its length in bytes.
    pub raw_bytes: u64,
    /// How many of them were lost.
    pub lost_bytes: u64,
}

/// Bytes of the original that were lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LostRange {
    /// The first one.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
    /// Why.
    pub reason: String,
}

/// Decodes all blocks that are whole into `output`, which is empty and becomes as long as the original: each byte where it
/// belongs, and zeros for what was lost.
///
/// # Errors
/// Where the header is damaged, the model or the reference is missing or another one, or reading or writing fails. Damage behind
/// the header is no error: the report tells of it.
pub fn salvage<R: Read + Seek>(
    input: R,
    output: &mut File,
    models: &dyn ModelSource,
    progress: &dyn Progress,
    stage: Stage,
) -> Result<SalvageReport, Error> {
    let mut source = Salvage::open(input)?;
    let header = source.header().clone();
    let map = StreamMap::new(&header);
    let mut decoders = Decoders::new(&header, models)?;
    set_len(output, header.original_len)?;
    progress.begin(stage, header.original_len);

    let mut gaps = Gaps::default();
    let mut n_lost_blocks = 0;
    let blocks: Vec<BlockInfo> = source.blocks().copied().collect();
    for (n, info) in blocks.iter().enumerate() {
        gaps.skip_to(info.stream, info.stream_offset);
        let decoded = source.payload(n).map_err(Error::from).and_then(|payload| {
            let codec = CodecId::from_number(info.codec)?;
            decoders.prepare(codec, models)?;
            decoders.decode(codec, info, &payload, &header, &map, progress)
        });
        match decoded {
            Ok(bytes) => map.write(output, info.stream, info.stream_offset, &bytes)?,
            Err(error) if error.is_damage() => {
                n_lost_blocks += 1;
                gaps.lose(info, error.to_string());
            }
            Err(error) => return Err(error),
        }
        gaps.pass(info);
    }
    for (stream, len) in stream_lens(&map) {
        gaps.skip_to(stream, len);
    }
    progress.end();

    let mut report = SalvageReport {
        raw_bytes: header.original_len,
        n_blocks: blocks.len(),
        n_lost_blocks,
        n_tensors: header.tensors.len(),
        has_hashes: source.hashes().is_some(),
        ..SalvageReport::default()
    };
    let lost_of = report.take_gaps(&gaps, &map, header.tensors.len());
    let hashes = source.hashes();
    for (i, (tensor, mut lost_bytes)) in header.tensors.iter().zip(lost_of).enumerate() {
        let hash = hashes.and_then(|hashes| hashes.tensors.get(i).copied().flatten());
        if let (0, Some(hash)) = (lost_bytes, hash)
            && hash_range(output, tensor.offset, tensor.len)? != hash
        {
            lost_bytes = tensor.len;
            blank(output, tensor, &mut report)?;
        }
        if lost_bytes > 0 {
            report.damaged_tensors.push(DamagedTensor {
                name: tensor.name.clone(),
                dtype: tensor.dtype.clone(),
                shape: tensor.shape.clone(),
                offset: tensor.offset,
                raw_bytes: tensor.len,
                lost_bytes,
            });
        }
    }
    report.lost_ranges.sort_by_key(|range| range.offset);
    report.is_whole = report.lost_ranges.is_empty()
        && hashes
            .is_some_and(|hashes| hash_range(output, 0, header.original_len).is_ok_and(|hash| hash == hashes.original));
    Ok(report)
}

/// Makes the output as long as the original, with zeros. Longer than files can be, the original was not.
fn set_len(output: &File, len: u64) -> Result<(), Error> {
    output.set_len(len).map_err(|error| match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::FileTooLarge => {
            Error::corrupt_block(format!("the header claims an original of {len} bytes: {error}"))
        }
        _ => Error::Io(error),
    })
}

/// Takes back a tensor whose blocks were decoded to something else than it was.
fn blank(output: &mut File, tensor: &TensorEntry, report: &mut SalvageReport) -> Result<(), Error> {
    use std::io::{SeekFrom, copy, repeat};
    output.seek(SeekFrom::Start(tensor.offset))?;
    copy(&mut repeat(0).take(tensor.len), output)?;
    report.lost_ranges.push(LostRange {
        offset: tensor.offset,
        bytes: tensor.len,
        reason: "the decoded bytes do not have the tensor's hash".to_owned(),
    });
    Ok(())
}

/// Both streams and their lengths.
fn stream_lens(map: &StreamMap) -> [(Stream, u64); 2] {
    [Stream::Skeleton, Stream::Data].map(|stream| (stream, map.stream_len(stream)))
}

/// What is missing of the streams, as blocks come by.
#[derive(Default)]
struct Gaps {
    /// Where each stream goes on: skeleton, data.
    next: [u64; 2],
    lost: Vec<(Stream, Range<u64>, String)>,
}

impl Gaps {
    fn next(&mut self, stream: Stream) -> &mut u64 {
        &mut self.next[usize::from(stream.id())]
    }

    /// Notes what lies before the next block.
    fn skip_to(&mut self, stream: Stream, offset: u64) {
        let next = *self.next(stream);
        if offset > next {
            self.lost.push((stream, next..offset, "its block was not found in the file".to_owned()));
            *self.next(stream) = offset;
        }
    }

    fn lose(&mut self, block: &BlockInfo, reason: String) {
        self.lost.push((block.stream, block.stream_offset..block.stream_offset + block.raw_len, reason));
    }

    fn pass(&mut self, block: &BlockInfo) {
        *self.next(block.stream) = block.stream_offset + block.raw_len;
    }
}

impl SalvageReport {
    /// Sorts what is missing by tensors; returns the number of bytes that each lacks.
    fn take_gaps(&mut self, gaps: &Gaps, map: &StreamMap, n_tensors: usize) -> Vec<u64> {
        let mut lost_of = vec![0; n_tensors];
        for (stream, range, reason) in &gaps.lost {
            for run in map.slice(*stream, range.start, range.end - range.start) {
                match run.tensor.and_then(|i| lost_of.get_mut(i)) {
                    Some(lost) => *lost += run.len,
                    None => self.lost_skeleton_bytes += run.len,
                }
                self.lost_ranges.push(LostRange { offset: run.file_offset, bytes: run.len, reason: reason.clone() });
            }
        }
        lost_of
    }
}
