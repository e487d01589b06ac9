//! Payloads of codec structural, put together by hand.

use std::collections::HashMap;

use lmgc_codec::CodecId;
use lmgc_tensors::Dtype;

use crate::made::{Made, varint};

/// Writes side information, by section 4 of `docs/structural-format.md`.
struct SideWriter {
    words: Vec<u32>,
    lower: u64,
    range: u64,
    /// Counts of zeros and ones: 64 of lengths, then trees of 8.
    models: HashMap<&'static str, Vec<[u64; 2]>>,
}

impl SideWriter {
    fn new() -> Self {
        Self { words: Vec::new(), lower: 0, range: u64::MAX, models: HashMap::new() }
    }

    fn add(&mut self, difference: u64) {
        let (lower, is_carried) = self.lower.overflowing_add(difference);
        self.lower = lower;
        if is_carried {
            let last = self.words.iter().rposition(|&word| word != u32::MAX).unwrap();
            self.words[last] += 1;
            self.words[last + 1..].fill(0);
        }
    }

    fn put(&mut self, cumulative: u64, frequency: u64) {
        let scale = self.range >> 28;
        self.add(scale * cumulative);
        self.range = scale * frequency;
        if self.range < 1 << 32 {
            self.words.push((self.lower >> 32) as u32);
            self.lower <<= 32;
            self.range <<= 32;
        }
    }

    fn plain(&mut self, value: u64, n_bits: u32) {
        let mut n_left = n_bits;
        while n_left > 0 {
            let n = n_left.min(16);
            n_left -= n;
            let unit = 28 - n;
            self.put((value >> n_left & ((1 << n) - 1)) << unit, 1 << unit);
        }
    }

    fn bit(&mut self, model: &'static str, place: usize, bit: bool) {
        let counts = &mut self.models.entry(model).or_insert_with(|| vec![[1, 1]; 64 + 64 * 8])[place];
        let [zeros, ones] = *counts;
        let split = zeros * ((1 << 28) / (zeros + ones));
        counts[usize::from(bit)] += 2;
        if counts[0] + counts[1] > 1024 {
            *counts = counts.map(|count| count.div_ceil(2));
        }
        let (cumulative, frequency) = if bit { (split, (1 << 28) - split) } else { (0, split) };
        self.put(cumulative, frequency);
    }

    fn integer(&mut self, model: &'static str, value: u64) {
        let n = 64 - value.leading_zeros();
        for i in 0..64.min(n + 1) {
            self.bit(model, i as usize, i < n);
        }
        let Some(below) = n.checked_sub(1) else { return };
        let lead = below.min(3);
        let mut node = 1;
        for i in (below - lead..below).rev() {
            let bit = value >> i & 1;
            self.bit(model, 64 + below as usize * 8 + node, bit == 1);
            node = 2 * node + bit as usize;
        }
        self.plain(value & ((1 << (below - lead)) - 1), below - lead);
    }

    /// Ends with the first number of one word that is in the range, without zeros at the end.
    fn end(mut self) -> Vec<u8> {
        self.add((1 << 32) - 1);
        self.words.push((self.lower >> 32) as u32);
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let n = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(n);
        bytes
    }
}

/// What is said of a piece.
#[derive(Clone)]
pub(crate) struct Side {
    pub(crate) is_single: bool,
    pub(crate) is_double: bool,
    pub(crate) step: Option<u32>,
    pub(crate) kind: u64,
    pub(crate) value: (u64, u32),
    pub(crate) low_bits: u64,
    pub(crate) bias: u64,
    pub(crate) may_be_common: bool,
    pub(crate) lowest: Option<i32>,
    pub(crate) reference_part: Option<i32>,
    /// Of rows, and of samples.
    pub(crate) scales: [Option<Vec<i64>>; 2],
    pub(crate) rank: u64,
    pub(crate) classes: Vec<u64>,
    /// Factor by factor.
    pub(crate) entries: Vec<Vec<i64>>,
}

const SCALE_MODELS: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];
const ENTRY_MODELS: [&str; 32] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", "20",
    "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31",
];

impl Side {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut writer = SideWriter::new();
        let flag = |writer: &mut SideWriter, is_set: bool| writer.plain(is_set.into(), 1);
        if self.is_single {
            flag(&mut writer, self.step.is_some());
            self.step.iter().for_each(|&step| writer.plain(step.into(), 32));
        }
        writer.plain(self.kind, 2);
        if self.kind == 1 {
            writer.plain(self.value.0, self.value.1);
        }
        if self.kind != 0 {
            return writer.end();
        }
        writer.integer("low", self.low_bits);
        if self.is_double {
            writer.plain(self.bias, 11);
        }
        flag(&mut writer, self.may_be_common);
        flag(&mut writer, self.lowest.is_some());
        self.lowest.iter().for_each(|&lowest| writer.plain((lowest + 4096) as u64, 13));
        flag(&mut writer, self.reference_part.is_some());
        self.reference_part.iter().for_each(|&part| writer.plain((part + 128) as u64, 8));
        for (i, scales) in self.scales.iter().enumerate() {
            if i == 1 {
                flag(&mut writer, scales.is_some());
            }
            let (mut before, mut context) = (0, 0);
            for &scale in scales.iter().flatten() {
                let difference = scale - before;
                let zigzag = (difference << 1 ^ difference >> 63) as u64;
                writer.integer(SCALE_MODELS[context], zigzag);
                (before, context) = (scale, (64 - zigzag.leading_zeros()).min(5) as usize);
            }
        }
        writer.integer("rank", self.rank);
        for (&class, entries) in self.classes.iter().zip(&self.entries) {
            writer.integer("class", class);
            for &entry in entries {
                writer.integer(ENTRY_MODELS[class.min(31) as usize], entry.unsigned_abs());
                if entry != 0 {
                    flag(&mut writer, entry < 0);
                }
            }
        }
        writer.end()
    }
}

/// A file of one tensor of two dimensions, whose lanes hold these bytes.
pub(crate) fn made(dtype: Dtype, shape: [u64; 2], side: &[u8], lanes: &[[Vec<u8>; 2]], earlier: Option<&[u8]>) -> Made {
    let mut payload = (side.len() as u32).to_le_bytes().to_vec();
    payload.extend(lanes.iter().flatten().flat_map(|bytes| (bytes.len() as u32).to_le_bytes()));
    payload.extend(side);
    payload.extend(lanes.iter().flatten().flatten());
    let n_bytes = shape[0] * shape[1] * dtype.size_bytes();
    let zeros = vec![0; n_bytes as usize];
    let mut made = Made::of_block(dtype.as_str(), &shape, &zeros, CodecId::Structural, &payload);
    made.blocks[0].n_lanes = lanes.len() as u64;
    if let Some(earlier) = earlier {
        made.tensors.splice(1..2, *b"\x06t00");
        made.settings = settings(&[("reference", &blake3::hash(earlier).to_hex())]);
    }
    made
}

/// An ordinary piece, whose values have no mantissas and so no plain bits.
pub(crate) fn ordinary(dtype: Dtype, n_coordinates: usize) -> Side {
    Side {
        is_single: dtype == Dtype::F32,
        is_double: dtype == Dtype::F64,
        step: None,
        kind: 0,
        value: (0, 0),
        low_bits: match dtype {
            Dtype::F64 => 52,
            Dtype::F32 => 23,
            Dtype::F16 => 10,
            _ => 7,
        },
        bias: 1023,
        may_be_common: false,
        lowest: None,
        reference_part: None,
        scales: [Some(vec![-20; n_coordinates]), None],
        rank: 0,
        classes: Vec::new(),
        entries: Vec::new(),
    }
}

/// Settings of a header.
pub(crate) fn settings(settings: &[(&str, &str)]) -> Vec<u8> {
    let n = settings.len() as u8;
    let string = |string: &str| [&varint(2 * string.len() as u64)[..], string.as_bytes()].concat();
    let settings = settings.iter().flat_map(|(key, value)| [string(key), string(value)].concat());
    [n].into_iter().chain(settings).collect()
}
