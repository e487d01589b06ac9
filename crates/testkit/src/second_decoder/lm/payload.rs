//! The parts of a payload.

use super::super::{Block, Prior, Refusal};
use super::settings::Settings;

/// What tokens stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Bytes,
    Ids,
    Grammar,
    Symbols,
}

pub(super) struct Payload<'a> {
    pub(super) source: Source,
    /// The values' rest; empty where values are not cut.
    pub(super) rest: &'a [u8],
    pub(super) n_tokens: usize,
    /// Size of the format's alphabet.
    n_symbols: u64,
    /// Side information.
    pub(super) side: &'a [u8],
    /// Ascending.
    pub(super) extra_ids: Vec<u32>,
    /// Characters of text in each lane but the last, with source 2.
    pub(super) lane_characters: Vec<usize>,
    pub(super) lanes: Vec<&'a [u8]>,
}

impl<'a> Payload<'a> {
    pub(super) fn read(block: &Block<'a>, settings: &Settings, prior: &Prior<'_>) -> Result<Self, Refusal> {
        let mut bytes = Reader(block.payload);
        let source = match bytes.u8()? {
            0 => Source::Bytes,
            1 => Source::Ids,
            2 => Source::Grammar,
            3 => Source::Symbols,
            _ => return Err(Refusal::corrupt("an unknown source")),
        };
        let rest = if settings.is_cut() && source != Source::Ids { bytes.prefixed()? } else { &[] };
        let n_tokens = bytes.len()?;
        let n_symbols = bytes.varint()?;
        let side = bytes.prefixed()?;
        let extra_ids = extra_ids(&mut bytes, prior.n_vocabulary)?;

        let n_lengths = block.n_lanes.saturating_sub(1);
        let lane_characters = match source {
            Source::Grammar => (0..n_lengths).map(|_| bytes.len()).collect::<Result<_, _>>()?,
            _ => Vec::new(),
        };
        let lengths = (0..n_lengths).map(|_| bytes.len()).collect::<Result<Vec<_>, _>>()?;
        let mut lanes = lengths.into_iter().map(|n| bytes.take(n)).collect::<Result<Vec<_>, _>>()?;
        if block.n_lanes > 0 {
            lanes.push(bytes.0);
        } else if !bytes.0.is_empty() {
            return Err(Refusal::corrupt("bytes after the last lane"));
        }
        Ok(Self { source, rest, n_tokens, n_symbols, side, extra_ids, lane_characters, lanes })
    }

    /// Refuses another size of the alphabet.
    pub(super) fn check_n_symbols(&self, n_symbols: usize) -> Result<(), Refusal> {
        if self.n_symbols == n_symbols as u64 {
            Ok(())
        } else {
            Err(Refusal::corrupt(format!("{} symbols instead of {n_symbols}", self.n_symbols)))
        }
    }
}

fn extra_ids(bytes: &mut Reader<'_>, n_vocabulary: u32) -> Result<Vec<u32>, Refusal> {
    let mut ids = Vec::new();
    let mut least = 0u64;
    for _ in 0..bytes.varint()? {
        let id = least.checked_add(bytes.varint()?).filter(|&id| id < u64::from(n_vocabulary));
        let id = id.ok_or_else(|| Refusal::corrupt("an extra id beyond the vocabulary"))?;
        ids.push(id as u32);
        least = id + 1;
    }
    Ok(ids)
}

/// Bytes that have not been read yet.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], Refusal> {
        let (taken, left) = self.0.split_at_checked(n).ok_or_else(|| Refusal::corrupt("a payload that ends early"))?;
        self.0 = left;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Refusal> {
        Ok(self.take(1)?[0])
    }

    /// Section 2.
    pub(super) fn varint(&mut self) -> Result<u64, Refusal> {
        let mut value = 0;
        for place in 0..10 {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if place == 9 && bits > 1 || place > 0 && byte == 0 {
                break;
            }
            value |= bits << (7 * place);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Refusal::corrupt("an invalid varint"))
    }

    /// A varint that counts what is in memory.
    pub(super) fn len(&mut self) -> Result<usize, Refusal> {
        let n = self.varint()?;
        u32::try_from(n).map(|n| n as usize).map_err(|_| Refusal::corrupt(format!("a length of {n}")))
    }

    /// Bytes after their length.
    pub(super) fn prefixed(&mut self) -> Result<&'a [u8], Refusal> {
        let n = self.len()?;
        self.take(n)
    }
}
