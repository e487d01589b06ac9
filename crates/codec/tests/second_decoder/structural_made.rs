//! Payloads of codecs structural and fast that no writer writes: both decoders make the same of them, or refuse them.

use std::io::Cursor;
use std::sync::Arc;

use lmgc_codec::lm::LanguageModel;
use lmgc_codec::{CodecId, Error, ModelRecord, ModelSource, Reference, inspect};
use lmgc_tensors::Dtype;
use lmgc_testkit::LmgcBlock;
use lmgc_testkit::Random;
use lmgc_testkit::second_decoder::{self, Class, Outside, Reference as Other};

use crate::common::OneModel;
use crate::fast::{file_of, rounded, scaled_noise};
use crate::made::{Made, only_payload, raw_block};
use crate::model::Prior;
use crate::side_writer::{Side, made, ordinary};
use crate::structural::FLOATS;
use crate::{assert_same, class, common, options, tensors_of};

/// What the program needs beside a file: the file that it was coded against, and a model.
struct Around<'a>(Option<Reference>, Option<&'a OneModel>);

impl ModelSource for Around<'_> {
    fn model(&self, record: &ModelRecord) -> Result<Arc<LanguageModel>, Error> {
        self.1.ok_or(Error::ModelRequired)?.model(record)
    }

    fn reference(&self) -> Option<&Reference> {
        self.0.as_ref()
    }
}

/// Both decoders refuse a file of one tensor as corrupt, or make the same of it; returns whether they do.
pub(crate) fn is_decoded(made: Made, earlier: Option<&[u8]>, model: Option<(&OneModel, &Prior<'_>)>) -> bool {
    are_alike(made, earlier, model, false)
}

/// As [`is_decoded`], after lanes' plain bits are cut, or filled with zeros, to what the second decoder says that they take.
pub(crate) fn is_decoded_fitted(made: Made, earlier: Option<&[u8]>, model: Option<(&OneModel, &Prior<'_>)>) -> bool {
    are_alike(made, earlier, model, true)
}

fn are_alike(mut made: Made, earlier: Option<&[u8]>, model: Option<(&OneModel, &Prior<'_>)>, fits: bool) -> bool {
    let tables = earlier.map(tensors_of).unwrap_or_default();
    let outside = Outside {
        model: model.map(|(_, prior)| -> &dyn second_decoder::LanguageModel { prior }),
        reference: earlier.map(|bytes| Other { bytes, tensors: &tables }),
    };
    let reference = earlier.map(|earlier| Reference::new(Cursor::new(earlier.to_vec())).unwrap());
    let around = Around(reference, model.map(|(one, _)| one));
    let name = if earlier.is_some() { "t00" } else { "" };
    // With a byte after the tensor, the file's hash is not that of the tensor, which can thus be asked for.
    made.original_len += 1;
    made.blocks.push(raw_block(0, b"!"));
    let mut result = second_decoder::tensor(&made.to_bytes(), name, &outside);
    for _ in 0..made.blocks[0].n_lanes {
        let Some((lane, n_bytes)) = result.as_ref().err().and_then(|refusal| plain_bytes(&refusal.what)) else { break };
        if !fits {
            break;
        }
        resize_plain_bits(&mut made.blocks[0], lane, n_bytes);
        result = second_decoder::tensor(&made.to_bytes(), name, &outside);
    }
    match result {
        Ok(mut bytes) => {
            bytes.push(b'!');
            made.hash = *blake3::hash(&bytes).as_bytes();
            let decoded = common::unpack(&made.to_bytes(), &around).unwrap();
            assert!(decoded == bytes, "{}", crate::first_difference(&decoded, &bytes));
            true
        }
        Err(refusal) => {
            let error = common::unpack(&made.to_bytes(), &around).unwrap_err();
            assert_eq!((refusal.class, class(&error)), (Class::Corrupt, Some(Class::Corrupt)), "{refusal:?}, {error}");
            false
        }
    }
}

/// The lane, and how many bytes of plain bits it takes, if that is why a file was refused.
fn plain_bytes(what: &str) -> Option<(usize, usize)> {
    let (lane, rest) = what.strip_prefix("lane ")?.split_once(" takes ")?;
    let (n_bytes, _) = rest.split_once(" bytes of plain bits")?;
    Some((lane.parse().ok()?, n_bytes.parse().ok()?))
}

fn resize_plain_bits(block: &mut LmgcBlock, lane: usize, n_bytes: usize) {
    let payload = &mut block.payload;
    let number = |i: usize| u32::from_le_bytes(*payload[4 * i..].first_chunk().unwrap()) as usize;
    // After the lengths, those of the side information and of two streams a lane.
    let place = 2 * lane + 2;
    let start = 4 * (1 + 2 * block.n_lanes as usize) + (0..place).map(number).sum::<usize>();
    let end = start + number(place);
    let mut bits = payload[start..end].to_vec();
    bits.resize(n_bytes, 0);
    payload.splice(start..end, bits);
    payload[4 * place..][..4].copy_from_slice(&(n_bytes as u32).to_le_bytes());
}

#[test]
fn damaged_payloads() {
    for codec in [CodecId::Fast, CodecId::Structural] {
        let mut random = Random::new(codec as u64);
        let mut draw = move |n: usize| (random.next_u64() % n as u64) as usize;
        let mut n_decoded = 0;
        for (dtype, n_bytes) in FLOATS.into_iter().zip([8, 4, 2, 2]) {
            for shape in [[40u64, 50], [20, 36], [64, 33], [1, 900]] {
                let mut values = scaled_noise(shape[0], shape[0] as usize, shape[1] as usize, 1.0);
                values.iter_mut().step_by(3).for_each(|value| *value = 0.0);
                let original = rounded(dtype, &values);
                let packed =
                    assert_same(&file_of(&[(dtype, &shape, original.clone())]), &options(codec), &Outside::default());
                let payload = only_payload(&packed, codec);
                let n_lanes = inspect(Cursor::new(&packed)).unwrap().blocks.iter().map(|block| block.n_lanes).max();
                for i in 0..30 {
                    let mut damaged = payload.clone();
                    // Most of what is said comes first.
                    let place = draw(if i % 2 == 0 { damaged.len() } else { damaged.len().min(100) });
                    match i % 5 {
                        0 | 1 => damaged[place] ^= 1 << draw(8),
                        2 => damaged[place] = draw(256) as u8,
                        3 => drop(damaged.remove(place)),
                        _ => damaged.insert(place, draw(256) as u8),
                    }
                    let mut made = Made::of_block(dtype.as_str(), &shape, &vec![0; original.len()], codec, &damaged);
                    made.blocks[0].n_lanes = n_lanes.unwrap().into();
                    n_decoded += usize::from(is_decoded_fitted(made, None, None));
                }
                assert_eq!(original.len() % n_bytes, 0);
            }
        }
        assert!(n_decoded > 50, "{codec:?}: {n_decoded}");
    }
}

/// A file of random side information and lanes, and one that it is coded against.
pub(crate) fn random_file(i: usize) -> (Made, Option<Vec<u8>>) {
    let mut random = Random::new(i as u64);
    let mut draw = move |n: u64| random.next_u64() % n;
    let dtype = FLOATS[i % 4];
    let shape = [[20, 30], [37, 5], [1, 70], [16, 16]][i / 4 % 4];
    let (n_coordinates, n_samples) = match shape {
        [1, columns] => (1, columns),
        [rows, columns] => (rows.min(columns), rows.max(columns)),
    };
    let values = scaled_noise(i as u64, shape[0] as usize, shape[1] as usize, 1.0);
    let earlier = (draw(3) == 0).then(|| file_of(&[(dtype, &shape, rounded(dtype, &values))]));
    let mut side = ordinary(dtype, n_coordinates as usize);
    let mantissa_bits = [52, 23, 10, 7][i % 4];
    if draw(4) == 0 {
        side.step = Some((draw(255) << 23 | draw(1 << 23)) as u32 + (1 << 23));
    }
    side.low_bits = if draw(2) == 0 { draw(mantissa_bits + 1) } else { 0 };
    side.bias = if draw(2) == 0 { draw(2048) } else { 1000 + draw(30) };
    side.may_be_common = draw(2) == 0;
    if draw(2) == 0 {
        side.lowest = Some(if draw(2) == 0 { draw(8192) as i32 - 4096 } else { -40 + draw(40) as i32 });
    }
    if earlier.is_some() && draw(3) != 0 {
        // With more than all of a reference that has values out of f32's range, predictions may be no numbers.
        side.reference_part = Some(if draw(2) == 0 { 64 } else { draw(129) as i32 - 64 });
    }
    let (middle, spread) = if draw(3) == 0 { (0, 561) } else { (-40, 20) };
    let mut scales = |n: u64| Some((0..n).map(|_| middle + draw(2 * spread - 1) as i64 - spread as i64 + 1).collect());
    side.scales = [scales(n_coordinates), None];
    if i.is_multiple_of(3) {
        side.scales[1] = scales(n_samples);
    }
    if i % 5 < 3 {
        side.rank = draw(n_coordinates + 1);
        side.classes = (0..side.rank).map(|_| draw(if i.is_multiple_of(2) { 5 } else { 60 })).collect();
        let mut entry = || draw(19) as i64 - 9;
        side.entries = side.classes.iter().map(|_| (0..n_coordinates).map(|_| entry()).collect()).collect();
    }
    let n_lanes = [1, 1, 1, 2, 3, 4][draw(6) as usize];
    let mut bytes = |n: u64| -> Vec<u8> { (0..draw(n)).map(|_| draw(256) as u8).collect() };
    let lanes: Vec<[Vec<u8>; 2]> = (0..n_lanes).map(|_| [bytes(40 / n_lanes), bytes(30 / n_lanes)]).collect();
    (made(dtype, shape, &side.to_bytes(), &lanes, earlier.as_deref()), earlier)
}

#[test]
fn side_information_of_all_kinds() {
    let decoded = (0..600).filter(|&i| {
        let (made, earlier) = random_file(i);
        is_decoded_fitted(made, earlier.as_deref(), None)
    });
    let n_decoded = decoded.count();
    assert!(n_decoded > 200, "{n_decoded}");
}

#[test]
fn side_information_that_is_wrong() {
    type Change = fn(&mut Side);
    let cases: [(&str, bool, Dtype, Change); 26] = [
        ("ordinary", true, Dtype::F32, |_| {}),
        ("kind 1", true, Dtype::F16, |side| (side.kind, side.value) = (1, (0x1234, 16))),
        ("kind 2 without a reference", false, Dtype::F32, |side| side.kind = 2),
        ("kind 3", false, Dtype::F32, |side| side.kind = 3),
        ("step", true, Dtype::F32, |side| side.step = Some(0x3f80_0001)),
        ("the least step", true, Dtype::F32, |side| side.step = Some(0x0080_0000)),
        ("the largest step", true, Dtype::F32, |side| side.step = Some(0x7f7f_ffff)),
        ("subnormal step", false, Dtype::F32, |side| side.step = Some(0x007f_ffff)),
        ("no step", false, Dtype::F32, |side| side.step = Some(0)),
        ("infinite step", false, Dtype::F32, |side| side.step = Some(0x7f80_0000)),
        ("step that is no number", false, Dtype::F32, |side| side.step = Some(0x7fc0_0000)),
        ("negative step", false, Dtype::F32, |side| side.step = Some(0xbf80_0000)),
        ("all bits low", true, Dtype::BF16, |side| side.low_bits = 7),
        ("more than all bits low", false, Dtype::BF16, |side| side.low_bits = 8),
        ("many bits low", false, Dtype::F64, |side| side.low_bits = u64::MAX),
        ("a reference that there is not", false, Dtype::F32, |side| side.reference_part = Some(64)),
        ("the largest scales", true, Dtype::F32, |side| side.scales[0] = Some([560, -560].repeat(5))),
        ("a scale too large", false, Dtype::F32, |side| side.scales[0] = Some(vec![561; 10])),
        ("a scale too small", false, Dtype::F32, |side| side.scales[0] = Some(vec![-561; 10])),
        ("a difference too large", false, Dtype::F32, |side| side.scales[0] = Some(vec![1 << 31; 10])),
        ("a difference far too large", false, Dtype::F32, |side| side.scales[0] = Some(vec![1 << 60; 10])),
        ("as many factors as coordinates", true, Dtype::F32, |side| {
            (side.rank, side.classes, side.entries) = (10, vec![3; 10], vec![vec![1; 10]; 10]);
        }),
        ("more factors than coordinates", false, Dtype::F32, |side| {
            (side.rank, side.classes, side.entries) = (11, vec![3; 11], vec![vec![1; 10]; 11]);
        }),
        ("the largest entry", true, Dtype::F32, |side| {
            (side.rank, side.classes, side.entries) = (1, vec![28], vec![vec![1 << 28; 10]]);
        }),
        ("an entry too large", false, Dtype::F32, |side| {
            (side.rank, side.classes, side.entries) = (1, vec![28], vec![vec![(1 << 28) + 1; 10]]);
        }),
        ("a large class", true, Dtype::F32, |side| {
            (side.rank, side.classes, side.entries) = (1, vec![u64::MAX], vec![vec![5; 10]]);
        }),
    ];
    for (name, is_right, dtype, change) in cases {
        let mut side = ordinary(dtype, 10);
        change(&mut side);
        let made = made(dtype, [10, 40], &side.to_bytes(), &[[Vec::new(), Vec::new()]], None);
        assert_eq!(is_decoded(made, None, None), is_right, "{name}");
    }
}

/// Streams that are longer than what is read of them, or shorter.
#[test]
fn lengths_of_streams() {
    let equal = Side { kind: 1, value: (7, 16), ..ordinary(Dtype::F16, 10) }.to_bytes();
    let coded = ordinary(Dtype::F16, 10).to_bytes();
    let with_mantissas = Side { low_bits: 0, ..ordinary(Dtype::F16, 10) }.to_bytes();
    let words = |n: usize| [[3; 8].repeat(n), Vec::new()];
    let cases = [
        ("words that are read in any case", true, &equal, vec![words(1)]),
        ("a word more", false, &equal, vec![[vec![3; 9], Vec::new()]]),
        ("plain bits of no value", false, &equal, vec![[Vec::new(), vec![0]]]),
        ("lanes of no value", true, &equal, vec![words(0), words(1), words(0)]),
        ("as many lanes as there may be", true, &coded, vec![words(0); 256]),
        ("too many lanes", false, &coded, vec![words(0); 257]),
        ("no lanes", false, &coded, Vec::new()),
        ("far too many decisions", false, &coded, vec![words(1000)]),
        ("no plain bits of mantissas", false, &with_mantissas, vec![words(0)]),
        ("far too many plain bits", false, &coded, vec![[Vec::new(), vec![0; 1000]]]),
    ];
    for (name, is_right, side, lanes) in cases {
        assert_eq!(is_decoded(made(Dtype::F16, [10, 40], side, &lanes, None), None, None), is_right, "{name}");
    }
    for n in 0..12 {
        let longer = [&equal[..], &vec![0; n]].concat();
        is_decoded(made(Dtype::F16, [10, 40], &longer, &[words(0)], None), None, None);
    }
}
