//! The fuzz targets of this crate (`fuzz/`) in small.

use std::io::Cursor;

use codec::tiny_model;
use lmgc_codec::baselines::{self, reference_level};
use lmgc_codec::lm::{LmCodec, LmFormat, LmSettings, Mask};
use lmgc_codec::{
    BlockCodec, BlockInput, CodecId, CodecName, CompressOptions, Ensemble, Level, NoProgress, Piece, Place, Reference,
    compress, inspect,
};
use lmgc_model::Kernels;
use lmgc_serialize::Format;
use lmgc_tensors::Dtype;
use lmgc_testkit::{
    Random, alternating_tensors, fuzz_seeds, gradient_like, odd_floats, require_fuzz_seed, run_fuzz_target,
};

#[path = "../../../fuzz/src/codec.rs"]
#[expect(unreachable_pub, reason = "there it is a library's module")]
mod codec;
#[path = "../../../fuzz/src/files.rs"]
#[expect(unreachable_pub, reason = "there it is a library's module")]
mod files;

type Target = fn(&[u8]);

/// Target, codec, and how many mutations of a seed are tried: slow ones fewer.
const BLOCKS: [(&str, Target, CodecId, usize); 19] = [
    ("block_raw", codec::block_raw, CodecId::Raw, 200),
    ("block_zstd", codec::block_zstd, CodecId::Zstd, 500),
    ("block_split_zstd", codec::block_split_zstd, CodecId::SplitZstd, 500),
    ("block_gzip", codec::block_gzip, CodecId::Gzip, 500),
    ("block_lzma", codec::block_lzma, CodecId::Lzma, 100),
    ("block_bzip2", codec::block_bzip2, CodecId::Bzip2, 200),
    ("block_brotli", codec::block_brotli, CodecId::Brotli, 100),
    ("block_split_xz", codec::block_split_xz, CodecId::SplitXz, 100),
    ("block_bitshuffle_zstd", codec::block_bitshuffle_zstd, CodecId::BitshuffleZstd, 500),
    ("block_png", codec::block_png, CodecId::Png, 500),
    ("block_flac", codec::block_flac, CodecId::Flac, 300),
    ("block_fpzip", codec::block_fpzip, CodecId::Fpzip, 300),
    ("block_pco", codec::block_pco, CodecId::Pco, 300),
    ("block_fields0", codec::block_fields0, CodecId::Fields0, 300),
    ("block_zfp", codec::block_zfp, CodecId::Zfp, 500),
    ("block_structural", codec::block_structural, CodecId::Structural, 100),
    ("block_fast", codec::block_fast, CodecId::Fast, 500),
    ("block_lm", codec::block_lm, CodecId::Lm, 20),
    ("block_ensemble", codec::block_ensemble, CodecId::Ensemble, 20),
];

/// The bytes that an input of a block's target begins with.
#[derive(Clone, Copy)]
struct Choices {
    /// Direction, token ids, reference, number of pieces: see the module of the targets.
    flags: u8,
    dtype: Dtype,
    /// The last dimension; the first follows from the length.
    row: u8,
    /// Format, window, options and group of the language model, by position.
    lm: [u8; 4],
}

const ENCODE: u8 = 1;
const ONE_PIECE: u8 = 1 << 3 | 1 << 5;
const DEFAULT: Choices = Choices { flags: ONE_PIECE, dtype: Dtype::F32, row: 8, lm: [0, 3, 1, 3] };

impl Choices {
    fn bytes(self, raw_len: usize, n_lanes: u16) -> [u8; 16] {
        let dtype = Dtype::ALL.iter().position(|&dtype| dtype == self.dtype).unwrap() as u8;
        let ([len_0, len_1], [lanes_0, lanes_1]) = ((raw_len as u16).to_le_bytes(), n_lanes.to_le_bytes());
        let [format, window, options, group] = self.lm;
        let (flags, row) = (self.flags, self.row);
        [flags, dtype, len_0, len_1, lanes_0, lanes_1, 2, 0, row, 0, 0, 0, format, window, options, group]
    }

    fn encode_seed(self, bytes: &[u8]) -> Vec<u8> {
        [&Self { flags: self.flags | ENCODE, ..self }.bytes(0, 4), bytes].concat()
    }

    /// A payload to decode; `None` where another codec took the block.
    fn decode_seed(self, codec: &dyn BlockCodec, id: CodecId, bytes: &[u8]) -> Option<Vec<u8>> {
        let shape = [(bytes.len() as u64 / self.dtype.size_bytes()) / u64::from(self.row), self.row.into()];
        let pieces = [Piece { shape: &shape, start: 0, len: bytes.len(), reference: None }];
        let place = Place { dtype: self.dtype, pieces: &pieces };
        let encoded = codec.encode(BlockInput { bytes, place, is_token_ids: false }, &NoProgress).ok()?;
        let choices = self.bytes(bytes.len(), encoded.n_lanes);
        (encoded.codec == id).then(|| [&choices, &encoded.payload[..]].concat())
    }
}

/// Rows whose values are far from zero by turns, so that a reader of classes foresees them.
fn rows(n_rows: usize) -> Vec<u8> {
    let mut random = Random::new(5);
    let mut sign = 1.0;
    (0..n_rows * 8)
        .flat_map(|_| {
            sign = -sign;
            ((1.0 + 0.25 * random.next_normal()) * sign).to_le_bytes()
        })
        .collect()
}

fn contents() -> Vec<(&'static str, Choices, Vec<u8>)> {
    let odd: Vec<u8> = odd_floats().iter().flat_map(|value| value.to_le_bytes()).collect();
    let half: Vec<u8> = rows(16).chunks_exact(4).flat_map(|value| [value[2], value[3]]).collect();
    let doubles: Vec<u8> = (0..64).flat_map(|i| (f64::from(i).sqrt() - 4.0).to_le_bytes()).collect();
    vec![
        ("gradient", DEFAULT, gradient_like(1, 512)),
        ("rows", DEFAULT, rows(32)),
        ("odd", DEFAULT, odd),
        ("f64", Choices { dtype: Dtype::F64, row: 4, ..DEFAULT }, doubles),
        ("bf16", Choices { dtype: Dtype::BF16, ..DEFAULT }, half),
        ("i32", Choices { dtype: Dtype::I32, ..DEFAULT }, (0..100u32).flat_map(|i| (i * i).to_le_bytes()).collect()),
        ("zeros", DEFAULT, vec![0; 600]),
        ("bytes", Choices { dtype: Dtype::U8, ..DEFAULT }, b"a text of bytes and of more bytes, and more".to_vec()),
    ]
}

fn write_plain_blocks() {
    for (target, _, id, _) in BLOCKS.into_iter().filter(|(.., id, _)| !id.needs_model()) {
        let codec = baselines::codec(id, reference_level(id)).unwrap();
        for (name, choices, bytes) in contents() {
            if let Some(seed) = choices.decode_seed(&*codec, id, &bytes) {
                require_fuzz_seed(target, name, &seed);
            }
        }
        let (gradient, rows) = (gradient_like(4, 301), rows(20));
        require_fuzz_seed(target, "encode", &DEFAULT.encode_seed(&gradient));
        // Two pieces, which are parts, with a reference.
        let pieces = Choices { flags: 1 << 2 | 2 << 3 | 1 << 5 | 1 << 6, ..DEFAULT };
        require_fuzz_seed(target, "encode_pieces", &pieces.encode_seed(&rows));
    }
}

fn write_lm_blocks() {
    let bytes = gradient_like(1, 160);
    let symbols = Format::ALL.len() as u8;
    // Format, window, options and group by position, and what they mean.
    let settings = |format, window_tokens| LmSettings { format, window_tokens, ..LmSettings::default() };
    let nibbles = settings(LmFormat::Nibbles, 64);
    for (name, lm, settings) in [
        ("hex_space", [position(Format::HexSpace), 3, 1, 3], settings(Format::HexSpace.into(), 64)),
        ("iso", [position(Format::Iso), 5, 0, 3], LmSettings { mask: Mask::None, ..settings(Format::Iso.into(), 256) }),
        (
            "grammar",
            [position(Format::HexComma), 4, 2, 3],
            LmSettings { mask: Mask::Grammar, ..settings(Format::HexComma.into(), 100) },
        ),
        ("nibbles", [symbols, 3, 1 | 3 << 2, 3], LmSettings { lm_bits: Some(12), ..nibbles }),
        (
            "bytes_mixed",
            [symbols + 1, 3, 1 | 4 << 2 | 1 << 5 | 2 << 6, 3],
            LmSettings { lm_bits: Some(16), mix: true, overlap_tokens: 20, ..settings(LmFormat::Bytes, 64) },
        ),
        (
            "exponents_mixed",
            [symbols + 2, 3, 1 | 1 << 5, 3],
            LmSettings { mix: true, ..settings(LmFormat::Exponents, 64) },
        ),
    ] {
        let codec = LmCodec::new(tiny_model(), settings, Kernels::detect()).unwrap();
        let choices = Choices { lm, ..DEFAULT };
        let seed = choices.decode_seed(&codec, CodecId::Lm, &bytes).unwrap();
        require_fuzz_seed("block_lm", name, &seed);
        require_fuzz_seed("block_lm", &format!("{name}_encode"), &choices.encode_seed(&bytes[..100]));
    }
    let lm = LmCodec::new(tiny_model(), LmSettings { window_tokens: 64, ..Default::default() }, Kernels::detect());
    let lm = lm.unwrap();
    let ensemble = Ensemble::new(Level::default(), &lm).unwrap();
    for (name, choices, bytes) in contents() {
        let bytes = &bytes[..bytes.len().min(600)];
        // The model does not pay on so little; a payload of structural makes a start.
        let structural = baselines::codec(CodecId::Structural, 5).unwrap();
        let seed = choices.decode_seed(&ensemble, CodecId::Ensemble, bytes);
        if let Some(seed) = seed.or_else(|| choices.decode_seed(&*structural, CodecId::Structural, bytes)) {
            require_fuzz_seed("block_ensemble", name, &seed);
        }
    }
    require_fuzz_seed("block_ensemble", "encode", &DEFAULT.encode_seed(&rows(18)));
}

fn position(format: Format) -> u8 {
    Format::ALL.iter().position(|&other| other == format).unwrap() as u8
}

fn pack(original: &[u8], options: &CompressOptions<'_>) -> Vec<u8> {
    let mut packed = Vec::new();
    compress(&mut Cursor::new(original), &mut packed, options, &NoProgress).unwrap();
    packed
}

fn write_files() {
    let original = alternating_tensors(2, 3, 480);
    for codec in CodecName::all().filter(|codec| !codec.needs_model()) {
        let is_for_f32 = matches!(codec, CodecName::One(CodecId::Fpzip | CodecId::Zfp));
        let original = if is_for_f32 { alternating_tensors(2, 1, 480) } else { original.clone() };
        let packed = pack(&original, &CompressOptions { codec, ..Default::default() });
        require_fuzz_seed("lmgc_file", &codec.to_string(), &packed);
    }
    let reference = Reference::new(Cursor::new(files::reference_file())).unwrap();
    let options = CompressOptions {
        codec: CodecName::One(CodecId::Structural),
        reference: Some(&reference),
        ..Default::default()
    };
    require_fuzz_seed("lmgc_file", "reference", &pack(&files::reference_file(), &options));
    require_fuzz_seed("lmgc_file", "empty", &pack(&[], &CompressOptions::default()));
    for (name, settings) in [
        ("lm", LmSettings { window_tokens: 64, ..Default::default() }),
        ("lm_bytes", LmSettings { format: LmFormat::Bytes, window_tokens: 64, mix: true, ..Default::default() }),
    ] {
        let lm = LmCodec::new(tiny_model(), settings, Kernels::detect()).unwrap();
        let options = CompressOptions { codec: CodecName::One(CodecId::Lm), lm: Some(&lm), ..Default::default() };
        require_fuzz_seed("lmgc_file", name, &pack(&alternating_tensors(3, 2, 64), &options));
    }
    require_fuzz_seed("journal", "whole", &files::journal_seed());
}

#[test]
fn mutated_blocks_are_decoded_or_refused() {
    write_plain_blocks();
    write_lm_blocks();
    for (name, target, _, n_mutations) in BLOCKS {
        run_fuzz_target(name, target, &[], n_mutations);
    }
}

#[test]
fn mutated_files_are_decoded_or_refused() {
    write_files();
    let seeds = fuzz_seeds("lmgc_file");
    run_fuzz_target("lmgc_file", files::lmgc_file, &[], 20);
    run_fuzz_target("lmgc_file_repaired", files::lmgc_file_repaired, &seeds, 200);
    run_fuzz_target("salvage", files::salvage, &seeds, 40);
    run_fuzz_target("journal", files::journal, &[], 50);
}

#[test]
fn seeds_are_files() {
    for (name, seed) in fuzz_seeds("lmgc_file") {
        assert!(inspect(Cursor::new(seed)).is_ok(), "{name}");
    }
}
