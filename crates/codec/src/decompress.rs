//! From a `.lmgc` file back to the original, into a file or against one.

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use lmgc_container::{BlockInfo, Hashes, Header, ModelRecord, Reader, SeekReader, Stream, TensorEntry};
use lmgc_model::Kernels;
use lmgc_tensors::Dtype;
use rayon::prelude::*;

use crate::baselines;
use crate::block::MIN_BATCH_BYTES;
use crate::block_output::CODEC_SETTING;
use crate::hashes::hash_file;
use crate::lm::{DEFAULT_MEMORY_BYTES, LanguageModel, LmCodec, LmSettings};
use crate::reference::{self, Reference};
use crate::streams::StreamMap;
use crate::structural::{Ensemble, Structural};
use crate::{BlockCodec, CodecId, EncodedBlock, Error, Level, NoProgress, Place, Progress, Stage};

/// Finds what a file needs beside itself: the language model that it was compressed with, or the earlier file.
pub trait ModelSource {
    /// The model of this record. The caller checks its fingerprint.
    ///
    /// # Errors
    /// Where it cannot be found or loaded.
    fn model(&self, record: &ModelRecord) -> Result<Arc<LanguageModel>, Error>;

    /// The file that a file was compressed against, if it was. The caller checks its hash.
    fn reference(&self) -> Option<&Reference> {
        None
    }

    /// The kernels to run models with; they change the speed and nothing else.
    fn kernels(&self) -> Kernels {
        Kernels::detect()
    }

    /// Budget for keys and values ([`LmCodec::with_memory`]); it changes the speed and nothing else.
    fn memory_bytes(&self) -> u64 {
        DEFAULT_MEMORY_BYTES
    }
}

/// Has no models: for files that need none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoModels;

impl ModelSource for NoModels {
    fn model(&self, _: &ModelRecord) -> Result<Arc<LanguageModel>, Error> {
        Err(Error::ModelRequired)
    }
}

/// What decompressing came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecompressReport {
    /// Length of the original.
    pub raw_bytes: u64,
    /// Length of the `.lmgc` file.
    pub compressed_bytes: u64,
    /// Number of blocks.
    pub n_blocks: usize,
    /// BLAKE3 hashes of the original and its tensors, by the file; the decoded bytes have that of the original.
    pub hashes: Hashes,
}

/// Decompresses a `.lmgc` file into `output`, writing each byte where it belongs. The hash of what was written is then
/// compared with the file's; until this function has returned `Ok`, the output is not to be trusted.
///
/// # Errors
/// Where the file is damaged, needs a model that is not there or another one, or reading or writing fails.
pub fn decompress<R: Read, W: Read + Write + Seek>(
    input: R,
    output: &mut W,
    models: &dyn ModelSource,
    progress: &dyn Progress,
) -> Result<DecompressReport, Error> {
    decompress_with(input, output, models, &Structural::default(), progress)
}

/// As [`decompress`], with a codec that keeps its memory.
pub(crate) fn decompress_with<R: Read, W: Read + Write + Seek>(
    input: R,
    output: &mut W,
    models: &dyn ModelSource,
    structural: &Structural,
    progress: &dyn Progress,
) -> Result<DecompressReport, Error> {
    let mut reader = Reader::new(input)?;
    let decoders = Decoders { structural: structural.clone(), ..Decoders::new(reader.header(), models)? };
    let report = decode_with(&mut reader, decoders, models, progress, Stage::Decompress, |map, info, bytes| {
        map.write(output, info.stream, info.stream_offset, bytes)
    })?;
    output.flush()?;
    check_hash(output, &report)?;
    Ok(report)
}

/// Decodes a `.lmgc` file and compares every byte, and the hash, with the original.
///
/// # Errors
/// [`Error::VerificationFailed`] at the first difference; otherwise as [`decompress`].
pub fn verify_against<R: Read, O: Read + Seek>(
    input: R,
    original: &mut O,
    models: &dyn ModelSource,
    progress: &dyn Progress,
) -> Result<DecompressReport, Error> {
    let mut reader = Reader::new(input)?;
    let decoders = Decoders::new(reader.header(), models)?;
    let report = decode_with(&mut reader, decoders, models, progress, Stage::Verify, |map, info, bytes| {
        let expected = map.read(original, info.stream, info.stream_offset, info.raw_len)?;
        match expected.iter().zip(bytes).position(|(a, b)| a != b) {
            None => Ok(()),
            Some(at) => {
                let run = map.slice(info.stream, info.stream_offset + at as u64, 1).next();
                Err(Error::VerificationFailed { offset: run.map_or(0, |run| run.file_offset) })
            }
        }
    })?;
    check_hash(original, &report)?;
    Ok(report)
}

/// Decodes a `.lmgc` file into `decoded`, which is empty, and compares all hashes.
///
/// # Errors
/// As [`decompress`]; [`Error::TensorHashMismatch`].
pub(crate) fn verify<R: Read, W: Read + Write + Seek>(
    input: R,
    decoded: &mut W,
    models: &dyn ModelSource,
    progress: &dyn Progress,
) -> Result<DecompressReport, Error> {
    let mut reader = Reader::new(input)?;
    let decoders = Decoders::new(reader.header(), models)?;
    let report = decode_with(&mut reader, decoders, models, progress, Stage::Verify, |map, info, bytes| {
        map.write(decoded, info.stream, info.stream_offset, bytes)
    })?;
    check_all_hashes(decoded, &reader.header().tensors, &report)?;
    Ok(report)
}

/// Compares the whole of `decoded`, and each tensor, with the hashes that a file records.
fn check_all_hashes<R: Read + Seek>(
    decoded: &mut R,
    tensors: &[TensorEntry],
    report: &DecompressReport,
) -> Result<(), Error> {
    let found = hash_file(decoded, report.raw_bytes, tensors)?;
    if found.original != report.hashes.original {
        return Err(Error::HashMismatch);
    }
    for ((tensor, found), expected) in tensors.iter().zip(found.tensors).zip(&report.hashes.tensors) {
        if expected.is_some() && found != *expected {
            return Err(Error::TensorHashMismatch { name: tensor.name.clone() });
        }
    }
    Ok(())
}

/// Compares the whole of `decoded` with the hash that a file records.
fn check_hash<R: Read + Seek>(decoded: &mut R, report: &DecompressReport) -> Result<(), Error> {
    decoded.seek(SeekFrom::Start(0))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(decoded)?;
    if *hasher.finalize().as_bytes() != report.hashes.original || hasher.count() != report.raw_bytes {
        return Err(Error::HashMismatch);
    }
    Ok(())
}

fn decode_with<R: Read>(
    reader: &mut Reader<R>,
    mut decoders: Decoders<'_>,
    models: &dyn ModelSource,
    progress: &dyn Progress,
    stage: Stage,
    mut sink: impl FnMut(&StreamMap, &BlockInfo, &[u8]) -> Result<(), Error>,
) -> Result<DecompressReport, Error> {
    let header = reader.header().clone();
    let map = StreamMap::new(&header);
    let raw_bytes = header.original_len;
    progress.begin(stage, raw_bytes);
    let mut n_blocks = 0;
    let mut ended = false;
    while !ended {
        let (mut batch, mut batch_bytes) = (Vec::new(), 0);
        let has_room = |n_blocks: usize, n_bytes: u64, last: Option<CodecId>| {
            let is_parallel = matches!(last, Some(CodecId::Structural | CodecId::Fast));
            n_bytes < MIN_BATCH_BYTES || !is_parallel && n_blocks < rayon::current_num_threads()
        };
        while has_room(batch.len(), batch_bytes, batch.last().map(|(_, codec, _)| *codec)) {
            let Some((info, payload)) = reader.next_block()? else {
                ended = true;
                break;
            };
            let codec = CodecId::from_number(info.codec)?;
            decoders.prepare(codec, models)?;
            batch_bytes += info.raw_len;
            batch.push((info, codec, payload));
            if codec.needs_model() {
                break;
            }
        }
        let decoded: Vec<_> = batch
            .par_iter()
            .map(|(info, codec, payload)| decoders.decode(*codec, info, payload, &header, &map, progress))
            .collect();
        // Of several faults the first one in the file, whichever thread was faster.
        for ((info, ..), bytes) in batch.iter().zip(decoded) {
            sink(&map, info, &bytes?)?;
        }
        n_blocks += batch.len();
    }
    let trailer = reader.trailer()?.clone();
    progress.end();
    Ok(DecompressReport { raw_bytes, compressed_bytes: trailer.file_len, n_blocks, hashes: trailer.hashes })
}

/// Decodes the blocks that hold one tensor and writes the tensor's bytes; returns their number. Of several tensors of one
/// name it is the first.
///
/// # Errors
/// [`Error::NoSuchTensor`]; [`Error::TensorHashMismatch`]; otherwise as [`decompress`].
pub(crate) fn tensor<R: Read + Seek, W: Write>(
    input: R,
    name: &str,
    output: &mut W,
    models: &dyn ModelSource,
) -> Result<u64, Error> {
    let mut reader = SeekReader::open(input)?;
    let header = reader.header().clone();
    let map = StreamMap::new(&header);
    let found = reader.header().tensors.iter().position(|tensor| tensor.name == name);
    let wanted = found.ok_or_else(|| Error::NoSuchTensor { name: name.to_owned() })?;
    let mut decoders = Decoders::new(reader.header(), models)?;
    // An empty tensor has no run.
    let Some(run) = map.runs().iter().find(|run| run.tensor == Some(wanted)) else { return Ok(0) };
    let (start, end) = (run.stream_offset, run.stream_offset + run.len);
    let mut hasher = blake3::Hasher::new();
    for info in reader.index().to_vec() {
        let block_end = info.stream_offset + info.raw_len;
        if info.stream != Stream::Data || info.stream_offset >= end || block_end <= start {
            continue;
        }
        let payload = reader.read_block(&info)?;
        let codec = CodecId::from_number(info.codec)?;
        decoders.prepare(codec, models)?;
        let bytes = decoders.decode(codec, &info, &payload, &header, &map, &NoProgress)?;
        let from = start.saturating_sub(info.stream_offset) as usize;
        let to = (end.min(block_end) - info.stream_offset) as usize;
        output.write_all(&bytes[from..to])?;
        hasher.update(&bytes[from..to]);
    }
    let expected = reader.hashes().tensors.get(wanted).copied().flatten();
    if expected.is_some_and(|expected| *hasher.finalize().as_bytes() != expected) {
        return Err(Error::TensorHashMismatch { name: name.to_owned() });
    }
    Ok(run.len)
}

/// The codecs that a file needs.
pub(crate) struct Decoders<'a> {
    reference: Option<&'a Reference>,
    structural: Structural,
    needed: Option<(ModelRecord, LmSettings)>,
    lm: Option<LmCodec>,
}

impl<'a> Decoders<'a> {
    /// Reads what a file's header says of its language model and of its reference.
    pub(crate) fn new(header: &Header, models: &'a dyn ModelSource) -> Result<Self, Error> {
        let reference = match header.settings.get(reference::SETTING) {
            None => None,
            Some(expected) => {
                let found = models.reference();
                let found = found.ok_or_else(|| Error::ReferenceRequired { expected: expected.clone() })?;
                if found.blake3() != *expected {
                    return Err(Error::ReferenceMismatch { expected: expected.clone(), found: found.blake3() });
                }
                Some(found)
            }
        };
        let needed = match &header.model {
            None => None,
            Some(record) => {
                crate::lm::check_revision(record)?;
                let is_ensemble =
                    header.settings.get(CODEC_SETTING).is_some_and(|codec| *codec == CodecId::Ensemble.to_string());
                let settings = if is_ensemble {
                    LmSettings::read_window_from(&header.settings)?
                } else {
                    LmSettings::read_from(&header.settings)?
                };
                Some((record.clone(), settings))
            }
        };
        Ok(Self { reference, structural: Structural::default(), needed, lm: None })
    }

    /// Loads the language model before the first block that needs it.
    pub(crate) fn prepare(&mut self, codec: CodecId, models: &dyn ModelSource) -> Result<(), Error> {
        if !codec.needs_model() || self.lm.is_some() {
            return Ok(());
        }
        let (record, settings) = self
            .needed
            .as_ref()
            .ok_or_else(|| Error::corrupt_block(format!("a block of codec {codec} in a file that names no model")))?;
        let model = models.model(record)?;
        model.check(record)?;
        let lm = LmCodec::new(model, *settings, models.kernels()).map_err(|error| match error {
            // The window comes from the file here, not from a flag.
            Error::WindowTooLong { .. } | Error::WindowTooShort { .. } => {
                Error::corrupt_block(format!("the header's window of {} tokens does not fit", settings.window_tokens))
            }
            other => other,
        })?;
        self.lm = Some(lm.with_memory(models.memory_bytes()));
        Ok(())
    }

    pub(crate) fn decode(
        &self,
        codec: CodecId,
        info: &BlockInfo,
        payload: &[u8],
        header: &Header,
        map: &StreamMap,
        progress: &dyn Progress,
    ) -> Result<Vec<u8>, Error> {
        if info.n_lanes > 0 && !codec.has_lanes() {
            return Err(Error::corrupt_block(format!("{} lanes of codec {codec}, which has none", info.n_lanes)));
        }
        let (baseline, ensemble);
        let lm = || self.lm.as_ref().ok_or_else(|| Error::corrupt_block("a block without its language model"));
        let codec: &dyn BlockCodec = match codec {
            CodecId::Lm => lm()?,
            CodecId::Ensemble => {
                ensemble = Ensemble::new(Level::default(), lm()?)?;
                &ensemble
            }
            CodecId::Structural => &self.structural,
            // Payloads say all that a decoder needs; levels are for encoders.
            id => {
                baseline = baselines::codec(id, baselines::reference_level(id))?;
                &*baseline
            }
        };
        let raw_len = usize::try_from(info.raw_len)
            .map_err(|_| Error::corrupt_block("a block is larger than this machine's memory"))?;
        let parts = match self.reference {
            Some(reference) => reference.parts(map, header, info.stream, info.stream_offset, info.raw_len)?,
            None => Vec::new(),
        };
        let mut pieces = map.pieces(header, info.stream, info.stream_offset, info.raw_len);
        reference::attach(&mut pieces, &parts);
        let place = Place { dtype: dtype(header, map, info), pieces: &pieces };
        let bytes = codec.decode(EncodedBlock { payload, raw_len, n_lanes: info.n_lanes, place }, progress)?;
        debug_assert_eq!(bytes.len(), raw_len, "codecs check the length");
        Ok(bytes)
    }
}

/// The type of a block's elements. All pieces have the same, or an encoder would have begun another block.
fn dtype(header: &Header, map: &StreamMap, info: &BlockInfo) -> Dtype {
    let tensors = map.slice(info.stream, info.stream_offset, info.raw_len).filter_map(|run| run.tensor);
    let mut dtypes = tensors.filter_map(|tensor| header.tensors.get(tensor)).map(|tensor| tensor.dtype.parse());
    match dtypes.next() {
        Some(Ok(first)) if dtypes.all(|dtype| dtype.as_ref().ok() == Some(&first)) => first,
        _ => Dtype::U8,
    }
}
