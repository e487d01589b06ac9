//! From a file to a `.lmgc` file.

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};

use lmgc_container::{Header, Stream, TensorEntry};
use lmgc_tensors::{Dtype, Layout, Span, find_spans};
use lmgc_tokens::dataset;
use rayon::prelude::*;

use crate::baselines::{self, Auto};
use crate::block::MIN_BATCH_BYTES;
use crate::block_output::{BlockOutput, CODEC_SETTING};
use crate::hashes::hash_file;
use crate::journal::{Identity, Journal};
use crate::lm::LmCodec;
use crate::reference::{self, Reference};
use crate::streams::{Run, StreamMap};
use crate::structural::Ensemble;
use crate::{
    BlockCodec, BlockInput, CodecId, CodecName, EarlierRun, Encoded, EncodedBlock, Error, Place, Progress, Stage,
};

/// Metadata key by which a safetensors file says that it is a token data set, and the name of its token tensor.
const TOKEN_DATASET: (&str, &str) = (dataset::MARKER_KEY, dataset::IDS_TENSOR);

/// zstd's level for the skeleton, which is small and repetitive.
const SKELETON_ZSTD_LEVEL: i32 = 19;

/// Tensors are coded together until they come to this many bytes: alone, a small one would have little to learn from, while
/// large ones may want different codecs.
const MIN_BLOCK_BYTES: u64 = 1 << 18;
/// How to compress.
#[derive(Clone, Copy, Default)]
pub struct CompressOptions<'a> {
    /// Which codec.
    pub codec: CodecName,
    /// 1 (fast) to 9 (small).
    pub level: Level,
    /// The language-model codec, if `codec` is `lm`; `ensemble` takes its model, window and kernels.
    pub lm: Option<&'a LmCodec>,
    /// An earlier file to code against, where the codec can: `structural`, and `auto` from level 3 on.
    pub reference: Option<&'a Reference>,
}

/// A compression level from 1 (fast) to 9 (small), as people know it from gzip, xz and zstd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u8);

impl Level {
    /// From this level on, `auto` tries the structural prior.
    pub const FIRST_WITH_STRUCTURE: Self = Self(3);

    /// A level in 1..=9.
    pub fn new(level: u8) -> Option<Self> {
        (1..=9).contains(&level).then_some(Self(level))
    }

    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }

    pub(crate) fn zstd(self) -> i32 {
        [1, 2, 3, 5, 7, 9, 12, 15, 19][usize::from(self.0) - 1]
    }
}

impl Default for Level {
    fn default() -> Self {
        Self(5)
    }
}

/// What compressing came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompressReport {
    /// Length of the original.
    pub raw_bytes: u64,
    /// Length of the `.lmgc` file, headers included.
    pub compressed_bytes: u64,
    /// Number of blocks.
    pub n_blocks: usize,
    /// How many of them an earlier run had coded that was interrupted.
    pub n_resumed_blocks: usize,
    /// Tokens that went through a language model.
    pub n_tokens: u64,
    /// What the original was recognised as.
    pub file_format: String,
    /// Number of tensors.
    pub n_tensors: usize,
    /// Elements in all tensors.
    pub n_values: u64,
    /// Tensors that the reference has, too.
    pub n_referenced_tensors: usize,
    /// Why a file that looked like some format was taken as something less.
    pub note: Option<String>,
}

impl CompressReport {
    /// Compressed size in percent of the original's.
    pub fn rate_percent(&self) -> f64 {
        100.0 * self.compressed_bytes as f64 / self.raw_bytes as f64
    }
}

/// Compresses what `input` holds from its first byte to its last, and writes a `.lmgc` file.
///
/// Nothing is decoded for comparison here: see [`verify_against`](crate::verify_against).
///
/// # Errors
/// Where reading or writing fails, or the codec cannot work ([`Error::ModelRequired`] and others).
pub fn compress<R: Read + Seek, W: Write>(
    input: &mut R,
    output: &mut W,
    options: &CompressOptions<'_>,
    progress: &dyn Progress,
) -> Result<CompressReport, Error> {
    compress_with(input, output, options, None, progress)
}

/// As [`compress`]. Blocks that are in the journal are taken from there, and the others are kept in it as they are done.
pub(crate) fn compress_with<R: Read + Seek, W: Write>(
    input: &mut R,
    output: &mut W,
    options: &CompressOptions<'_>,
    journal: Option<&mut Journal>,
    progress: &dyn Progress,
) -> Result<CompressReport, Error> {
    let layout = find_spans(input)?;
    let adapted = match options.lm {
        Some(lm) => lm.for_token_dataset(&layout.metadata)?,
        None => None,
    };
    let options = &CompressOptions { lm: adapted.as_ref().or(options.lm), ..*options };
    compress_layout(input, output, &layout, options, &Codecs::new(options)?, journal, progress)
}

/// As [`compress_with`], for an input whose layout is known.
pub(crate) fn compress_layout<R: Read + Seek, W: Write>(
    input: &mut R,
    output: &mut W,
    layout: &Layout,
    options: &CompressOptions<'_>,
    codecs: &Codecs<'_>,
    mut journal: Option<&mut Journal>,
    progress: &dyn Progress,
) -> Result<CompressReport, Error> {
    let header = header(layout, options)?;
    let n_referenced_tensors = options.reference.map_or(0, |reference| reference.n_matching(&header));
    if options.reference.is_some() && n_referenced_tensors == 0 {
        return Err(Error::ReferenceUnrelated);
    }
    let map = StreamMap::new(&header);
    let plan = plan(&map, layout, codecs);
    let hashes = hash_file(input, layout.file_len, &header.tensors)?;

    let mut blocks = BlockOutput::new(output, &header)?;
    let mut n_tokens = 0;
    let mut write = |block: &PlannedBlock, encoded: Encoded| {
        n_tokens += encoded.n_tokens;
        blocks.push(block.stream, block.len, encoded)
    };
    let mut n_resumed_blocks = 0;
    if let Some(journal) = journal.as_deref_mut() {
        if let Some(reason) = journal.begin(&Identity::new(hashes.original, &header, options.level)?)? {
            progress.earlier_run(&EarlierRun::Discarded { reason });
        }
        for block in &plan {
            let bytes = map.read(input, block.stream, block.stream_offset, block.len)?;
            let Some(encoded) = journal.next_record(&bytes)? else { break };
            write(block, encoded)?;
            n_resumed_blocks += 1;
        }
    }
    let (done, mut rest) = plan.split_at(n_resumed_blocks);
    if !done.is_empty() {
        progress.earlier_run(&EarlierRun::Resumed {
            n_blocks_done: done.len(),
            n_blocks: plan.len(),
            n_bytes_done: done.iter().map(|block| block.len).sum(),
            n_bytes: layout.file_len,
        });
    }
    progress.begin(Stage::Compress, layout.file_len);
    while !rest.is_empty() {
        let (batch, later) = rest.split_at(n_at_once(rest, codecs));
        rest = later;
        let inputs = batch
            .iter()
            .map(|block| map.read(input, block.stream, block.stream_offset, block.len))
            .collect::<Result<Vec<_>, _>>()?;
        let coded = batch
            .par_iter()
            .zip(&inputs)
            .map(|(block, bytes)| {
                let parts = match options.reference {
                    Some(reference) => reference.parts(&map, &header, block.stream, block.stream_offset, block.len)?,
                    None => Vec::new(),
                };
                let mut pieces = map.pieces(&header, block.stream, block.stream_offset, block.len);
                reference::attach(&mut pieces, &parts);
                let place = Place { dtype: block.dtype, pieces: &pieces };
                code(codecs.of(block), BlockInput { bytes, place, is_token_ids: block.is_token_ids }, progress)
            })
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(journal) = journal.as_deref_mut() {
            for (encoded, bytes) in coded.iter().zip(&inputs) {
                journal.append(encoded, bytes)?;
            }
            journal.sync()?;
        }
        for (block, encoded) in batch.iter().zip(coded) {
            write(block, encoded)?;
        }
    }
    let (compressed_bytes, written_header) = blocks.finish(&header, &hashes)?;
    progress.end();
    let mut note = layout.note.clone();
    if header.model.is_some() && written_header.model.is_none() {
        note = Some("the language model saves nothing here: this is the file of codec structural".to_owned());
    }
    Ok(CompressReport {
        raw_bytes: layout.file_len,
        compressed_bytes,
        n_blocks: plan.len(),
        n_resumed_blocks,
        n_tokens,
        file_format: header.file_format,
        n_tensors: header.tensors.len(),
        n_values: layout.spans.iter().map(|span| span.len / span.dtype.size_bytes().max(1)).sum(),
        n_referenced_tensors,
        note,
    })
}

/// How many blocks to code side by side: one that keeps all threads busy is alone; else one for each thread, or, where a large
/// block is several threads' work, as many as come to some size.
fn n_at_once(blocks: &[PlannedBlock], codecs: &Codecs<'_>) -> usize {
    let mut n_bytes = 0;
    let is_wanted = |(at, block): &(usize, &PlannedBlock)| {
        let codec = codecs.of(block);
        let has_room = n_bytes < MIN_BATCH_BYTES || !codec.wants_whole_tensors() && *at < rayon::current_num_threads();
        n_bytes += block.len;
        has_room && !codec.is_parallel_inside()
    };
    blocks.iter().enumerate().take_while(is_wanted).count().max(1)
}

fn code(codec: &dyn BlockCodec, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
    let encoded = codec.encode(input, progress)?;
    // The container holds payloads of up to twice the bytes; whoever needs more (a language model on noise) stores them.
    if encoded.payload.len() > 2 * input.bytes.len() {
        return Ok(Encoded { n_tokens: encoded.n_tokens, ..Encoded::plain(CodecId::Raw, input.bytes.to_vec()) });
    }
    Ok(encoded)
}

fn header(layout: &Layout, options: &CompressOptions<'_>) -> Result<Header, Error> {
    let mut settings = BTreeMap::from([(CODEC_SETTING.to_owned(), options.codec.to_string())]);
    if let Some(reference) = options.reference {
        settings.insert(reference::SETTING.to_owned(), reference.blake3());
    }
    let lm = match (options.codec, options.lm) {
        (CodecName::One(CodecId::Lm), Some(lm)) => {
            lm.settings().write_to(&mut settings);
            Some(lm.language_model().record())
        }
        (CodecName::One(CodecId::Ensemble), Some(lm)) => {
            lm.settings().write_window_to(&mut settings);
            Some(lm.language_model().record())
        }
        (CodecName::One(id), None) if id.needs_model() => return Err(Error::ModelRequired),
        _ => None,
    };
    Ok(Header {
        settings,
        file_format: layout.format.to_string(),
        original_len: layout.file_len,
        tensors: layout
            .spans
            .iter()
            .map(|span| TensorEntry {
                name: span.name.clone(),
                dtype: span.dtype.as_str().to_owned(),
                shape: span.shape.clone(),
                offset: span.offset,
                len: span.len,
            })
            .collect(),
        model: lm,
    })
}

/// The codecs of one job, or of several with the same options.
pub(crate) struct Codecs<'a> {
    data: Box<dyn BlockCodec + 'a>,
    /// For the skeleton, and for the parts of a token data set that are no tokens.
    other: Auto,
    data_is_lm: bool,
}

impl<'a> Codecs<'a> {
    pub(crate) fn new(options: &CompressOptions<'a>) -> Result<Self, Error> {
        let data: Box<dyn BlockCodec + 'a> = match options.codec {
            CodecName::Auto => Box::new(Auto::new(options.level)),
            CodecName::One(CodecId::Lm) => Box::new(Borrowed(options.lm.ok_or(Error::ModelRequired)?)),
            CodecName::One(CodecId::Ensemble) => {
                Box::new(Ensemble::new(options.level, options.lm.ok_or(Error::ModelRequired)?)?)
            }
            CodecName::One(id) => baselines::codec(id, baselines::native_level(id, options.level))?,
        };
        let data_is_lm = options.codec == CodecName::One(CodecId::Lm);
        Ok(Self { data, other: Auto::plain(SKELETON_ZSTD_LEVEL), data_is_lm })
    }

    fn of(&self, block: &PlannedBlock) -> &dyn BlockCodec {
        if block.uses_data_codec { &*self.data } else { &self.other }
    }
}

/// A codec that is owned elsewhere.
struct Borrowed<'a>(&'a LmCodec);

impl BlockCodec for Borrowed<'_> {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        self.0.encode(input, progress)
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        self.0.decode(block, progress)
    }

    fn block_bytes(&self) -> usize {
        self.0.block_bytes()
    }

    fn is_parallel_inside(&self) -> bool {
        self.0.is_parallel_inside()
    }
}

/// A block to be coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PlannedBlock {
    stream: Stream,
    stream_offset: u64,
    len: u64,
    /// Where its first byte lies in the file.
    file_offset: u64,
    dtype: Dtype,
    is_token_ids: bool,
    uses_data_codec: bool,
}

/// Bytes of a tensor's row, if it has rows.
fn row_bytes(span: &Span) -> Option<u64> {
    let [_, row @ ..] = span.shape.as_slice() else { return None };
    let n = row.iter().try_fold(span.dtype.size_bytes(), |product, &dim| product.checked_mul(dim))?;
    (n > 0).then_some(n)
}

/// Cuts both streams into blocks, sorted by the place of their first byte in the file.
///
/// A data block goes on over tensors as long as they are of one kind, and is cut at a whole element; for a codec that wants
/// tensors whole, it holds one tensor or several small ones.
fn plan(map: &StreamMap, layout: &Layout, codecs: &Codecs<'_>) -> Vec<PlannedBlock> {
    let is_token_dataset = layout.metadata.contains_key(TOKEN_DATASET.0);
    let kind_of = |run: &Run| {
        let span = run.tensor.and_then(|i| layout.spans.get(i));
        let is_token_ids =
            is_token_dataset && span.is_some_and(|span| span.name == TOKEN_DATASET.1 && span.dtype == Dtype::U32);
        PlannedBlock {
            stream: run.stream,
            stream_offset: run.stream_offset,
            len: 0,
            file_offset: run.file_offset,
            dtype: span.map_or(Dtype::U8, |span| span.dtype),
            is_token_ids,
            uses_data_codec: span.is_some() && (is_token_ids || !(is_token_dataset && codecs.data_is_lm)),
        }
    };
    let mut blocks: Vec<PlannedBlock> = Vec::new();
    // The last block of each stream is open: it takes on bytes of the same kind until it is full.
    let mut open: BTreeMap<Stream, usize> = BTreeMap::new();
    for run in map.runs() {
        let kind = kind_of(run);
        let codec = codecs.of(&kind);
        let is_whole = codec.wants_whole_tensors();
        let max_len = codec.block_bytes() as u64;
        // Where blocks end: after whole elements, or whole rows.
        let element_bytes = kind.dtype.size_bytes().max(1);
        let unit = match run.tensor.and_then(|i| layout.spans.get(i)) {
            Some(span) if is_whole => row_bytes(span).filter(|&n| n <= max_len).unwrap_or(element_bytes),
            _ => element_bytes,
        };
        let max_len = max_len - max_len % unit;
        let mut done = 0;
        while done < run.len {
            let same_kind = |block: &PlannedBlock| {
                (block.dtype, block.is_token_ids, block.uses_data_codec)
                    == (kind.dtype, kind.is_token_ids, kind.uses_data_codec)
            };
            let has_room = |block: &PlannedBlock| {
                if is_whole { done == 0 && block.len + run.len <= MIN_BLOCK_BYTES } else { block.len < max_len }
            };
            let at = open.get(&run.stream).copied().filter(|&at| same_kind(&blocks[at]) && has_room(&blocks[at]));
            let at = at.unwrap_or_else(|| {
                let (stream_offset, file_offset) = (run.stream_offset + done, run.file_offset + done);
                blocks.push(PlannedBlock { stream_offset, file_offset, ..kind });
                blocks.len() - 1
            });
            open.insert(run.stream, at);
            let taken = (max_len - blocks[at].len).min(run.len - done);
            blocks[at].len += taken;
            done += taken;
        }
    }
    blocks.sort_by_key(|block| block.file_offset);
    blocks
}
