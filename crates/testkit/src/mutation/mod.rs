//! Random damage: to bytes of any kind, and to `.lmgc` files whose checksums stay right.

mod structure;

pub use structure::mutate_structure;

use crate::bits::Random;
use crate::lmgc_file::push_varint;

/// A number below `n`, or 0 if there is none.
fn below(random: &mut Random, n: usize) -> usize {
    (random.next_u64() % (n.max(1) as u64)) as usize
}

fn one_of<T: Copy, const N: usize>(random: &mut Random, items: [T; N]) -> T {
    items[below(random, N)]
}

/// A range of up to `max_len` bytes within `len`.
fn range(random: &mut Random, len: usize, max_len: usize) -> std::ops::Range<usize> {
    let start = below(random, len);
    start..(start + 1 + below(random, max_len)).min(len)
}

/// Numbers at which integers of some width or form, or this format's limits, end.
const EDGES: [u64; 24] = [
    0,
    1,
    2,
    3,
    4,
    16,
    127,
    128,
    255,
    256,
    511,
    4096,
    16_383,
    16_384,
    65_535,
    65_536,
    64 << 20,
    (64 << 20) + 1,
    u32::MAX as u64,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// A number that is unlike `old`, or hardly.
fn other_number(random: &mut Random, old: u64) -> u64 {
    match below(random, 8) {
        0 => old.wrapping_add(1),
        1 => old.wrapping_sub(1),
        2 => old / 2,
        3 => old.wrapping_mul(2),
        4 => old ^ 1 << below(random, 64),
        5 => random.next_u64() >> below(random, 64),
        _ => one_of(random, EDGES),
    }
}

/// Damages bytes at random, in one to four steps, and says how: the kind of the only step, or `several`. Ranges of `donors` may
/// come in.
pub fn mutate_bytes(bytes: &mut Vec<u8>, random: &mut Random, donors: &[&[u8]]) -> &'static str {
    let n_steps = one_of(random, [1, 1, 1, 2, 3, 4]);
    let kinds: Vec<_> = (0..n_steps).map(|_| mutate_once(bytes, random, donors)).collect();
    if let [kind] = *kinds { kind } else { "several" }
}

fn mutate_once(bytes: &mut Vec<u8>, random: &mut Random, donors: &[&[u8]]) -> &'static str {
    let len = bytes.len();
    match below(random, 12) {
        0 | 1 => {
            let burst = range(random, len, 8);
            for _ in 0..1 + below(random, 16) {
                if let Some(byte) = bytes.get_mut(burst.start + below(random, burst.len())) {
                    *byte ^= 1 << below(random, 8);
                }
            }
            "burst of flips"
        }
        2 | 3 => {
            let any = random.next_u64() as u8;
            let value = one_of(random, [0, 1, 0x7f, 0x80, 0xfe, 0xff, any]);
            let max_len = one_of(random, [1, 1, 4, 32]);
            bytes[range(random, len, max_len)].fill(value);
            "overwriting"
        }
        4 => {
            let number = other_number(random, 0).to_le_bytes();
            let at = below(random, len);
            for (byte, new) in bytes.iter_mut().skip(at).zip(&number[..1 << below(random, 4)]) {
                *byte = *new;
            }
            "integer"
        }
        5 => {
            let mut number = Vec::new();
            push_varint(&mut number, other_number(random, 0));
            match below(random, 4) {
                0 => number = vec![0xff; 10],
                1 => number.extend([0x80, 0]),
                _ => {}
            }
            let at = below(random, len);
            let replaced = if below(random, 2) == 0 { 1 } else { number.len() };
            bytes.splice(at..(at + replaced).min(len), number);
            "varint"
        }
        6 => {
            let max_len = one_of(random, [1, 8, 64, len / 2]);
            bytes.drain(range(random, len, max_len));
            "deletion"
        }
        7 => {
            let max_len = one_of(random, [1, 8, 64, 1000]);
            let n_new = 1 + below(random, max_len);
            let new =
                if below(random, 2) == 0 { random.bytes(n_new) } else { vec![bytes.first().map_or(0, |&b| b); n_new] };
            let at = below(random, len + 1);
            bytes.splice(at..at, new);
            "insertion"
        }
        8 => {
            let copy = bytes[range(random, len, 64)].to_vec();
            let at = below(random, len + 1);
            let replaced = if below(random, 2) == 0 { 0 } else { copy.len() };
            bytes.splice(at..(at + replaced).min(len), copy);
            "duplication"
        }
        9 => {
            let max_len = one_of(random, [4, 64]);
            let n = 1 + below(random, max_len).min(len / 2);
            let (a, b) = (below(random, len), below(random, len));
            for i in 0..n {
                if a + i < len && b + i < len {
                    bytes.swap(a + i, b + i);
                }
            }
            "swap"
        }
        10 => {
            let donor = donors.get(below(random, donors.len())).copied().unwrap_or_default();
            let at = below(random, len + 1);
            // In a third of cases both files go on from the same place.
            let from = if below(random, 3) == 0 { at.min(donor.len()) } else { below(random, donor.len()) };
            if below(random, 2) == 0 {
                bytes.truncate(at);
                bytes.extend_from_slice(&donor[from..]);
            } else {
                let to = (from + 1 + below(random, 64)).min(donor.len());
                bytes.splice(at..(at + to - from).min(len), donor[from..to].iter().copied());
            }
            "splice"
        }
        _ => {
            bytes.truncate(below(random, len));
            let n_new = below(random, 40);
            bytes.extend(random.bytes(n_new));
            "truncation and more"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_can_be_mutated() {
        let donor: Vec<u8> = (0..100).collect();
        for seed in 0..20_000 {
            let mut random = Random::new(seed);
            let n_bytes = below(&mut random, 90);
            let mut bytes = random.bytes(n_bytes);
            for _ in 0..3 {
                mutate_bytes(&mut bytes, &mut random, &[&donor, &[]]);
            }
        }
    }
}
