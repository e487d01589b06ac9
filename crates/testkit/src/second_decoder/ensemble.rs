//! Codec 19, by `docs/structural-format.md`, section 15.

use super::structural::{self, squash, stretch};
use super::{Block, LanguageModel, Prior, Refusal};

pub(super) fn decode(block: &Block<'_>, prior: &Prior<'_>) -> Result<Vec<u8>, Refusal> {
    structural::decode_with(block, Some(&Advisor::new(prior)?))
}

/// Classes of values: 16 for the places of intervals, and the commonest value.
const CLASSES: usize = 17;
const COMMON: usize = 16;
/// Samples side by side.
const SAMPLES: usize = 16;

/// What a language model says in a lane, and how far that is trusted.
#[derive(Clone)]
pub(super) struct Advisor<'a> {
    model: &'a dyn LanguageModel,
    start_token: u32,
    /// Each class's token.
    tokens: [u32; CLASSES],
    /// Tokens in a window.
    window: u64,
    /// The next row's number in its part.
    row: u64,
    sequences: [Vec<u32>; SAMPLES],
    /// The last value of each sample.
    classes: [usize; SAMPLES],
    /// Of each sample, for the row that is being decoded.
    weights: [[u32; CLASSES]; SAMPLES],
    /// Trust in decisions of the tree, of which the first is not used, and in what is said of the commonest value.
    nodes: [Trust; 16],
    known: Trust,
}

#[derive(Clone, Copy, Default)]
struct Trust {
    a: f32,
    b: f32,
}

/// A decision of the tree.
#[derive(Clone, Copy, Default)]
struct Said {
    opinion: f32,
    /// Of a one, in 1 / 2^16.
    p: u32,
}

impl<'a> Advisor<'a> {
    /// Intervals are parts of 2^24.
    pub(super) const WHOLE_BITS: u32 = 24;

    fn new(prior: &Prior<'a>) -> Result<Self, Refusal> {
        let window = prior.settings.get("window").and_then(|window| window.parse().ok()).unwrap_or(0);
        if window < 2 {
            return Err(Refusal::corrupt("codec ensemble needs a window of 2 tokens or more"));
        }
        Ok(Self {
            model: prior.model,
            start_token: prior.start_token,
            tokens: tokens(prior.model.token_bytes())?,
            window,
            row: 0,
            sequences: Default::default(),
            classes: [0; SAMPLES],
            weights: [[0; CLASSES]; SAMPLES],
            nodes: [Trust::default(); 16],
            known: Trust::default(),
        })
    }

    pub(super) fn begin_part(&mut self) {
        self.row = 0;
    }

    /// "What the model reads", for a row of `n` samples.
    pub(super) fn begin_row(&mut self, n: usize) -> Result<(), Refusal> {
        let is_first = self.row.is_multiple_of(self.window - 1);
        self.row += 1;
        if is_first {
            self.sequences = Default::default();
        }
        let mut ids = self.tokens;
        ids.sort_unstable();
        for ((sequence, &class), weights) in self.sequences.iter_mut().zip(&self.classes).zip(&mut self.weights).take(n)
        {
            sequence.push(if is_first { self.start_token } else { self.tokens[class] });
            let by_id = self.model.weights(sequence, &ids);
            for (weight, token) in weights.iter_mut().zip(self.tokens) {
                let place = ids.binary_search(&token).ok();
                *weight = place
                    .and_then(|place| by_id.get(place).copied())
                    .ok_or_else(|| Refusal::corrupt("the model does not know a token"))?;
            }
        }
        Ok(())
    }

    /// "The zero question": the probability of a one, where counters say `p`.
    pub(super) fn zero(&self, p: u32, t: usize) -> u32 {
        let (p, f) = (u64::from(p), u64::from(self.known.believe(self.zero_opinion(t))));
        let both = p * f;
        let neither = ((1 << 16) - p) * ((1 << 16) - f);
        ((both << 16) / (both + neither)).clamp(1, 65535) as u32
    }

    pub(super) fn learn_zero(&mut self, p: u32, answer: bool, t: usize) {
        let opinion = self.zero_opinion(t);
        self.known.learn(Said { opinion, p }, answer);
        if answer {
            self.classes[t] = COMMON;
        }
    }

    fn zero_opinion(&self, t: usize) -> f32 {
        let weights = self.weights[t].map(u64::from);
        opinion(weights[COMMON], weights.iter().sum())
    }

    /// What is said in the 15 nodes of the tree.
    fn tree(&self, t: usize) -> [Said; 16] {
        let mut weights = [0; 32];
        for (leaf, &weight) in weights[16..].iter_mut().zip(&self.weights[t]) {
            *leaf = u64::from(weight);
        }
        for k in (1..16).rev() {
            weights[k] = weights[2 * k] + weights[2 * k + 1];
        }
        std::array::from_fn(|k| {
            if k == 0 {
                return Said::default();
            }
            let opinion = opinion(weights[2 * k + 1], weights[k]);
            Said { opinion, p: self.nodes[k].believe(opinion) }
        })
    }

    /// Where classes begin of 2^24, and the end.
    fn starts(&self, t: usize) -> [u64; 17] {
        let tree = self.tree(t);
        let mut starts = [0; 17];
        for class in 0..15 {
            let product: u128 = path(class)
                .map(|(node, bit)| u128::from(if bit { tree[node].p } else { (1 << 16) - tree[node].p }))
                .product();
            let size = (1 << 14) + ((product * ((1 << 24) - (1 << 18))) >> 64) as u64;
            starts[class + 1] = starts[class] + size;
        }
        starts[16] = 1 << 24;
        starts
    }

    /// The place of 2^18 that a place of 2^24 stands for.
    pub(super) fn point(&self, stretched: u64, t: usize) -> u32 {
        let starts = self.starts(t);
        let (mut point, mut beyond) = (0, 1 << 18);
        while beyond - point > 1 {
            let middle = (point + beyond) / 2;
            if at(&starts, middle) <= stretched {
                point = middle;
            } else {
                beyond = middle;
            }
        }
        point
    }

    /// The interval of 2^24 for one of 2^18, which is the value's; learns from it.
    pub(super) fn interval(&mut self, start: u32, end: u32, t: usize) -> (u64, u64) {
        let starts = self.starts(t);
        let class = ((((start + end) / 2) >> 14) as usize).min(15);
        let tree = self.tree(t);
        for (node, bit) in path(class) {
            self.nodes[node].learn(tree[node], bit);
        }
        self.classes[t] = class;
        (at(&starts, start), at(&starts, end))
    }
}

/// "Tokens".
fn tokens(token_bytes: &[Vec<u8>]) -> Result<[u32; CLASSES], Refusal> {
    let own = b"0123456789abcdefz".map(|byte| token_bytes.iter().position(|bytes| bytes[..] == [byte]));
    let mut others: Vec<usize> =
        (0..token_bytes.len()).filter(|id| !token_bytes[*id].is_empty() && !own.contains(&Some(*id))).collect();
    others.sort_by_key(|id| token_bytes[*id].len());
    let mut others = others.into_iter();
    let mut tokens = [0; CLASSES];
    for (token, own) in tokens.iter_mut().zip(own) {
        let id = own.or_else(|| others.next()).ok_or_else(|| Refusal::corrupt("the model has too few tokens"))?;
        *token = id as u32;
    }
    Ok(tokens)
}

/// The nodes on the way to a class, with the answers that lead there.
fn path(class: usize) -> impl Iterator<Item = (usize, bool)> {
    (0..4).map(move |depth| ((16 + class) >> (4 - depth), class >> (3 - depth) & 1 == 1))
}

/// Where a place of 2^18 comes to lie in 2^24.
fn at(starts: &[u64; 17], x: u32) -> u64 {
    match starts.get((x >> 14) as usize..) {
        Some([start, end, ..]) => start + ((u64::from(x & 0x3fff) * (end - start)) >> 14),
        _ => 1 << 24,
    }
}

/// The opinion of a share of `x` in `y`.
fn opinion(x: u64, y: u64) -> f32 {
    let share = ((x + 1) << 16) / (y + 2);
    stretch((share >> 4) as u32)
}

impl Trust {
    fn believe(self, opinion: f32) -> u32 {
        squash(self.a * opinion + self.b)
    }

    fn learn(&mut self, said: Said, answer: bool) {
        let error = f32::from(u8::from(answer)) - said.p as f32 / 65536.0;
        self.a += 0.002 * error * said.opinion;
        self.b += 0.002 * error;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_without_a_token_of_their_own_take_short_ones() {
        let mut table: Vec<Vec<u8>> = b"0123456789abcde".iter().map(|&byte| vec![byte]).collect();
        table
            .splice(0..0, [b"long".to_vec(), Vec::new(), b"zz".to_vec(), b"yy".to_vec(), b"z".to_vec(), b"z".to_vec()]);
        let found = tokens(&table).unwrap();
        assert_eq!(found[..15], std::array::from_fn::<u32, 15, _>(|i| 6 + i as u32));
        // The second token of z is the shortest that is left.
        assert_eq!(found[15..], [5, 4]);
        assert!(tokens(&table[..16]).is_err());
    }

    #[test]
    fn paths_lead_down() {
        let nodes: Vec<(usize, bool)> = path(0b1010).collect();
        assert_eq!(nodes, [(1, true), (3, false), (6, true), (13, false)]);
    }
}
