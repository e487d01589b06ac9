//! One lane's stream: the model's probabilities as they are, those of the symbols that can come, or blended.

use std::sync::Arc;

use lmgc_coder::{
    BINARY_PRECISION_BITS, BinaryDecoder, BinaryEncoder, Decoder, Encoder, FrequencyTable, Interval, PRECISION_BITS,
    interval_from_weights,
};
use lmgc_model::{Kernels, OutputLayer};

use super::blend::{Blend, BlendPlan};
use super::grammar::Texts;
use crate::Error;

/// Which symbols can come, and what says how likely they are.
#[derive(Clone)]
pub(super) enum Legal<'a> {
    /// All of the output layer's, by the model.
    All,
    /// Those that the texts can have there, by the model; with the place before each token, or before each lane.
    At(Texts<'a>, &'a [u64]),
    /// All, by the model and others.
    Blended(Arc<BlendPlan>),
}

impl Legal<'_> {
    /// The same for some of the tokens.
    pub(super) fn within(&self, tokens: std::ops::Range<usize>) -> Self {
        match self {
            Self::At(texts, places) => Self::At(*texts, &places[tokens]),
            other => other.clone(),
        }
    }
}

/// What the coder needs of a row of logits.
pub(super) enum Row {
    Interval(Interval),
    /// The model's weights of all symbols, and the symbol.
    Weights(Vec<u32>, usize),
}

impl Row {
    /// From a row's logits, the symbol that comes, and how many tokens of the lane (by `legal`) come before.
    pub(super) fn new(
        kernels: Kernels,
        logits: &[f32],
        symbol: usize,
        legal: &Legal<'_>,
        at: usize,
    ) -> Result<Self, Error> {
        let weights = |logits: &[f32]| {
            let mut weights = vec![0; logits.len()];
            kernels.logit_weights(logits, &mut weights);
            weights
        };
        Ok(match legal {
            Legal::All => Self::Interval(interval_from_weights(&weights(logits), symbol)),
            Legal::At(texts, places) => {
                let symbols = texts.symbols_at(places[at]);
                let among = symbols.binary_search(&(symbol as u32));
                let among = among.map_err(|_| Error::corrupt_block("a token that the grammar does not have here"))?;
                let logits: Vec<f32> = symbols.iter().map(|&symbol| logits[symbol as usize]).collect();
                Self::Interval(interval_from_weights(&weights(&logits), among))
            }
            Legal::Blended(_) => Self::Weights(weights(logits), symbol),
        })
    }
}

/// Writes a lane.
pub(super) enum LaneEncoder {
    Plain(Encoder),
    Blended(BinaryEncoder, Box<Blend>),
}

impl LaneEncoder {
    pub(super) fn new(legal: &Legal<'_>) -> Self {
        match legal {
            Legal::Blended(plan) => Self::Blended(BinaryEncoder::new(), Box::new(Blend::new(plan.clone()))),
            _ => Self::Plain(Encoder::new()),
        }
    }

    /// Gives back what it costs by its probability, in bits.
    pub(super) fn push(&mut self, row: Row) -> f64 {
        match (self, row) {
            (Self::Plain(encoder), Row::Interval(interval)) => {
                encoder.encode(interval);
                f64::from(PRECISION_BITS) - f64::from(interval.frequency()).log2()
            }
            (Self::Blended(encoder, blend), Row::Weights(weights, symbol)) => {
                // The decisions' probabilities multiplied: a symbol has too few bits for it to vanish.
                let mut likelihood = 1.0;
                blend.code(&weights, symbol, |bit, probability| {
                    encoder.encode(bit, probability);
                    let one = f64::from(probability) / f64::from(1u32 << BINARY_PRECISION_BITS);
                    likelihood *= if bit { one } else { 1.0 - one };
                    bit
                });
                -f64::log2(likelihood)
            }
            _ => unreachable!("a lane's rows are of its kind"),
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        match self {
            Self::Plain(encoder) => encoder.finish(),
            Self::Blended(encoder, _) => encoder.finish(),
        }
    }
}

enum Stream<'a> {
    Plain(Decoder<'a>),
    Blended(BinaryDecoder<'a>, Box<Blend>),
}

/// Reads a lane.
pub(super) struct LaneDecoder<'a> {
    stream: Stream<'a>,
    weights: Vec<u32>,
    table: FrequencyTable,
    /// Characters of text so far.
    place: u64,
}

impl<'a> LaneDecoder<'a> {
    /// The decoder of lane number `lane`.
    pub(super) fn new(stream: &'a [u8], legal: &Legal<'_>, lane: usize) -> Self {
        let place = match legal {
            Legal::At(_, places) => places.get(lane).copied().unwrap_or(0),
            _ => 0,
        };
        let stream = match legal {
            Legal::Blended(plan) => Stream::Blended(BinaryDecoder::new(stream), Box::new(Blend::new(plan.clone()))),
            _ => Stream::Plain(Decoder::new(stream)),
        };
        Self { stream, weights: Vec::new(), table: FrequencyTable::new(), place }
    }

    /// The next symbol.
    pub(super) fn next(&mut self, kernels: Kernels, logits: &[f32], legal: &Legal<'_>) -> Result<usize, Error> {
        let Legal::At(texts, _) = legal else { return self.symbol(kernels, logits) };
        let symbols = texts.symbols_at(self.place);
        if symbols.is_empty() {
            return Err(Error::corrupt_block("tokens go on after all texts"));
        }
        let logits: Vec<f32> = symbols.iter().map(|&symbol| logits[symbol as usize]).collect();
        let symbol = symbols[self.symbol(kernels, &logits)?];
        self.place = texts.after(self.place, symbol).unwrap_or(self.place);
        Ok(symbol as usize)
    }

    /// The next symbol, one of those with these logits.
    fn symbol(&mut self, kernels: Kernels, logits: &[f32]) -> Result<usize, Error> {
        self.weights.resize(logits.len(), 0);
        kernels.logit_weights(logits, &mut self.weights);
        match &mut self.stream {
            Stream::Plain(decoder) => {
                self.table.set_from_weights(&self.weights);
                Ok(decoder.decode(&self.table)?)
            }
            Stream::Blended(decoder, blend) => {
                Ok(blend.code(&self.weights, 0, |_, probability| decoder.decode(probability)))
            }
        }
    }

    /// Checks that the stream ends here.
    pub(super) fn finish(self) -> Result<(), Error> {
        match self.stream {
            Stream::Plain(decoder) => Ok(decoder.finish()?),
            Stream::Blended(decoder, _) => Ok(decoder.finish()?),
        }
    }
}

/// The symbol of a token id in an output layer.
pub(super) fn symbol_of(output: &OutputLayer, id: u32, vocab_size: usize) -> Result<usize, Error> {
    Ok(output.symbol_of(id).ok_or(lmgc_model::Error::TokenOutOfRange { id, vocab_size })?)
}
