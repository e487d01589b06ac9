//! The structural prior: values by what a gradient is, a matrix of few factors and much noise.
//!
//! Each tensor is a matrix of coordinates x samples (`view`). Its scales and the factors that its coordinates share are found by
//! the encoder (`fit`) and sent (`factor`). Going down a sample, both sides predict each coordinate from those before. What is left is coded by
//! halving intervals (`lane`): densities around the prediction, with scales learned from neighbours (`scales`), answer each
//! question together with adaptive counts (`mixer`), and bits on which all answers are even go plain. `docs/structural.md` has
//! the whole and what each part brings.

mod anatomy;
mod covariance;
mod description;
mod eigen;
mod ensemble;
mod factor;
mod fit;
mod lane;
mod linear_algebra;
mod mixer;
mod number;
mod quantised;
mod scales;
mod shape;
mod value;
mod view;
mod warp;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use lmgc_coder::{BinaryDecoder, Decoder, Encoder};
use lmgc_kernels::{Kernels, LANES};
use rayon::prelude::*;

pub use self::anatomy::FieldCosts;
use self::description::{Description, DescriptionCode, describe, reference_weight};
pub use self::ensemble::Ensemble;
use self::factor::Filter;
use self::fit::Effort;
use self::lane::{CodePart, Matrix, Part};
use self::mixer::{Channel, Mixer, MixerState, Reading, Tables, Writing};
use self::number::Format;
use self::quantised::{divide, find_step, multiply};
pub(crate) use self::scales::exp2;
use self::view::View;
use self::warp::{Advised, Recording};
use crate::baselines::{Auto, Raw};
use crate::bits::BitUnpacker;
use crate::float_layout::bits_of;
use crate::progress::Share;
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Level, NoProgress, Piece, Place, Progress};

/// The structural codec. It keeps the memory that it works in, for the next block; clones share it.
#[derive(Clone)]
pub struct Structural {
    kernels: Kernels,
    level: Level,
    memory: Arc<Memory>,
}

impl std::fmt::Debug for Structural {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Structural").field("kernels", &self.kernels).field("level", &self.level).finish_non_exhaustive()
    }
}

/// What stays from block to block.
#[derive(Default)]
struct Memory {
    tables: OnceLock<Tables>,
    /// Of lanes that no thread works on at the moment.
    lanes: Mutex<Vec<LaneMemory>>,
}

/// What a thread needs for a lane.
#[derive(Default)]
struct LaneMemory {
    mixer: MixerState,
    values: Vec<u64>,
    references: Vec<u64>,
}

impl Memory {
    /// Works on a lane in memory of its own.
    fn with_lane<T>(&self, work: impl FnOnce(&Tables, &mut LaneMemory) -> T) -> T {
        let taken = self.lanes.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut memory = taken.unwrap_or_default();
        let result = work(self.tables.get_or_init(Tables::new), &mut memory);
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
        result
    }
}

impl Default for Structural {
    /// At the default level.
    fn default() -> Self {
        Self::new(Level::default())
    }
}

/// Bytes of a block: a tensor of this size is still one.
const BLOCK_BYTES: usize = 32 << 20;
/// Values that a lane has at least, unless a block has fewer: each lane learns anew.
const MIN_LANE_VALUES: usize = 1 << 17;
const MAX_LANES: usize = 256;
/// Bytes of a stream's length.
const LEN_BYTES: usize = 4;

impl Structural {
    /// The codec with the fastest kernels of this machine; they change the speed and nothing else.
    pub fn new(level: Level) -> Self {
        Self::with_kernels(level, Kernels::detect())
    }

    /// The codec with given kernels.
    pub fn with_kernels(level: Level, kernels: Kernels) -> Self {
        Self { kernels, level, memory: Arc::default() }
    }

    fn effort(&self) -> Effort {
        let (max_rank, n_rounds) = match self.level.get() {
            ..=3 => (64, 1),
            4 => (128, 1),
            5..=6 => (256, 1),
            7 => (384, 2),
            8 => (512, 3),
            _ => (512, 5),
        };
        Effort { max_rank, n_rounds }
    }
}

fn corrupt(what: impl Into<String>) -> Error {
    Error::corrupt_block(format!("structural: {}", what.into()))
}

/// A piece's whole elements.
struct CutPiece<'a> {
    /// Their place in the block.
    place: std::ops::Range<usize>,
    view: View,
    /// The same elements of the reference.
    reference: Option<&'a [u8]>,
}

/// A block's pieces as whole numbers of elements.
struct Cut<'a> {
    pieces: Vec<CutPiece<'a>>,
    /// Places of the bytes that make no element.
    tails: Vec<std::ops::Range<usize>>,
}

impl<'a> Cut<'a> {
    fn new(place: Place<'a>, format: &Format, raw_len: usize) -> Option<Self> {
        let lens = place.piece_lens(raw_len)?;
        let (mut pieces, mut tails, mut start) = (Vec::new(), Vec::new(), 0);
        for (at, len) in lens.into_iter().enumerate() {
            let n_elements = len / format.n_bytes();
            let end = start + n_elements * format.n_bytes();
            if n_elements > 0 {
                let piece: Option<&Piece<'_>> = place.pieces.get(at);
                // A reference of another length is none.
                let reference = piece.and_then(|piece| piece.reference).filter(|bytes| bytes.len() == len);
                let view = View::of(piece, n_elements, format.n_bytes());
                pieces.push(CutPiece {
                    place: start..end,
                    view,
                    reference: reference.and_then(|r| r.get(..end - start)),
                });
            }
            tails.push(end..start + len);
            start += len;
        }
        Some(Self { pieces, tails })
    }

    fn n_values(&self) -> usize {
        self.pieces.iter().map(|piece| piece.view.n_elements()).sum()
    }
}

/// The steps of a block's pieces, and its bytes without them.
fn without_steps<'a>(bytes: &'a [u8], format: &Format, cut: &Cut<'_>) -> (Cow<'a, [u8]>, Vec<Option<f32>>) {
    let find = |piece: &CutPiece<'_>| {
        // A reference's values need not be multiples.
        if piece.reference.is_some() || !format.is_single() { None } else { find_step(&bytes[piece.place.clone()]) }
    };
    let steps: Vec<Option<f32>> = cut.pieces.iter().map(find).collect();
    let mut bytes = Cow::Borrowed(bytes);
    for (piece, step) in cut.pieces.iter().zip(&steps) {
        if let Some(step) = step {
            divide(&mut bytes.to_mut()[piece.place.clone()], *step);
        }
    }
    (bytes, steps)
}

/// The matrices of a block, and where they are in it.
struct Matrices<'a> {
    matrices: Vec<Matrix<'a>>,
    pieces: Vec<&'a CutPiece<'a>>,
}

/// Cuts matrices into lanes of about the same number of values.
fn lanes<'a>(matrices: &'a [Matrix<'a>], n_lanes: usize) -> Vec<Vec<(usize, Part<'a>)>> {
    let total: usize = matrices.iter().map(|matrix| matrix.view.n_elements()).sum();
    let mut lanes: Vec<Vec<(usize, Part<'_>)>> = (0..n_lanes).map(|_| Vec::new()).collect();
    let mut done = 0;
    for (index, matrix) in matrices.iter().enumerate() {
        let n_groups = matrix.view.n_samples.div_ceil(LANES);
        let group_values = LANES * matrix.view.n_coordinates;
        let lane_of = |group: usize| {
            let before = (done + group * group_values) as u128;
            ((before * n_lanes as u128 / total.max(1) as u128) as usize).min(n_lanes - 1)
        };
        let mut start = 0;
        while start < n_groups {
            let lane = lane_of(start);
            let end = (start + 1..n_groups).find(|&group| lane_of(group) != lane).unwrap_or(n_groups);
            lanes[lane].push((index, Part { matrix, groups: start..end }));
            start = end;
        }
        done += matrix.view.n_elements();
    }
    lanes
}

/// The filter of each described matrix.
fn filters(kernels: Kernels, descriptions: &[Description], cut: &Cut<'_>) -> Vec<Filter> {
    descriptions
        .par_iter()
        .zip(&cut.pieces)
        .map(|(description, CutPiece { view, .. })| match description {
            Description::Constant(_) | Description::Same => Filter::default(),
            Description::Matrix { factors, .. } => Filter::new(kernels, factors, view.n_coordinates, view.n_samples),
        })
        .collect()
}

fn matrices<'a>(descriptions: &[Description], filters: &'a [Filter], cut: &'a Cut<'a>, format: Format) -> Matrices<'a> {
    let mut found = Matrices { matrices: Vec::new(), pieces: Vec::new() };
    for ((description, filter), piece) in descriptions.iter().zip(filters).zip(&cut.pieces) {
        if let Description::Matrix { low_bits, bias, has_zeros, lowest_octave, reference_steps, .. } = description {
            found.matrices.push(Matrix {
                view: piece.view,
                format: Format { low_bits: *low_bits, bias: *bias, ..format },
                filter,
                has_zeros: *has_zeros,
                lowest_octave: *lowest_octave,
                reference_weight: reference_steps.map(reference_weight),
            });
            found.pieces.push(piece);
        }
    }
    found
}

/// The numbers of a part, in coding order.
fn gather(part: &Part<'_>, elements: &[u8], size: usize, values: &mut Vec<u64>) {
    fn of_size<const N: usize>(part: &Part<'_>, elements: &[u8], values: &mut Vec<u64>) {
        let (elements, _) = elements.as_chunks::<N>();
        part.for_each_element(|at| {
            let mut word = [0; 8];
            word[..N].copy_from_slice(&elements[at]);
            values.push(u64::from_le_bytes(word));
        });
    }
    values.clear();
    values.reserve(part.n_values());
    match size {
        2 => of_size::<2>(part, elements, values),
        4 => of_size::<4>(part, elements, values),
        _ => of_size::<8>(part, elements, values),
    }
}

/// The other way: `packed` are the elements of a part, in coding order.
fn scatter(part: &Part<'_>, packed: &[u8], size: usize, elements: &mut [u8]) {
    fn of_size<const N: usize>(part: &Part<'_>, packed: &[u8], elements: &mut [u8]) {
        let (elements, _) = elements.as_chunks_mut::<N>();
        let mut values = packed.as_chunks::<N>().0.iter();
        part.for_each_element(|at| {
            if let Some(value) = values.next() {
                elements[at] = *value;
            }
        });
    }
    match size {
        2 => of_size::<2>(part, packed, elements),
        4 => of_size::<4>(part, packed, elements),
        _ => of_size::<8>(part, packed, elements),
    }
}

/// The reference's numbers of a part, if it has any.
fn gather_reference(part: &Part<'_>, piece: &CutPiece<'_>, size: usize, values: &mut Vec<u64>) {
    values.clear();
    if let (Some(_), Some(reference)) = (part.matrix.reference_weight, piece.reference) {
        gather(part, reference, size, values);
    }
}

/// The parts of a lane, by the index of their matrix.
type Lane<'a> = [(usize, Part<'a>)];

/// A block's matrices with all that lanes need beside them.
struct Block<'a> {
    pieces: &'a [&'a CutPiece<'a>],
    /// Bytes of a number.
    size: usize,
    kernels: Kernels,
    tables: &'a Tables,
}

impl Block<'_> {
    /// Codes a lane into a channel.
    fn write(&self, lane: &Lane<'_>, bytes: &[u8], memory: &mut LaneMemory, channel: &mut impl Channel) {
        let LaneMemory { mixer, values, references } = memory;
        let mut mixer = Mixer::new(self.tables, mixer);
        for (index, part) in lane {
            let piece = self.pieces[*index];
            gather(part, &bytes[piece.place.clone()], self.size, values);
            gather_reference(part, piece, self.size, references);
            channel.begin_part();
            self.kernels.run(CodePart { part, values, references, mixer: &mut mixer, channel });
        }
    }

    /// The numbers of each part, from a channel.
    fn read(&self, lane: &Lane<'_>, memory: &mut LaneMemory, channel: &mut impl Channel) -> Vec<Vec<u8>> {
        let LaneMemory { mixer, values, references } = memory;
        let mut mixer = Mixer::new(self.tables, mixer);
        let mut decoded = Vec::new();
        for (index, part) in lane {
            if values.capacity() < part.n_values() {
                // New memory is zero, and taken only as far as it is written to.
                *values = vec![0; part.n_values()];
            } else {
                values.clear();
                values.resize(part.n_values(), 0);
            }
            gather_reference(part, self.pieces[*index], self.size, references);
            channel.begin_part();
            self.kernels.run(CodePart { part, values, references, mixer: &mut mixer, channel });
            if channel.is_overrun() {
                break;
            }
            let mut packed = Vec::with_capacity(values.len() * self.size);
            values.iter().for_each(|value| packed.extend_from_slice(&value.to_le_bytes()[..self.size]));
            decoded.push(packed);
        }
        decoded
    }
}

/// A language model and the progress of its work.
type Expert<'a> = (&'a ensemble::Model<'a>, &'a Share<'a>);

impl BlockCodec for Structural {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let BlockInput { bytes, place, .. } = input;
        let coded = self.encode_floats(bytes, place, None)?;
        let best = match coded {
            Some(coded) if coded.payload.len() < bytes.len() => coded,
            Some(_) => Raw.encode(input, &NoProgress)?,
            None => Auto::plain(self.level.zstd()).encode(input, &NoProgress)?,
        };
        progress.advance(bytes.len() as u64);
        Ok(best)
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let bytes = self.decode_floats(block, None)?;
        progress.advance(bytes.len() as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        BLOCK_BYTES
    }

    fn wants_whole_tensors(&self) -> bool {
        true
    }
}

impl Structural {
    /// The block as a payload, unless its type is none of floating-point numbers.
    fn encode_floats(
        &self,
        bytes: &[u8],
        place: Place<'_>,
        expert: Option<Expert<'_>>,
    ) -> Result<Option<Encoded>, Error> {
        let Some(format) = Format::of(place.dtype) else { return Ok(None) };
        let cut = Cut::new(place, &format, bytes.len()).ok_or_else(|| Error::CodecRefuses {
            codec: CodecId::Structural,
            reason: format!("the block's tensors do not add up to its {} bytes", bytes.len()),
        })?;
        let effort = self.effort();
        let (bytes, steps) = without_steps(bytes, &format, &cut);
        let mut code = DescriptionCode::new();
        let mut encoder = Encoder::new();
        let mut descriptions = Vec::new();
        for (CutPiece { place, view, reference }, step) in cut.pieces.iter().zip(&steps) {
            if format.is_single() {
                DescriptionCode::encode_step(&mut encoder, *step);
            }
            let description = describe(self.kernels, format, *view, &bytes[place.clone()], *reference, effort);
            code.encode(&mut encoder, &format, &description);
            descriptions.push(description);
        }
        let side = encoder.finish();
        let filters = filters(self.kernels, &descriptions, &cut);
        let Matrices { matrices, pieces } = matrices(&descriptions, &filters, &cut, format);
        let n_lanes = (cut.n_values() / MIN_LANE_VALUES).clamp(1, MAX_LANES);
        let streams: Vec<[Vec<u8>; 2]> = lanes(&matrices, n_lanes)
            .into_par_iter()
            .map(|lane| {
                self.memory.with_lane(|tables, memory| {
                    let block = Block { pieces: &pieces, size: format.n_bytes(), kernels: self.kernels, tables };
                    let mut channel = Writing::default();
                    match expert {
                        None => block.write(&lane, &bytes, memory, &mut channel),
                        Some((model, share)) => {
                            let mut recording = Recording::default();
                            block.write(&lane, &bytes, memory, &mut recording);
                            let mut advised = Advised::new(channel, model.foresee(&recording, share)?);
                            block.write(&lane, &bytes, memory, &mut advised);
                            channel = advised.channel;
                        }
                    }
                    Ok(channel.finish())
                })
            })
            .collect::<Result<_, Error>>()?;
        let mut payload = Vec::new();
        let put_len = |payload: &mut Vec<u8>, len: usize| payload.extend_from_slice(&(len as u32).to_le_bytes());
        put_len(&mut payload, side.len());
        for stream in streams.iter().flatten() {
            put_len(&mut payload, stream.len());
        }
        payload.extend_from_slice(&side);
        streams.iter().flatten().for_each(|stream| payload.extend_from_slice(stream));
        cut.tails.iter().for_each(|tail| payload.extend_from_slice(&bytes[tail.clone()]));
        Ok(Some(Encoded { n_lanes: n_lanes as u16, ..Encoded::plain(CodecId::Structural, payload) }))
    }

    fn decode_floats(&self, block: EncodedBlock<'_>, expert: Option<Expert<'_>>) -> Result<Vec<u8>, Error> {
        let EncodedBlock { payload, raw_len, n_lanes, place } = block;
        let format = Format::of(place.dtype).ok_or_else(|| corrupt(format!("a block of {}", place.dtype)))?;
        let cut = Cut::new(place, &format, raw_len).ok_or_else(|| corrupt("the tensors do not fit the block"))?;
        let n_lanes = usize::from(n_lanes);
        if !(1..=MAX_LANES).contains(&n_lanes) {
            return Err(corrupt(format!("{n_lanes} lanes")));
        }
        let too_short = || corrupt(format!("a payload of {} bytes is too short", payload.len()));
        let (lens, mut rest) = payload.split_at_checked(LEN_BYTES * (1 + 2 * n_lanes)).ok_or_else(too_short)?;
        let mut streams = Vec::new();
        for len in lens.chunks_exact(LEN_BYTES) {
            let (stream, later) = rest.split_at_checked(bits_of(len) as usize).ok_or_else(too_short)?;
            streams.push(stream);
            rest = later;
        }
        let mut bytes = vec![0; raw_len];
        if rest.len() != cut.tails.iter().map(std::ops::Range::len).sum::<usize>() {
            return Err(corrupt("the payload's length does not fit"));
        }
        for tail in &cut.tails {
            let (now, later) = rest.split_at(tail.len());
            bytes[tail.clone()].copy_from_slice(now);
            rest = later;
        }
        let mut decoder = Decoder::new(streams[0]);
        let mut code = DescriptionCode::new();
        let (mut descriptions, mut steps) = (Vec::new(), Vec::new());
        for CutPiece { view, reference, .. } in &cut.pieces {
            steps.push(if format.is_single() { DescriptionCode::decode_step(&mut decoder)? } else { None });
            descriptions.push(code.decode(&mut decoder, &format, *view, reference.is_some())?);
        }
        decoder.finish()?;
        for (description, CutPiece { place, reference, .. }) in descriptions.iter().zip(&cut.pieces) {
            match (description, reference) {
                (Description::Constant(bits), _) => {
                    let value = &bits.to_le_bytes()[..format.n_bytes()];
                    bytes[place.clone()].chunks_exact_mut(format.n_bytes()).for_each(|to| to.copy_from_slice(value));
                }
                (Description::Same, Some(reference)) => bytes[place.clone()].copy_from_slice(reference),
                _ => {}
            }
        }
        let filters = filters(self.kernels, &descriptions, &cut);
        let Matrices { matrices, pieces } = matrices(&descriptions, &filters, &cut, format);
        let lanes = lanes(&matrices, n_lanes);
        let decoded: Vec<Vec<Vec<u8>>> = lanes
            .par_iter()
            .zip(streams[1..].par_chunks_exact(2))
            .map(|(lane, streams)| {
                self.memory.with_lane(|tables, memory| {
                    let block = Block { pieces: &pieces, size: format.n_bytes(), kernels: self.kernels, tables };
                    let mut channel =
                        Reading { coder: BinaryDecoder::new(streams[0]), plain: BitUnpacker::new(streams[1]) };
                    let decoded = match expert {
                        None => block.read(lane, memory, &mut channel),
                        Some((model, share)) => {
                            let mut advised = Advised::new(channel, model.steps(share));
                            let decoded = block.read(lane, memory, &mut advised);
                            if let Some(error) = advised.adviser.error {
                                return Err(error);
                            }
                            channel = advised.channel;
                            decoded
                        }
                    };
                    if channel.is_overrun() {
                        return Err(corrupt("a lane has too few plain bits"));
                    }
                    channel.coder.finish()?;
                    if !channel.plain.is_exhausted() {
                        return Err(corrupt("plain bits are left over"));
                    }
                    Ok(decoded)
                })
            })
            .collect::<Result<_, Error>>()?;
        let size = format.n_bytes();
        for ((index, part), packed) in lanes.iter().flatten().zip(decoded.iter().flatten()) {
            scatter(part, packed, size, &mut bytes[pieces[*index].place.clone()]);
        }
        for (piece, step) in cut.pieces.iter().zip(steps) {
            if let Some(step) = step {
                multiply(&mut bytes[piece.place.clone()], step);
            }
        }
        Ok(bytes)
    }
}
