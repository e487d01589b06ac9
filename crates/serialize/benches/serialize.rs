//! `cargo bench -p lmgc-serialize`: bytes to text and back, a chunk of 512 bytes at a time and 1 MiB at once. Bytes are those
//! of the data, not of the text.

use divan::Bencher;
use divan::counter::BytesCount;
use lmgc_serialize::{BytesPerGroup, CHUNK_BYTES, Format, Serializer};

fn main() {
    divan::main();
}

const FORMATS: [&str; 5] = ["hex-none", "hex-space", "hex-comma+space", "iso", "iso-space"];
const SIZES: [usize; 2] = [CHUNK_BYTES, 1 << 20];

/// Groups of four bytes, as f32 has them.
fn serializer(format: &str) -> Serializer {
    Serializer::new(format.parse().unwrap_or(Format::HexNone), BytesPerGroup::default())
}

/// Random bytes (xorshift, Marsaglia, 2003).
fn data(n_bytes: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 56) as u8
    };
    (0..n_bytes).map(|_| next()).collect()
}

#[divan::bench(args = FORMATS, consts = SIZES)]
fn serialize<const BYTES: usize>(bencher: Bencher<'_, '_>, format: &str) {
    let (serializer, data) = (serializer(format), data(BYTES));
    let mut text = String::new();
    bencher.counter(BytesCount::new(BYTES)).bench_local(|| {
        text.clear();
        serializer.serialize_into(&data, &mut text);
        text.len()
    });
}

#[divan::bench(args = FORMATS, consts = SIZES)]
fn deserialize<const BYTES: usize>(bencher: Bencher<'_, '_>, format: &str) {
    let serializer = serializer(format);
    let text = serializer.serialize(&data(BYTES));
    bencher.counter(BytesCount::new(BYTES)).bench_local(|| serializer.deserialize(&text));
}
