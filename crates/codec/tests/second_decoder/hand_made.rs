//! Files that no writer writes: both decoders take or refuse them alike.

use lmgc_codec::{CodecId, NoModels};
use lmgc_tensors::Dtype;
use lmgc_testkit::LmgcBlock;
use lmgc_testkit::second_decoder::{self, Class, Outside};

use crate::files::CODECS;
use crate::made::{Made, assert_alike, only_payload, raw_block, varint};
use crate::{assert_decodes, class, common, options, safetensors_file, values};

/// One change of the default file each.
type Change = (&'static str, fn(&mut Made));

fn made(changes: &[Change]) -> Vec<(String, Vec<u8>)> {
    let make = |&(name, change): &Change| {
        let mut made = Made::default();
        change(&mut made);
        (name.to_owned(), made.to_bytes())
    };
    changes.iter().map(make).collect()
}

/// A record of this tag.
fn record(tag: u64, contents: &[u8]) -> Vec<u8> {
    [&varint(tag)[..], &varint(contents.len() as u64), contents].concat()
}

#[test]
fn files_with_more_than_is_known() {
    let changes: [Change; 9] = [
        ("nothing more", |_| {}),
        ("header record", |made| made.header_records = record(4, b"abc")),
        ("header record without contents", |made| made.header_records = record(1 << 40, b"")),
        ("two header records", |made| made.header_records = [record(6, b"a"), record(6, b"b")].concat()),
        ("block record", |made| made.blocks[1].records = record(4, b"abc")),
        ("block record of 1 kB", |made| made.blocks[1].records = record(4, &[7; 1000])),
        ("footer record", |made| made.footer_records = record(4, b"abc")),
        ("setting", |made| made.settings = b"\x01\x08name\x0avalue".to_vec()),
        ("setting without name", |made| made.settings = b"\x01\0\0".to_vec()),
    ];
    assert_alike(made(&changes), changes.len());
}

#[test]
fn headers_that_are_wrong() {
    let changes: [Change; 29] = [
        ("version 0", |made| made.prologue[8] = 0),
        ("version 2", |made| made.prologue[8] = 2),
        ("version 257", |made| made.prologue[9] = 1),
        ("flags", |made| made.prologue[11] = 0x80),
        ("odd record", |made| made.header_records = record(3, b"abc")),
        ("odd record after even one", |made| made.header_records = [record(4, b"a"), record(5, b"b")].concat()),
        ("record beyond the end", |made| made.header_records = b"\x04\x04abc".to_vec()),
        ("half a record", |made| made.header_records = b"\x04".to_vec()),
        ("long tag", |made| made.header_records = b"\x84\0\0".to_vec()),
        ("keys descend", |made| made.settings = b"\x02\x02b\0\x02a\0".to_vec()),
        ("a key twice", |made| made.settings = b"\x02\x02a\0\x02a\0".to_vec()),
        ("a key twice, once well known", |made| made.settings = b"\x02\x03\0\x0acodec\0".to_vec()),
        ("key is not UTF-8", |made| made.settings = b"\x01\x02\xff\0".to_vec()),
        ("unknown string", |made| made.settings = b"\x01\x02a\xff\x03".to_vec()),
        ("unknown string of a large number", |made| {
            made.settings = [b"\x01\x02a", &varint(u64::MAX)[..]].concat();
        }),
        ("string beyond the end", |made| made.settings = b"\x01\x02a\xfe\x03".to_vec()),
        ("1025 settings", |made| made.settings = varint(1025)),
        ("1024 settings that are not there", |made| made.settings = varint(1024)),
        ("524289 tensors", |made| made.tensors = varint(524_289)),
        ("524288 tensors that are not there", |made| made.tensors = varint(524_288)),
        ("tensor too long", |made| made.tensors = b"\x01\x02t\x04U8\x01\x08\x04\x0d".to_vec()),
        ("tensor behind the end", |made| made.tensors = b"\x01\x02t\x04U8\x01\x08\x11\0".to_vec()),
        ("tensor beyond 2^64", |made| {
            let most = varint(u64::MAX);
            made.tensors = [b"\x01\x02t\x04U8\x01\x08", &most[..], &most].concat();
        }),
        ("many dimensions", |made| made.tensors = [b"\x01\x02t\x04U8", &varint(u64::MAX)[..], &[0; 20]].concat()),
        ("number of 65 bits", |made| {
            made.tensors = [b"\x01\x02t\x04U8\x01", &[0xff; 9][..], b"\x02\x04\x08"].concat();
        }),
        ("long number", |made| made.tensors = b"\x01\x02t\x04U8\x01\x88\0\x04\x08".to_vec()),
        ("model 2", |made| made.model = vec![2]),
        ("half a model", |made| made.model = b"\x01\x02m".to_vec()),
        ("numbers of the model above 32 bits", |made| {
            let numbers = [varint(3), varint(1 << 32), varint(1)].concat();
            made.model = [b"\x01\x02m", &[7; 32][..], &numbers].concat();
        }),
    ];
    assert_alike(made(&changes), 0);
}

/// A file that says that it needs a model, of which no block does.
#[test]
fn a_model_that_no_block_needs() {
    let with_revision = |revision| {
        // bytes_per_group, format, mask and window
        let settings = b"\x04\x01\x024\x05\x31\x0d\x1d\x1b\x06256".to_vec();
        let model = [b"\x01\x02m", &[7; 32][..], &varint(revision), &varint(300), &varint(1)].concat();
        (format!("revision {revision}"), Made { settings, model, ..Made::default() }.to_bytes())
    };
    assert_alike([with_revision(3), with_revision(99)], 1);
}

#[test]
fn codecs_and_lanes_that_are_not_known() {
    type Change = fn(&mut Made);
    let changes: [(&str, Change, Class); 4] = [
        ("codec 15", |made| made.blocks[0].codec = 15, Class::Unsupported),
        ("codec 255", |made| made.blocks[1].codec = 255, Class::Unsupported),
        ("codec 15 with lanes", |made| (made.blocks[0].codec, made.blocks[0].n_lanes) = (15, 2), Class::Unsupported),
        ("lanes of raw", |made| made.blocks[1].n_lanes = 1, Class::Corrupt),
    ];
    for (name, change, right_class) in changes {
        let mut made = Made::default();
        change(&mut made);
        let refusal = second_decoder::decode(&made.to_bytes(), &Outside::default()).unwrap_err();
        assert_eq!(refusal.class, right_class, "{name}");
        let error = common::unpack(&made.to_bytes(), &NoModels).unwrap_err();
        assert_eq!(class(&error), Some(right_class), "{name}: {error}");
    }
}

#[test]
fn headers_that_are_odd_but_right() {
    let changes: [Change; 8] = [
        ("unknown format", |made| made.format = b"\x06row".to_vec()),
        ("format that is well known otherwise", |made| made.format = b"\x01".to_vec()),
        ("unknown type", |made| made.tensors = b"\x01\x02t\x04X9\x01\x08\x04\x08".to_vec()),
        ("type without name", |made| made.tensors = b"\x01\x02t\0\x01\x08\x04\x08".to_vec()),
        ("another shape", |made| made.tensors = b"\x01\x02t\x04U8\x02\x03\x04\x04\x08".to_vec()),
        ("shape beyond 2^64", |made| {
            made.tensors = [b"\x01\x02t\x04U8\x02", &varint(u64::MAX)[..], &varint(u64::MAX), b"\x04\x08"].concat();
        }),
        ("one name twice", |made| {
            made.tensors = b"\x02\x02t\x04U8\x01\x03\x04\x03\x02t\x04U8\x01\x05\0\x05".to_vec();
        }),
        ("empty tensors", |made| {
            made.tensors = b"\x03\x02a\x04U8\0\x04\0\x02t\x04U8\x01\x05\0\x08\0\0\0\x04\0".to_vec();
        }),
    ];
    assert_alike(made(&changes), changes.len());
}

#[test]
fn blocks_that_are_wrong() {
    let changes: [Change; 24] = [
        ("stream 2", |made| made.blocks[0].stream = 2),
        ("flags", |made| made.blocks[0].flags = 1),
        ("codec lm without a model", |made| (made.blocks[1].codec, made.blocks[1].n_lanes) = (16, 1)),
        ("codec ensemble without a model", |made| (made.blocks[1].codec, made.blocks[1].n_lanes) = (19, 1)),
        ("no byte", |made| (made.blocks[1].raw_len, made.blocks[1].payload) = (0, Vec::new())),
        ("too many bytes", |made| made.blocks[1].raw_len = (64 << 20) + 1),
        ("more bytes than the stream", |made| made.blocks[1].raw_len = 9),
        ("fewer bytes than the stream", |made| made.blocks[1] = raw_block(1, b"the dat")),
        ("no block", |made| drop(made.blocks.pop())),
        ("no blocks", |made| made.blocks.clear()),
        ("too much payload", |made| made.blocks[1].payload = vec![7; 17 + (64 << 10)]),
        ("as much payload as may be", |made| made.blocks[1].payload = vec![7; 16 + (64 << 10)]),
        ("short payload", |made| made.blocks[1].payload.truncate(5)),
        ("no payload", |made| made.blocks[1].payload.clear()),
        ("gap", |made| made.blocks[1].offset = 1),
        ("the same twice", |made| made.blocks.push(made.blocks[1].clone())),
        ("order", |made| made.blocks.reverse()),
        ("order of parts", |made| {
            let later = LmgcBlock { offset: 4, ..raw_block(0, b"eton") };
            made.blocks = vec![raw_block(0, b"skel"), later, made.blocks[1].clone()];
        }),
        ("too many lanes", |made| made.blocks[1].n_lanes = 1 << 16),
        ("odd record", |made| made.blocks[1].records = record(3, b"")),
        ("record beyond the end", |made| made.blocks[1].records = b"\x04\x04abc".to_vec()),
        ("long body", |made| made.blocks[1].records = record(4, &[7; 4096])),
        ("structural without lanes", |made| made.blocks[1].codec = 17),
        ("fast with a lane", |made| (made.blocks[1].codec, made.blocks[1].n_lanes) = (18, 1)),
    ];
    assert_alike(made(&changes), 0);
}

#[test]
fn blocks_that_are_odd_but_right() {
    let changes: [Change; 2] = [
        ("parts", |made| {
            let later = LmgcBlock { offset: 4, ..raw_block(0, b"eton") };
            made.blocks = vec![raw_block(0, b"skel"), made.blocks[1].clone(), later];
        }),
        ("a block a byte", |made| {
            let bytes = |stream, bytes: &[u8], start: usize| {
                let block = |i: usize| LmgcBlock { offset: i as u64, ..raw_block(stream, &bytes[i..][..1]) };
                (start..start + 4).map(block).collect::<Vec<_>>()
            };
            let data = [bytes(1, b"the data", 0), bytes(1, b"the data", 4)].concat();
            made.blocks = [bytes(0, b"skeleton", 0), data, bytes(0, b"skeleton", 4)].concat();
        }),
    ];
    assert_alike(made(&changes), changes.len());
}

#[test]
fn footers_that_are_wrong() {
    let changes: [Change; 14] = [
        ("no index", |made| made.index = Some(Vec::new())),
        ("half an index", |made| made.index = Some(vec![made.blocks[0].to_body()])),
        ("another index", |made| {
            let mut index: Vec<_> = made.blocks.iter().map(LmgcBlock::to_body).collect();
            index[1][1] = 1;
            made.index = Some(index);
        }),
        ("index without a record", |made| {
            made.index = Some(made.blocks.iter().map(LmgcBlock::to_body).collect());
            made.blocks[0].records = record(4, b"abc");
        }),
        ("long body in the index", |made| made.index = Some(vec![vec![0; 4097]])),
        ("another hash", |made| made.hash[31] ^= 1),
        ("odd record", |made| made.footer_records = record(3, b"abc")),
        ("record beyond the end", |made| made.footer_records = b"\x04\x04abc".to_vec()),
        ("byte before the footer", |made| made.between = vec![0]),
        ("marker before the footer", |made| made.between = vec![b'B']),
        ("another header", |made| made.between = b"H\0".to_vec()),
        ("end marker", |made| made.end[3] = 0),
        ("no end", |made| made.end.truncate(3)),
        ("more than the end", |made| made.end.push(0)),
    ];
    assert_alike(made(&changes), 0);
}

/// Limits of lengths that are not there: a limit comes before the end of the file.
#[test]
fn sections_that_are_too_long() {
    let default = Made::default();
    let file = default.to_bytes();
    let header_len = file.iter().position(|&byte| byte == b'B').unwrap();
    let footer_len = u32::from_le_bytes(*file[..file.len() - 4].last_chunk().unwrap()) as usize;
    let footer = file.len() - 8 - footer_len;
    let mut files = Vec::new();
    for (marker, place, lens) in [
        (b'H', 12, [16 << 20, (16 << 20) + 1, u64::MAX]),
        (b'B', header_len, [4096, 4097, u64::MAX]),
        (b'F', footer, [16 << 20, (33 << 20) + 1, u64::MAX]),
    ] {
        for len in lens {
            let name = format!("{} of {len}", char::from(marker));
            files.push((name, [&file[..place], &[marker], &varint(len)[..], &file[place + 2..]].concat()));
        }
    }
    assert_alike(files, 0);
}

/// The record of footers that has hashes of tensors.
#[test]
fn hashes_of_tensors() {
    let right = blake3::hash(b"the data");
    let with_records = |records: &[&[u8]]| {
        let footer_records = records.iter().flat_map(|hashes| record(2, hashes)).collect();
        let file = Made { footer_records, ..Made::default() }.to_bytes();
        let whole = second_decoder::decode(&file, &Outside::default()).map_err(|refusal| refusal.class);
        let tensor = second_decoder::tensor(&file, "t", &Outside::default()).map_err(|refusal| refusal.class);
        (whole.map(|_| ()), tensor.map(|_| ()))
    };
    assert_eq!(with_records(&[]), (Ok(()), Ok(())));
    assert_eq!(with_records(&[right.as_bytes()]), (Ok(()), Ok(())));
    assert_eq!(with_records(&[&[7; 32]]), (Err(Class::Hash), Err(Class::Hash)));
    assert_eq!(with_records(&[right.as_bytes(), right.as_bytes()]), (Err(Class::Corrupt), Err(Class::Corrupt)));
    assert_eq!(with_records(&[b""]), (Err(Class::Corrupt), Err(Class::Corrupt)));
    assert_eq!(with_records(&[&right.as_bytes()[1..]]), (Err(Class::Corrupt), Err(Class::Corrupt)));
}

/// Payloads that are more or less than one stream of so many bytes are refused.
#[test]
fn streams_of_other_lengths() {
    let data = values(5, Dtype::F32, 500);
    let file = safetensors_file(&[("w", Dtype::F32, &[500])]);
    let mut files = Vec::new();
    for codec in CODECS {
        let (packed, _) = common::pack(&file, &options(codec));
        let original = second_decoder::tensor(&packed, "w", &Outside::default()).unwrap();
        assert_eq!(original.len(), data.len());
        let payload = only_payload(&packed, codec);
        let mut push = |name: &str, original: &[u8], payload: &[u8]| {
            files
                .push((format!("{codec}: {name}"), Made::of_block("F32", &[500], original, codec, payload).to_bytes()));
        };
        let right = Made::of_block("F32", &[500], &original, codec, &payload).to_bytes();
        assert_decodes(&right, &original, &Outside::default());
        assert_eq!(common::unpack(&right, &NoModels).unwrap(), original);
        push("a zero more", &original, &[&payload[..], &[0]].concat());
        push("four zeros more", &original, &[&payload[..], &[0; 4]].concat());
        push("eight zeros more", &original, &[&payload[..], &[0; 8]].concat());
        push("a byte more", &original, &[&payload[..], &[9]].concat());
        push("a byte less", &original, &payload[..payload.len() - 1]);
        push("half", &original, &payload[..payload.len() / 2]);
        push("empty", &original, b"");
        push("one byte", &original, &payload[..1]);
        push("twice", &original, &[&payload[..], &payload].concat());
        if codec != CodecId::Raw {
            push("twice, for twice the bytes", &original.repeat(2), &[&payload[..], &payload].concat());
        }
        push("a value less", &original[..1996], &payload);
        push("a byte less than that", &original[..1999], &payload);
        push("a byte more than that", &[&original[..], &[0]].concat(), &payload);
        push("a value more", &[&original[..], &[0; 4]].concat(), &payload);
    }
    let zstd = only_payload(&common::pack(&file, &options(CodecId::Zstd)).0, CodecId::Zstd);
    let original = second_decoder::tensor(&common::pack(&file, &options(CodecId::Raw)).0, "w", &Outside::default());
    let original = original.unwrap();
    let skippable = b"\x50\x2a\x4d\x18\x01\0\0\0x";
    for (name, payload) in [
        ("skippable frame before", [skippable, &zstd[..]].concat()),
        ("skippable frame after", [&zstd[..], skippable].concat()),
    ] {
        files.push((name.to_owned(), Made::of_block("F32", &[500], &original, CodecId::Zstd, &payload).to_bytes()));
    }
    for (name, file) in files {
        match second_decoder::decode(&file, &Outside::default()) {
            Err(refusal) => {
                let error = common::unpack(&file, &NoModels).expect_err(&name);
                for class in [Some(refusal.class), class(&error)] {
                    assert!(matches!(class, Some(Class::Corrupt | Class::Hash)), "{name}: {refusal:?}, {error}");
                }
            }
            Ok(second) => {
                // A range coder reads words, zfp codes values by fours, in words: a stream may be one of several lengths.
                let is_range_coded = name.starts_with("fields0: ") && name.ends_with(" more");
                assert!(is_range_coded || name.starts_with("zfp: a value "), "{name}");
                assert!(common::unpack(&file, &NoModels).unwrap() == second, "{name}");
            }
        }
    }
}

/// Damaged payloads with right checksums: both refuse them, or decode them to the original.
#[test]
fn damaged_streams() {
    let file = safetensors_file(&[("w", Dtype::F32, &[12, 10])]);
    for codec in CODECS {
        let (packed, _) = common::pack(&file, &options(codec));
        let original = second_decoder::tensor(&packed, "w", &Outside::default()).unwrap();
        let payload = only_payload(&packed, codec);
        for bit in (0..8 * payload.len()).filter(|bit| *bit < 800 || bit % 7 == 0) {
            let mut payload = payload.clone();
            payload[bit / 8] ^= 1 << (bit % 8);
            let file = Made::of_block("F32", &[12, 10], &original, codec, &payload).to_bytes();
            let second = second_decoder::decode(&file, &Outside::default());
            let first = common::unpack(&file, &NoModels);
            // A decoder need not compare FLAC's checksums; the second one's library does.
            let is_alike = first.is_ok() == second.is_ok() || codec == CodecId::Flac && first.is_ok();
            assert!(is_alike, "{codec}: bit {bit}");
            assert!(
                [first.ok(), second.ok()].iter().flatten().all(|decoded| *decoded == original),
                "{codec}: bit {bit}"
            );
        }
    }
}
