//! The container, and the codecs that need no document of their own.

use std::path::Path;

use lmgc_codec::{CodecId, CompressOptions, Level, NoModels, Reference};
use lmgc_tensors::Dtype;
use lmgc_testkit::second_decoder::{self, Class, Outside};
use lmgc_testkit::{Random, gradient_like, odd_floats};

use crate::made::{Made, assert_alike, only_payload, varint};
use crate::{assert_decodes, assert_same, common, options, safetensors_file, tensors_of, values};

/// The codecs that need no document of their own.
pub(crate) const CODECS: [CodecId; 15] = [
    CodecId::Raw,
    CodecId::Zstd,
    CodecId::SplitZstd,
    CodecId::Gzip,
    CodecId::Lzma,
    CodecId::Bzip2,
    CodecId::Brotli,
    CodecId::SplitXz,
    CodecId::BitshuffleZstd,
    CodecId::Png,
    CodecId::Flac,
    CodecId::Fpzip,
    CodecId::Pco,
    CodecId::Fields0,
    CodecId::Zfp,
];

/// Every codec on an original; those that refuse its types are left out.
fn assert_all_same(original: &[u8]) {
    for codec in CODECS {
        for level in [1, 9] {
            let options = CompressOptions { level: Level::new(level).unwrap(), ..options(codec) };
            let mut packed = Vec::new();
            let mut reader = std::io::Cursor::new(original);
            match lmgc_codec::compress(&mut reader, &mut packed, &options, &lmgc_codec::NoProgress) {
                Ok(_) => {
                    println!("{codec} at level {level}");
                    assert_decodes(&packed, original, &Outside::default());
                }
                Err(lmgc_codec::Error::CodecRefuses { .. }) => {}
                Err(error) => panic!("{codec}: {error}"),
            }
        }
    }
}

#[test]
fn bytes_of_no_type() {
    assert_all_same(&[]);
    assert_all_same(&[7]);
    assert_all_same(&Random::new(1).bytes(10_007));
    assert_all_same(&b"the same again and again, ".repeat(1000));
}

#[test]
fn floats_of_no_type() {
    assert_all_same(&gradient_like(2, 40_003));
}

#[test]
fn tensors_of_many_types() {
    let dtypes = [
        Dtype::F64,
        Dtype::F32,
        Dtype::F16,
        Dtype::BF16,
        Dtype::I64,
        Dtype::I32,
        Dtype::I16,
        Dtype::I8,
        Dtype::U64,
        Dtype::U32,
        Dtype::U16,
        Dtype::U8,
        Dtype::Bool,
        Dtype::F8E4M3,
        Dtype::C64,
    ];
    for dtype in dtypes {
        let tensors: [(&str, Dtype, &[u64]); 5] = [
            ("b", dtype, &[17]),
            ("c", dtype, &[0, 3]),
            ("layer.weight", dtype, &[40, 30]),
            ("scalar", dtype, &[]),
            ("w3", dtype, &[5, 6, 7]),
        ];
        assert_all_same(&safetensors_file(&tensors));
    }
    let all: Vec<(String, Dtype, &[u64])> =
        dtypes.iter().zip(0..).map(|(&dtype, i)| (format!("t{i}"), dtype, [&[9_u64, 11][..], &[100]][i % 2])).collect();
    let all: Vec<(&str, Dtype, &[u64])> = all.iter().map(|(name, dtype, shape)| (&name[..], *dtype, *shape)).collect();
    assert_all_same(&safetensors_file(&all));
}

#[test]
fn shapes() {
    let tensors: [(&str, Dtype, &[u64]); 4] = [
        ("a", Dtype::F32, &[100, 200]),
        ("b", Dtype::F32, &[2, 3, 30, 40]),
        ("c", Dtype::F32, &[2, 2, 3, 20, 30]),
        ("d", Dtype::F64, &[20, 30, 30]),
    ];
    assert_all_same(&safetensors_file(&tensors));
}

#[test]
fn several_chunks_and_blocks() {
    let file = safetensors_file(&[("long", Dtype::F32, &[600_000]), ("wide", Dtype::F64, &[300, 400])]);
    for codec in [CodecId::Pco, CodecId::Fields0, CodecId::Fpzip, CodecId::Zfp] {
        assert_same(&file, &options(codec), &Outside::default());
    }
}

#[test]
fn odd_values() {
    let floats: Vec<u8> = odd_floats().into_iter().flat_map(f32::to_le_bytes).collect();
    let n = floats.len() as u64 / 4;
    let doubles: Vec<u8> = odd_floats().into_iter().flat_map(|value| f64::from(value).to_le_bytes()).collect();
    let entries = [
        ("doubles".to_owned(), Dtype::F64, vec![2, n / 2], &doubles[..]),
        ("floats".to_owned(), Dtype::F32, vec![2, n / 2], &floats[..]),
        ("halves".to_owned(), Dtype::F16, vec![2 * n], &floats[..]),
        ("integers".to_owned(), Dtype::I32, vec![n], &floats[..]),
    ];
    let mut file = Vec::new();
    lmgc_tensors::safetensors::write_to(&mut file, &entries, &Default::default()).unwrap();
    assert_all_same(&file);
}

#[test]
fn files_of_other_programs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tensors");
    let mut n_files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension != "py") {
            assert_all_same(&std::fs::read(path).unwrap());
            n_files += 1;
        }
    }
    assert!(n_files > 20);
}

/// No writer makes numbers with a tail of formats whose tensors have whole elements, but a reader takes them.
#[test]
fn numbers_with_a_tail() {
    let values = values(3, Dtype::F32, 1000);
    let entry = [("w".to_owned(), Dtype::F32, vec![1000], &values[..])];
    let mut file = Vec::new();
    lmgc_tensors::safetensors::write_to(&mut file, &entry, &Default::default()).unwrap();
    let with_tail = [&values[..], b"abc"].concat();
    for codec in [CodecId::Fpzip, CodecId::Pco, CodecId::Fields0, CodecId::Zfp] {
        let (packed, _) = common::pack(&file, &options(codec));
        let payload = only_payload(&packed, codec);
        // Codec fields0 has the tail between the 19 plain bits of each value and the rest.
        let place = if codec == CodecId::Fields0 { 19 * 1000 / 8 } else { payload.len() };
        let payload = [&payload[..place], b"abc", &payload[place..]].concat();
        let packed = Made::of_block("F32", &[1000], &with_tail, codec, &payload).to_bytes();
        assert_eq!(common::unpack(&packed, &NoModels).unwrap(), with_tail, "{codec}");
        assert_decodes(&packed, &with_tail, &Outside::default());
        // Nothing but a tail.
        let payload = if codec == CodecId::Fpzip { &b"\0abc"[..] } else { b"abc" };
        let packed = Made::of_block("F32", &[], b"abc", codec, payload).to_bytes();
        assert_eq!(common::unpack(&packed, &NoModels).unwrap(), b"abc", "{codec}");
        assert_decodes(&packed, b"abc", &Outside::default());
    }
}

#[test]
fn a_reference_must_be_the_right_one() {
    let tensors: [(&str, Dtype, &[u64]); 1] = [("w", Dtype::F32, &[30, 20])];
    let old = safetensors_file(&tensors);
    let new = old.clone();
    let reference = Reference::new(std::io::Cursor::new(old.clone())).unwrap();
    let options = CompressOptions { reference: Some(&reference), ..options(CodecId::Structural) };
    let (packed, _) = common::pack(&new, &options);
    assert!(second_decoder::read(&packed).unwrap().settings.contains_key("reference"));
    let tensors = tensors_of(&old);
    let class_with = |bytes: Option<&[u8]>| {
        let reference = bytes.map(|bytes| second_decoder::Reference { bytes, tensors: &tensors });
        second_decoder::decode(&packed, &Outside { model: None, reference }).unwrap_err().class
    };
    assert_eq!(class_with(None), Class::Reference);
    assert_eq!(class_with(Some(&old[1..])), Class::Reference);
}

#[test]
fn truncation_is_seen_at_every_byte() {
    let packed = assert_same(&small_file(), &options(CodecId::Zstd), &Outside::default());
    let mut damaged: Vec<_> =
        (0..packed.len()).map(|len| (format!("cut to {len} bytes"), packed[..len].to_vec())).collect();
    damaged.push(("a byte more".to_owned(), [&packed[..], &[0]].concat()));
    assert_alike(damaged, 0);
}

#[test]
fn every_flipped_bit_is_seen() {
    let packed = assert_same(&small_file(), &options(CodecId::SplitZstd), &Outside::default());
    let damaged = (0..8 * packed.len()).map(|bit| {
        let mut damaged = packed.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        (format!("bit {} of byte {}", bit % 8, bit / 8), damaged)
    });
    assert_alike(damaged, 0);
}

fn small_file() -> Vec<u8> {
    safetensors_file(&[("a", Dtype::F32, &[10, 7]), ("b", Dtype::I8, &[3]), ("none", Dtype::F16, &[0])])
}

/// Every entry of the table of section 8 is known, under its number.
#[test]
fn the_well_known_strings_are_those_of_the_document() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/format.md");
    let document = std::fs::read_to_string(document).unwrap();
    let (_, table) = document.split_once("<!-- well-known strings -->").unwrap();
    let mut n_entries = 0;
    for row in table.trim_start().lines().take_while(|line| line.starts_with('|')).skip(2) {
        let [_, from, entries, _] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
        assert_eq!(from.trim().parse(), Ok(n_entries));
        for entry in entries.split_whitespace() {
            let file = file_with_setting_value(2 * n_entries + 1);
            assert_eq!(second_decoder::read(&file).unwrap().settings["key"], entry.trim_matches('`'));
            n_entries += 1;
        }
    }
    let refusal = second_decoder::read(&file_with_setting_value(2 * n_entries + 1)).unwrap_err();
    assert_eq!(refusal.class, Class::Unsupported, "{}", refusal.what);
}

/// A file with a setting whose value is a string of this number and nothing more.
fn file_with_setting_value(t: u64) -> Vec<u8> {
    Made { settings: [b"\x01\x06key", &varint(t)[..]].concat(), ..Made::default() }.to_bytes()
}
