//! Rounds of interleaved asymmetric numeral systems: integers only, but vector instructions make them fast.
//!
//! What is computed is defined by `lmgc-coder`, which does it one by one. Symbol i of a run belongs to state i mod [`RANS_STATES`].

/// States that take turns.
pub const RANS_STATES: usize = 64;
/// Bits of a slot's number in its context's table; frequencies add up to 2^11.
pub(crate) const SLOT_BITS: u32 = 11;
/// Bytes of the words that a round takes at most.
pub(crate) const ROUND_BYTES: usize = 2 * RANS_STATES;

/// Symbols to decode, from the first on.
///
/// With x the state: slot x mod 2^11 of the symbol's context holds the symbol in bits 0 to 7, its frequency f in bits 8 to 19, and an offset
/// a in bits 20 to 30; the state becomes f * floor(x / 2^11) + a (modulo 2^32), and if that is below 2^16, it is shifted left by 16
/// bits and the next word goes in.
#[derive(Debug)]
pub struct DecodeRounds<'a> {
    /// The states.
    pub states: &'a mut [u32; RANS_STATES],
    /// Words of two bytes, little-endian.
    pub words: &'a [u8],
    /// 2^11 slots of each context.
    pub slots: &'a [u32],
    /// The context of each symbol, modulo their number; empty if all are in the first.
    pub contexts: &'a [u8],
    /// Symbols to be filled in.
    pub symbols: &'a mut [u8],
}

/// Symbols to encode, from the last on.
///
/// With x the state: a symbol's entry holds a multiplier m in bits 0 to 31, the frequency f in bits 32 to 43, the interval's start s in
/// bits 44 to 54, a shift k in bits 55 to 60 and an addend a in bit 61. If x >= 2^21 * f, the lowest 16 bits of x become the word before those
/// that are there, and x is shifted right by 16 bits. With q = floor((x + a) * m / 2^k), which is floor(x / f), the state becomes x + s +
/// q * (2^11 - f).
#[derive(Debug)]
pub struct EncodeRounds<'a> {
    /// The states.
    pub states: &'a mut [u32; RANS_STATES],
    /// Words, those from `n_free` on already there.
    pub words: &'a mut [u16],
    /// Words that are not there yet.
    pub n_free: usize,
    /// The entry of each symbol.
    pub entries: &'a [u64],
    /// Symbols, as numbers of entries, modulo their number.
    pub rounds: &'a [[u16; RANS_STATES]],
}
