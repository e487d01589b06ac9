//! What a block's bits are spent on: the coding of `lane`, with a channel that adds up costs and writes nothing.

use lmgc_coder::{BINARY_PRECISION_BITS, Encoder};
use lmgc_kernels::ln_f64;
use rayon::prelude::*;

use super::description::{DescriptionCode, describe};
use super::lane::{CodePart, Part};
use super::mixer::{Channel, Field, Interval, Mixer, Question, Whole};
use super::number::Format;
use super::shape::TOTAL;
use super::value::node;
use super::{
    Cut, CutPiece, LaneMemory, MAX_LANES, MIN_LANE_VALUES, Matrices, Structural, filters, gather, gather_reference,
    lanes, matrices, without_steps,
};
use crate::{CodecId, Error, Place};

/// What a piece of a block costs, in bits. Decisions count as -log2 of the probability that their answer was given, which is what
/// they take of the stream within a thousandth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FieldCosts {
    /// Scales, factors and all else that is sent before the values; bytes exactly.
    pub side_information: f64,
    /// Whether a value is zero, or the reference's.
    pub zero: f64,
    /// Signs.
    pub sign: f64,
    /// Exponents, given the sign; and that a value is an escape, or none.
    pub exponent: f64,
    /// The mantissas' upper bits, given sign and exponent.
    pub mantissa: f64,
    /// Which bit of a mantissa is the lowest that is set, where values lie on grids.
    pub lowest_bit: f64,
    /// Bits that go plain, and bytes that make no element.
    pub plain: f64,
}

impl FieldCosts {
    /// The fields with their names, in the order in which a value is coded.
    pub fn by_name(&self) -> [(&'static str, f64); 7] {
        [
            ("side_information", self.side_information),
            ("zero", self.zero),
            ("sign", self.sign),
            ("exponent", self.exponent),
            ("mantissa", self.mantissa),
            ("lowest_bit", self.lowest_bit),
            ("plain", self.plain),
        ]
    }

    /// All fields together.
    pub fn total(&self) -> f64 {
        self.by_name().iter().map(|(_, bits)| bits).sum()
    }

    fn add(&mut self, other: &Self) {
        self.side_information += other.side_information;
        self.zero += other.zero;
        self.sign += other.sign;
        self.exponent += other.exponent;
        self.mantissa += other.mantissa;
        self.lowest_bit += other.lowest_bit;
        self.plain += other.plain;
    }
}

/// Counts what a lane's questions cost.
#[derive(Default)]
struct Counting {
    costs: FieldCosts,
}

/// What it costs to choose a part of a whole.
fn bits(part: u32, whole: u32) -> f64 {
    ln_f64(f64::from(whole) / f64::from(part.max(1))) / core::f64::consts::LN_2
}

/// What an answer costs that had this probability of a one.
fn answer_bits(probability: u32, bit: bool) -> f64 {
    let one = 1u32 << BINARY_PRECISION_BITS;
    bits(if bit { probability } else { one - probability }, one)
}

impl Channel for Counting {
    fn decide(&mut self, bit: bool, _: u32) -> bool {
        bit
    }

    fn ask(&mut self, mixer: &mut Mixer<'_>, question: &Question, bit: bool) -> bool {
        let to = if question.node == node::ZERO { &mut self.costs.zero } else { &mut self.costs.lowest_bit };
        mixer.ask(question, |probability| {
            *to += answer_bits(probability, bit);
            bit
        })
    }

    fn ask_counter(&mut self, mixer: &mut Mixer<'_>, field: Field, cell: usize, bit: bool) -> bool {
        let to = match field {
            Field::Sign => &mut self.costs.sign,
            Field::Exponent => &mut self.costs.exponent,
        };
        mixer.ask_counter(cell, |probability| {
            *to += answer_bits(probability, bit);
            bit
        })
    }

    fn interval<T>(
        &mut self,
        actual: impl FnOnce() -> Interval<T>,
        _: impl FnOnce(u32) -> Interval<T>,
        whole: impl FnOnce(&Interval<T>) -> Whole,
    ) -> T {
        let interval = actual();
        let len = interval.end - interval.start;
        let Whole { inside, sign, exponent } = whole(&interval);
        if interval.start >= inside {
            self.costs.exponent += bits(len, TOTAL);
        } else {
            self.costs.sign += bits(sign, inside);
            self.costs.exponent += bits(inside, TOTAL) + bits(exponent, sign);
            self.costs.mantissa += bits(len, exponent);
        }
        interval.of
    }

    fn plain(&mut self, value: u64, n_bits: u32) -> u64 {
        self.costs.plain += f64::from(n_bits);
        value
    }
}

impl Structural {
    /// What each piece of a block costs as a structural payload, by field: one entry a piece, one in all for bytes of no tensor.
    /// `encode` may fall back to another codec where such a payload is no gain; the costs are the same.
    ///
    /// # Errors
    /// [`Error::CodecRefuses`] if the type is none of floating-point numbers, or the pieces do not add up to the block.
    pub fn cost_by_field(&self, bytes: &[u8], place: Place<'_>) -> Result<Vec<FieldCosts>, Error> {
        let refuses = |reason| Error::CodecRefuses { codec: CodecId::Structural, reason };
        let format = Format::of(place.dtype).ok_or_else(|| refuses(format!("{} has no fields", place.dtype)))?;
        let cut = Cut::new(place, &format, bytes.len())
            .ok_or_else(|| refuses(format!("the block's tensors do not add up to its {} bytes", bytes.len())))?;
        let mut costs = vec![FieldCosts::default(); cut.pieces.len()];

        let mut code = DescriptionCode::new();
        let mut encoder = Encoder::new();
        let mut descriptions = Vec::new();
        let mut len_before = 0;
        let (bytes, steps) = without_steps(bytes, &format, &cut);
        for ((CutPiece { place, view, reference }, costs), step) in cut.pieces.iter().zip(&mut costs).zip(&steps) {
            if format.is_single() {
                DescriptionCode::encode_step(&mut encoder, *step);
            }
            let description = describe(self.kernels, format, *view, &bytes[place.clone()], *reference, self.effort());
            code.encode(&mut encoder, &format, &description);
            descriptions.push(description);
            let len = encoder.clone().finish().len();
            costs.side_information = 8.0 * (len as f64 - len_before as f64);
            len_before = len;
        }

        let filters = filters(self.kernels, &descriptions, &cut);
        let Matrices { matrices, pieces } = matrices(&descriptions, &filters, &cut, format);
        let n_lanes = (cut.n_values() / MIN_LANE_VALUES).clamp(1, MAX_LANES);
        let by_part: Vec<Vec<(usize, FieldCosts)>> = lanes(&matrices, n_lanes)
            .into_par_iter()
            .map(|parts| {
                self.memory.with_lane(|tables, memory| {
                    let LaneMemory { mixer, values, references } = memory;
                    let mut mixer = Mixer::new(tables, mixer);
                    let cost_of = |(index, part): &(usize, Part<'_>)| {
                        let piece = pieces[*index];
                        gather(part, &bytes[piece.place.clone()], format.n_bytes(), values);
                        gather_reference(part, piece, format.n_bytes(), references);
                        let mut channel = Counting::default();
                        let (mixer, channel_of_part) = (&mut mixer, &mut channel);
                        self.kernels.run(CodePart { part, values, references, mixer, channel: channel_of_part });
                        (piece.place.start, channel.costs)
                    };
                    parts.iter().map(cost_of).collect()
                })
            })
            .collect();
        for (start, more) in by_part.iter().flatten() {
            // Pieces are in order of their places.
            let at = cut.pieces.partition_point(|piece| piece.place.start < *start);
            costs[at].add(more);
        }

        // Pieces without a whole element are none of the cut's; every piece has a tail.
        let mut costs = costs.into_iter().zip(&cut.pieces).peekable();
        let all = cut.tails.iter().map(|tail| {
            let of_piece = costs.next_if(|(_, piece)| piece.place.end == tail.start);
            let mut costs = of_piece.map(|(costs, _)| costs).unwrap_or_default();
            costs.plain += 8.0 * tail.len() as f64;
            costs
        });
        Ok(all.collect())
    }
}

#[cfg(test)]
mod tests {
    use lmgc_tensors::Dtype;

    use super::*;
    use crate::{BlockCodec, BlockInput, NoProgress, Piece};

    /// A sum of two outer products and noise, some of it zero, some of it on a grid.
    fn tensor(n_rows: usize, n_cols: usize, is_on_grid: bool) -> Vec<u8> {
        let mut state = 9u64;
        let mut normal = || {
            let mut sum = 0.0f32;
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                sum += (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
            }
            sum
        };
        let u: Vec<f32> = (0..2 * n_rows).map(|_| normal()).collect();
        let v: Vec<f32> = (0..2 * n_cols).map(|_| normal()).collect();
        let values = (0..n_rows * n_cols).map(|at| {
            let (i, j) = (at / n_cols, at % n_cols);
            let x = u[2 * i] * v[2 * j] + u[2 * i + 1] * v[2 * j + 1] + 0.01 * normal();
            let x = if is_on_grid { (x + 1.0) - 1.0 } else { x };
            if i % 5 == 3 && j % 3 > 0 { 0.0 } else { x }
        });
        values.flat_map(f32::to_le_bytes).collect()
    }

    #[test]
    fn fields_add_up_to_the_payload() {
        let parts =
            [tensor(40, 300, false), vec![], tensor(700, 30, true), vec![0; 400], vec![1, 2, 3], tensor(1, 50, false)];
        let shapes: [&[u64]; 6] = [&[40, 300], &[0], &[700, 30], &[100], &[1], &[50]];
        let pieces: Vec<Piece<'_>> = parts
            .iter()
            .zip(shapes)
            .map(|(part, shape)| Piece { shape, start: 0, len: part.len(), reference: None })
            .collect();
        let bytes = parts.concat();
        let place = Place { dtype: Dtype::F32, pieces: &pieces };
        let codec = Structural::default();
        let costs = codec.cost_by_field(&bytes, place).unwrap();
        assert_eq!(costs.len(), pieces.len());
        let encoded = codec.encode(BlockInput { bytes: &bytes, place, is_token_ids: false }, &NoProgress).unwrap();
        assert_eq!(encoded.codec, CodecId::Structural);
        let (sum, len) = (costs.iter().map(FieldCosts::total).sum::<f64>() / 8.0, encoded.payload.len() as f64);
        assert!((sum - len).abs() < 0.01 * len + 64.0, "{sum} {len}");
        for (name, bits) in costs[0].by_name() {
            assert_eq!(bits > 0.0, name != "lowest_bit", "{name} {bits}");
        }
        assert!(costs[2].lowest_bit > 0.0);
        assert_eq!((costs[1].total(), costs[4].total()), (0.0, 24.0));
        assert_eq!(costs[3].total(), costs[3].side_information);
    }

    #[test]
    fn what_has_no_fields_is_refused() {
        let codec = Structural::default();
        assert!(codec.cost_by_field(&[0; 8], Place { dtype: Dtype::I32, pieces: &[] }).is_err());
        let piece = Piece { shape: &[3], start: 0, len: 12, reference: None };
        assert!(codec.cost_by_field(&[0; 8], Place { dtype: Dtype::F32, pieces: &[piece] }).is_err());
        assert_eq!(codec.cost_by_field(&[], Place { dtype: Dtype::F32, pieces: &[] }).unwrap().len(), 1);
    }
}
