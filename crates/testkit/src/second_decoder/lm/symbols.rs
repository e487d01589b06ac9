//! "Symbols": which tokens stand for what.

use super::super::streams::{AdaptiveInteger, RangeDecoder};
use super::super::{Prior, Refusal};
use super::values::Values;

/// The symbols of a block, by ascending ids of their tokens.
pub(super) struct Symbols {
    entries: Vec<Entry>,
}

struct Entry {
    id: u32,
    symbol: u64,
    /// In the table of heads, where there is one.
    class: Option<u32>,
}

impl Symbols {
    pub(super) fn new(values: &Values, side: &[u8], prior: &Prior<'_>) -> Result<Self, Refusal> {
        let tokens: Vec<(u32, &[u8])> =
            (0..prior.n_vocabulary).zip(prior.model.token_bytes()).map(|(id, bytes)| (id, &bytes[..])).collect();
        let mut by_length: Vec<(usize, u32)> =
            tokens.iter().filter(|(_, bytes)| !bytes.is_empty()).map(|&(id, bytes)| (bytes.len(), id)).collect();
        by_length.sort_unstable();

        let too_few = || Refusal::corrupt("fewer tokens than symbols");
        let mut entries = Vec::new();
        if values.has_table() {
            let mut heads = table_of_heads(side, values)?;
            heads.sort_by_key(|&(head, class)| (std::cmp::Reverse(class), head));
            let mut ids = by_length.into_iter();
            for (symbol, class) in heads {
                let (_, id) = ids.next().ok_or_else(too_few)?;
                entries.push(Entry { id, symbol, class: Some(class) });
            }
        } else {
            if !side.is_empty() {
                return Err(Refusal::corrupt("side information of symbols that need none"));
            }
            let mut lacking = Vec::new();
            for symbol in 0..1 << values.symbol_bits() {
                let byte = if values.symbol_bits() == 4 { b"0123456789abcdef"[symbol as usize] } else { symbol as u8 };
                match tokens.iter().find(|(_, bytes)| *bytes == [byte]) {
                    Some(&(id, _)) => entries.push(Entry { id, symbol, class: None }),
                    None => lacking.push(symbol),
                }
            }
            let used: Vec<u32> = entries.iter().map(|entry| entry.id).collect();
            let mut left = by_length.into_iter().filter(|(_, id)| !used.contains(id));
            for symbol in lacking {
                let (_, id) = left.next().ok_or_else(too_few)?;
                entries.push(Entry { id, symbol, class: None });
            }
        }
        entries.sort_by_key(|entry| entry.id);
        Ok(Self { entries })
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Ids of the tokens, ascending.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.entries.iter().map(|entry| entry.id).collect()
    }

    /// A token's id and its symbol.
    pub(super) fn entry(&self, index: usize) -> (u32, u64) {
        let entry = &self.entries[index];
        (entry.id, entry.symbol)
    }

    /// The symbols, in the order of ids, and their classes.
    pub(super) fn classes(&self) -> impl Iterator<Item = (u64, Option<u32>)> {
        self.entries.iter().map(|entry| (entry.symbol, entry.class))
    }
}

/// The heads that occur, ascending, and their classes.
fn table_of_heads(side: &[u8], values: &Values) -> Result<Vec<(u64, u32)>, Refusal> {
    let wrong = || Refusal::corrupt("an invalid table of heads");
    let mut decoder = RangeDecoder::new(side);
    let [mut numbers, mut gaps, mut differences] = [(); 3].map(|()| AdaptiveInteger::NEW);
    let n_heads = decoder.integer(&mut numbers)?;
    let n_possible = 1 << values.symbol_bits();
    if n_heads > n_possible {
        return Err(wrong());
    }
    let mut heads = Vec::new();
    let (mut least, mut class) = (0u64, 0);
    for _ in 0..n_heads {
        let head = least.checked_add(decoder.integer(&mut gaps)?).filter(|&head| head < n_possible);
        let head = head.ok_or_else(wrong)?;
        let difference = decoder.integer(&mut differences)?;
        // Zigzag.
        let difference = (difference >> 1) as i64 ^ -((difference & 1) as i64);
        class =
            i64::from(class).checked_add(difference).filter(|class| (0..160).contains(class)).ok_or_else(wrong)? as u32;
        heads.push((head, class));
        least = head + 1;
    }
    decoder.check_end()?;
    Ok(heads)
}
