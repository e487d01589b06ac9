//! Codec 17, by `docs/structural-format.md`. Modules follow its sections.

mod distribution;
mod lane;
mod math;
mod matrix;
mod number;
mod questions;
mod scales;
mod side;

use super::ensemble::Advisor;
use super::{Block, Piece, Refusal};
use lane::{GROUP, Lane, Matrix};
use matrix::Layout;
use number::Float;
use side::{Kind, Side};

pub(super) use math::{squash, stretch};

pub(super) fn decode(block: &Block<'_>) -> Result<Vec<u8>, Refusal> {
    decode_with(block, None)
}

/// Sections 3 and 14. With an advisor the codec is ensemble.
pub(super) fn decode_with(block: &Block<'_>, advisor: Option<&Advisor<'_>>) -> Result<Vec<u8>, Refusal> {
    let (size, float) =
        Float::of(block.dtype).ok_or_else(|| Refusal::corrupt("codec structural codes no such type"))?;
    if !(1..=256).contains(&block.n_lanes) {
        return Err(Refusal::corrupt("codec structural has 1 to 256 lanes"));
    }
    let mut payload = block.payload;
    let side_len = length(&mut payload)?;
    let mut lane_lens = Vec::new();
    for _ in 0..block.n_lanes {
        lane_lens.push((length(&mut payload)?, length(&mut payload)?));
    }
    let side = take(&mut payload, side_len)?;
    let mut lanes = Vec::new();
    for (n_decisions, n_plain) in lane_lens {
        let decisions = take(&mut payload, n_decisions)?;
        lanes.push(Lane::new(decisions, take(&mut payload, n_plain)?, advisor.cloned()));
    }

    let mut side = Side::new(side);
    let mut pieces = Vec::new();
    for piece in block.pieces {
        pieces.push(Elements::new(piece, size, float, &mut side)?);
    }
    side.check_end()?;
    let tails_len: usize = block.pieces.iter().map(|piece| piece.len % size).sum();
    if payload.len() != tails_len {
        return Err(Refusal::corrupt("the payload's length is not that of its parts"));
    }
    code_lanes(&mut pieces, &mut lanes)?;

    let mut out = Vec::new();
    for (elements, piece) in pieces.into_iter().zip(block.pieces) {
        out.extend(elements.into_bytes());
        out.extend(take(&mut payload, piece.len % size)?);
    }
    Ok(out)
}

/// The whole elements of a piece.
struct Elements<'a> {
    bytes: Vec<u8>,
    /// What all of them are multiples of, if the bytes are of multiples.
    step: Option<f32>,
    /// How they are coded, unless all is said.
    matrix: Option<Matrix<'a>>,
}

impl<'a> Elements<'a> {
    fn new(piece: &Piece<'a>, size: usize, float: Float, side: &mut Side<'_>) -> Result<Self, Refusal> {
        let n = piece.len / size;
        if n == 0 {
            return Ok(Self { bytes: Vec::new(), step: None, matrix: None });
        }
        let layout = Layout::of(piece, n, size);
        let has_reference = piece.reference.is_some_and(|reference| reference.len() == piece.len);
        let said = side.piece(float, size, has_reference, layout.n_coordinates, layout.n_samples)?;
        let reference = piece.reference.unwrap_or_default();
        let mut matrix = None;
        let bytes = match said.kind {
            Kind::Equal(value) => value.to_le_bytes().get(..size).unwrap_or_default().repeat(n),
            Kind::Reference => reference.get(..n * size).unwrap_or_default().to_vec(),
            Kind::Coded(coded) => {
                matrix = Some(Matrix {
                    layout,
                    float: coded.float,
                    size,
                    may_be_common: coded.may_be_common,
                    lowest: coded.lowest,
                    reference: coded.reference_part.map(|share| (reference, share)),
                    coordinates: matrix::coordinates(&coded, layout.n_samples),
                    sample_scales: coded.sample_scales.map(|scales| scales.into_iter().map(matrix::scale).collect()),
                });
                vec![0; n * size]
            }
        };
        Ok(Self { bytes, step: said.step, matrix })
    }

    fn into_bytes(mut self) -> Vec<u8> {
        if let Some(step) = self.step {
            for bytes in self.bytes.as_chunks_mut().0 {
                *bytes = (f32::from_le_bytes(*bytes) * step).to_le_bytes();
            }
        }
        self.bytes
    }
}

/// Section 9: which lane has which groups, in which order.
fn code_lanes(pieces: &mut [Elements<'_>], lanes: &mut [Lane<'_>]) -> Result<(), Refusal> {
    let n_elements = |piece: &Elements<'_>| {
        piece.matrix.as_ref().map_or(0, |matrix| (matrix.layout.n_coordinates * matrix.layout.n_samples) as u64)
    };
    let total: u64 = pieces.iter().map(n_elements).sum();
    let n_lanes = lanes.len();
    let mut before = 0;
    for piece in pieces {
        let n_values = n_elements(piece);
        let Some(matrix) = &piece.matrix else { continue };
        let group_values = (GROUP * matrix.layout.n_coordinates) as u64;
        let lane_of = |group: usize| {
            let lane = (before + group_values * group as u64) * n_lanes as u64 / total.max(1);
            (lane as usize).min(n_lanes - 1)
        };
        // Lanes share nothing, so that each can go on when the matrix comes to it.
        let n_groups = matrix.layout.n_samples.div_ceil(GROUP);
        let mut first = 0;
        while first < n_groups {
            let lane = lane_of(first);
            let end = (first..n_groups).find(|&group| lane_of(group) != lane).unwrap_or(n_groups);
            if let Some(lane) = lanes.get_mut(lane) {
                lane.part(matrix, first..end, &mut piece.bytes)?;
            }
            first = end;
        }
        before += n_values;
    }
    lanes.iter().enumerate().try_for_each(|(number, lane)| lane.check_end(number))
}

fn length(payload: &mut &[u8]) -> Result<usize, Refusal> {
    let bytes = take(payload, 4)?;
    Ok(bytes.iter().rev().fold(0, |length, &byte| length << 8 | usize::from(byte)))
}

fn take<'a>(payload: &mut &'a [u8], n: usize) -> Result<&'a [u8], Refusal> {
    let (taken, rest) =
        payload.split_at_checked(n).ok_or_else(|| Refusal::corrupt("the payload is shorter than its parts"))?;
    *payload = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::super::Class;
    use super::*;

    /// Section 16.
    const PAYLOAD: &str = "
        06 00 00 00 26 00 00 00 30 00 00 00 1e b3 f4 fa 4c 80 bb 1f 31 59 94 4d 63 a8
        6b ae c4 24 28 08 ce e6 ca 20 8c b4 99 a5 f4 56 c3 11 4e c9 6d 01 4b fa 2f 68
        4d 9e 1f 0d 86 37 fa 42 1f cf 27 d2 96 f5 5a 6a 25 ec 78 3f 57 4d 06 94 20 3c
        e2 84 5e e4 f5 87 86 39 47 b1 e1 20 c5 dc eb 9b a2 24 ee 1b 74 73 73 ab bc 07";
    const TENSOR: &str = "
        ba70c000 00000000 bc91a000 00000000 bcbfa000 3ba84000 00000000 bbf1e000 3abe6000 3be44000
        3a16c000 00000000 3c1d6000 3c76a000 39da8000 00000000 39df4000 3ca52000 bb128000 00000000
        bbc24000 00000000 bc476000 00000000 00000000 bbfde000 3c172000 bc0d4000 3cd32000 bc140000
        00000000 3c704000 bcfe0000 3b710000 00000000 b8508000 bd1e2000 bc8fa000 3ca06000 3caba000
        3d8ae000 3d848000 bcfae000 bd51e000 bc034000 3c8e6000 bd68e000 00000000 bcb62000 00000000
        3d0e0000 00000000 bc240000 3cc62000 3cdee000 00000000 3d172000 3d172000 bb4aa000 bd3ee000";

    #[test]
    fn the_example() {
        let payload: Vec<u8> = PAYLOAD.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let tensor = TENSOR.split_whitespace().flat_map(|value| u32::from_str_radix(value, 16).unwrap().to_le_bytes());
        let tensor: Vec<u8> = tensor.collect();
        let pieces = [Piece { shape: &[3, 20], start: 0, len: 240, tensor_len: 240, reference: None }];
        let mut block = Block { payload: &payload, raw_len: 240, n_lanes: 1, dtype: "F32", pieces: &pieces };
        assert_eq!(decode(&block).unwrap(), tensor);

        let longer = [&payload[..], &[0]].concat();
        for damaged in [&payload[..payload.len() - 1], &longer] {
            block.payload = damaged;
            assert_eq!(decode(&block).unwrap_err().class, Class::Corrupt);
        }
        block.payload = &payload;
        block.n_lanes = 0;
        assert_eq!(decode(&block).unwrap_err().class, Class::Corrupt);
    }
}
