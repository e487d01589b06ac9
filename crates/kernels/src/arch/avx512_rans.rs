//! Interleaved asymmetric numeral systems with AVX-512: a register holds 16 states, or 8 where products need their bits.

use core::arch::x86_64::*;

use crate::rans::{DecodeRounds, EncodeRounds, RANS_STATES, ROUND_BYTES, SLOT_BITS};
use crate::simd::LANES;

/// Registers that hold the states.
const RANS_REGISTERS: usize = RANS_STATES / LANES;
/// States in a register of 64-bit numbers.
const WIDE_LANES: usize = 8;

/// See [`crate::Simd::decode_rounds`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
pub(super) fn decode(rounds: DecodeRounds<'_>) -> (usize, usize) {
    let n_contexts = rounds.slots.len() >> SLOT_BITS;
    if !n_contexts.is_power_of_two() || n_contexts << SLOT_BITS != rounds.slots.len() {
        return (0, 0);
    }
    match rounds.contexts.is_empty() {
        true => decode_in::<false>(rounds, 0),
        false => decode_in::<true>(rounds, n_contexts as u32 - 1),
    }
}

/// `slots` must be 2^11 times as many as `context_mask` plus 1.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
fn decode_in<const HAS_CONTEXTS: bool>(rounds: DecodeRounds<'_>, context_mask: u32) -> (usize, usize) {
    let DecodeRounds { states: of_states, words, slots, contexts, symbols } = rounds;
    let (of_states, _) = of_states.as_chunks_mut::<LANES>();
    let mut states = [_mm512_setzero_si512(); RANS_REGISTERS];
    for (state, from) in states.iter_mut().zip(of_states.iter()) {
        // SAFETY: `from` is 64 readable bytes.
        *state = unsafe { _mm512_loadu_si512(from.as_ptr().cast()) };
    }
    let slot_mask = _mm512_set1_epi32((1 << SLOT_BITS) - 1);
    let context_mask = _mm512_set1_epi32(context_mask as i32);
    let frequency_mask = _mm512_set1_epi32(0xfff);
    let low = _mm512_set1_epi32(1 << 16);
    let (of_rounds, _) = symbols.as_chunks_mut::<RANS_STATES>();
    let (mut n_done, mut at) = (0, 0);
    for symbols in of_rounds {
        // A word for each state is there to be loaded.
        if words.len() - at < ROUND_BYTES {
            break;
        }
        for (register, state) in states.iter_mut().enumerate() {
            let x = *state;
            let mut slot = _mm512_and_si512(x, slot_mask);
            if HAS_CONTEXTS {
                let (contexts, _) = contexts[n_done + register * LANES..].split_at(LANES);
                // SAFETY: `contexts` is 16 readable bytes.
                let context = unsafe { _mm_loadu_si128(contexts.as_ptr().cast()) };
                let context = _mm512_and_si512(_mm512_cvtepu8_epi32(context), context_mask);
                slot = _mm512_or_si512(slot, _mm512_slli_epi32::<SLOT_BITS>(context));
            }
            // SAFETY: a slot's number is below 2^11 times the number of contexts, and so many there are.
            let entry = unsafe { _mm512_i32gather_epi32::<4>(slot, slots.as_ptr().cast()) };
            let (_, symbols) = symbols.split_at_mut(register * LANES);
            let (symbols, _) = symbols.split_at_mut(LANES);
            // SAFETY: `symbols` is 16 writable bytes.
            unsafe { _mm_storeu_si128(symbols.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(entry)) };
            let frequency = _mm512_and_si512(_mm512_srli_epi32::<8>(entry), frequency_mask);
            let x = _mm512_mullo_epi32(frequency, _mm512_srli_epi32::<SLOT_BITS>(x));
            let x = _mm512_add_epi32(x, _mm512_srli_epi32::<20>(entry));
            let is_small = _mm512_cmplt_epu32_mask(x, low);
            // SAFETY: at the round's start 2 bytes for each state were left, of which at most `register` times 32 are used.
            let word = unsafe { _mm256_loadu_si256(words.as_ptr().add(at).cast()) };
            let word = _mm512_maskz_expand_epi32(is_small, _mm512_cvtepu16_epi32(word));
            *state = _mm512_or_si512(_mm512_mask_slli_epi32::<16>(x, is_small, x), word);
            at += 2 * is_small.count_ones() as usize;
        }
        n_done += RANS_STATES;
    }
    for (state, to) in states.iter().zip(of_states.iter_mut()) {
        // SAFETY: `to` is 64 writable bytes.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), *state) };
    }
    (n_done, at / 2)
}

/// See [`crate::Simd::encode_rounds`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")]
pub(super) fn encode(rounds: EncodeRounds<'_>) -> Option<usize> {
    let EncodeRounds { states: of_states, words, mut n_free, entries, rounds } = rounds;
    // No round takes more words than it has symbols.
    if !entries.len().is_power_of_two() || rounds.len() * RANS_STATES > n_free || n_free > words.len() {
        return None;
    }
    let (of_states, _) = of_states.as_chunks_mut::<WIDE_LANES>();
    let mut states = [_mm512_setzero_si512(); RANS_STATES / WIDE_LANES];
    for (state, from) in states.iter_mut().zip(of_states.iter()) {
        // SAFETY: `from` is 32 readable bytes.
        *state = _mm512_cvtepu32_epi64(unsafe { _mm256_loadu_si256(from.as_ptr().cast()) });
    }
    let entry_mask = _mm512_set1_epi64(entries.len() as i64 - 1);
    let frequency_mask = _mm512_set1_epi64(0xfff);
    let start_mask = _mm512_set1_epi64(0x7ff);
    let shift_mask = _mm512_set1_epi64(0x3f);
    let total = _mm512_set1_epi64(1 << SLOT_BITS);
    for round in rounds.iter().rev() {
        let (symbols, _) = round.as_chunks::<WIDE_LANES>();
        for (state, symbols) in states.iter_mut().zip(symbols).rev() {
            let x = *state;
            // SAFETY: `symbols` is 16 readable bytes.
            let symbol = _mm512_cvtepu16_epi64(unsafe { _mm_loadu_si128(symbols.as_ptr().cast()) });
            let symbol = _mm512_and_si512(symbol, entry_mask);
            // SAFETY: the mask leaves numbers of entries.
            let entry = unsafe { _mm512_i64gather_epi64::<8>(symbol, entries.as_ptr().cast()) };
            let frequency = _mm512_and_si512(_mm512_srli_epi64::<32>(entry), frequency_mask);
            let start = _mm512_and_si512(_mm512_srli_epi64::<44>(entry), start_mask);
            let shift = _mm512_and_si512(_mm512_srli_epi64::<55>(entry), shift_mask);
            let addend = _mm512_srli_epi64::<61>(entry);
            let is_large = _mm512_cmpge_epu64_mask(_mm512_srli_epi64::<{ 32 - SLOT_BITS }>(x), frequency);
            let n_words = is_large.count_ones() as usize;
            let new_words = _mm512_cvtepi64_epi16(_mm512_maskz_compress_epi64(is_large, x));
            n_free -= n_words;
            // SAFETY: the `n_words` words from `n_free` on are free and in `words`: there were as many free ones as symbols.
            unsafe {
                _mm_mask_storeu_epi16(words.as_mut_ptr().add(n_free).cast(), ((1u32 << n_words) - 1) as u8, new_words);
            }
            let x = _mm512_mask_srli_epi64::<16>(x, is_large, x);
            let quotient = _mm512_srlv_epi64(_mm512_mul_epu32(_mm512_add_epi64(x, addend), entry), shift);
            let product = _mm512_mul_epu32(quotient, _mm512_sub_epi64(total, frequency));
            *state = _mm512_add_epi64(_mm512_add_epi64(x, start), product);
        }
    }
    for (state, to) in states.iter().zip(of_states.iter_mut()) {
        // SAFETY: `to` is 32 writable bytes.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm512_cvtepi64_epi32(*state)) };
    }
    Some(n_free)
}
