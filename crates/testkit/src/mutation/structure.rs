//! Parts of `.lmgc` files that say something else, under right checksums.

use super::{below, mutate_bytes, one_of, other_number};
use crate::bits::Random;
use crate::lmgc_file::{LmgcBlock, LmgcFile, LmgcModel, LmgcTensor, lmgc_string, push_varint};

const DTYPES: [&str; 24] = [
    "F64",
    "F32",
    "F16",
    "BF16",
    "F8_E4M3",
    "F8_E5M2",
    "F8_E4M3FNUZ",
    "F8_E5M2FNUZ",
    "F8_E8M0",
    "I64",
    "I32",
    "I16",
    "I8",
    "U64",
    "U32",
    "U16",
    "U8",
    "BOOL",
    "C64",
    "C128",
    "F4",
    "",
    "f32",
    "F32 ",
];

const KEYS: [&str; 11] =
    ["format", "bytes_per_group", "window", "mask", "lm_bits", "mix", "overlap", "codec", "reference", "", "zzz"];

const VALUES: [&str; 40] = [
    "hex-none",
    "hex-space",
    "hex-comma",
    "hex-comma+space",
    "hex-semicolon",
    "hex-0x",
    "iso",
    "iso-space",
    "iso-comma+space",
    "ids-nibble",
    "ids-byte",
    "ids-exponent",
    "none",
    "alphabet",
    "grammar",
    "true",
    "false",
    "lm",
    "ensemble",
    "structural",
    "auto",
    "",
    "0",
    "1",
    "2",
    "3",
    "4",
    "8",
    "12",
    "16",
    "17",
    "18",
    "24",
    "64",
    "100",
    "2048",
    "2049",
    "-1",
    "18446744073709551615",
    "18446744073709551616",
];

/// Changes parts of a `.lmgc` file at random, in one to three steps, puts it together with right checksums, and says how.
pub fn mutate_structure(file: &LmgcFile, random: &mut Random, donors: &[&LmgcFile]) -> (Vec<u8>, &'static str) {
    let mut file = file.clone();
    let n_steps = one_of(random, [1, 1, 1, 2, 3]);
    let mut kind = "";
    for step in 0..n_steps {
        let changed = match below(random, 13) {
            0..=2 => mutate_payload(&mut file, random, donors),
            3..=6 => mutate_block(&mut file, random),
            7 => mutate_order(&mut file, random, donors),
            8..=9 => mutate_tensors(&mut file, random),
            10..=11 => mutate_settings(&mut file, random),
            _ => return mutate_body(&file, random),
        };
        kind = if step == 0 { changed } else { "several parts" };
    }
    (file.to_bytes(), kind)
}

fn a_block<'a>(file: &'a mut LmgcFile, random: &mut Random) -> Option<&'a mut LmgcBlock> {
    let index = below(random, file.blocks.len());
    file.blocks.get_mut(index)
}

fn mutate_payload(file: &mut LmgcFile, random: &mut Random, donors: &[&LmgcFile]) -> &'static str {
    let Some(block) = a_block(file, random) else { return "no block" };
    let len = block.payload.len();
    match below(random, 6) {
        0 => {
            block.payload.truncate(below(random, len));
            "payload cut"
        }
        1 => {
            let n_new = 1 + below(random, 70);
            let new = if below(random, 2) == 0 { vec![0; n_new] } else { random.bytes(n_new) };
            block.payload.extend(new);
            "payload extended"
        }
        2 if !donors.is_empty() => {
            let donor = donors[below(random, donors.len())];
            if let Some(other) = donor.blocks.get(below(random, donor.blocks.len())) {
                block.payload.clone_from(&other.payload);
                (block.codec, block.n_lanes) = (other.codec, other.n_lanes);
            }
            "payload of another file"
        }
        3 => {
            // Early fields decide most.
            let end = len.min(24);
            let mut front = block.payload[..end].to_vec();
            mutate_bytes(&mut front, random, &[]);
            block.payload.splice(..end, front);
            "payload's first bytes"
        }
        _ => {
            let donors: Vec<&[u8]> = donors.iter().flat_map(|file| &file.blocks).map(|block| &*block.payload).collect();
            mutate_bytes(&mut block.payload, random, &donors);
            "payload"
        }
    }
}

fn mutate_block(file: &mut LmgcFile, random: &mut Random) -> &'static str {
    let index = below(random, file.blocks.len());
    let Some(block) = file.blocks.get_mut(index) else { return "no block" };
    match below(random, 9) {
        0..=2 => {
            let lens = resized(random, block);
            let n_columns = 1 + below(random, 70) as u64;
            if file.resize_block(index, lens).is_some() && below(random, 2) == 0 {
                let tensor = file.header.tensors.iter_mut().rev().find(|tensor| tensor.len > 0);
                if let Some(tensor) = tensor {
                    tensor.shape = vec![(tensor.len / 4).div_ceil(n_columns), n_columns];
                }
            }
            "block's length, consistently"
        }
        3 | 4 => {
            block.codec = if below(random, 8) == 0 { random.next_u64() as u8 } else { below(random, 21) as u8 };
            "codec number"
        }
        5 => {
            block.n_lanes =
                if below(random, 2) == 0 { below(random, 40) as u64 } else { other_number(random, block.n_lanes) };
            "lanes"
        }
        6 => {
            block.raw_len = other_number(random, block.raw_len);
            "block's length alone"
        }
        7 => {
            block.offset = other_number(random, block.offset);
            "block's offset"
        }
        _ => {
            if below(random, 2) == 0 {
                block.stream = one_of(random, [1 - block.stream.min(1), 2, 255]);
                "block's stream"
            } else {
                block.flags = 1 << below(random, 8);
                "block's flags"
            }
        }
    }
}

/// A length for a block. What a language model does takes time for each byte that comes out, however few go in, and all lengths are
/// valid: its blocks do not become much longer.
fn resized(random: &mut Random, block: &LmgcBlock) -> u64 {
    let old = block.raw_len;
    let largest = if matches!(block.codec, 16 | 19) { old.saturating_mul(4) } else { 64 << 20 };
    let new = match below(random, 48) {
        0 => 64 << 20,
        1 => 16 << 20,
        2..=4 => 1 << 20,
        5..=7 => 1 << 16,
        8..=15 => old.saturating_mul(2),
        16..=23 => old / 2,
        24..=31 => old.saturating_add(1 + below(random, 64) as u64),
        32..=39 => old.saturating_sub(1 + below(random, 64) as u64),
        _ => 1 + below(random, 600) as u64,
    };
    new.clamp(1, largest)
}

fn mutate_order(file: &mut LmgcFile, random: &mut Random, donors: &[&LmgcFile]) -> &'static str {
    let n_blocks = file.blocks.len();
    if n_blocks == 0 {
        return "no block";
    }
    let (a, b) = (below(random, n_blocks), below(random, n_blocks));
    match below(random, 5) {
        0 => {
            file.blocks.remove(a);
            "block removed"
        }
        1 => {
            let copy = file.blocks[a].clone();
            file.blocks.insert(b, copy);
            "block repeated"
        }
        2 => {
            file.blocks.swap(a, b);
            "blocks swapped"
        }
        3 if !donors.is_empty() => {
            let donor = donors[below(random, donors.len())];
            if let Some(block) = donor.blocks.get(below(random, donor.blocks.len())) {
                file.blocks[a] = block.clone();
            }
            "block of another file"
        }
        _ => {
            let at = 1 + below(random, file.blocks[a].raw_len.min(1 << 20) as usize) as u64;
            let mut second = file.blocks[a].clone();
            second.offset = second.offset.wrapping_add(at);
            second.raw_len = second.raw_len.saturating_sub(at);
            file.blocks[a].raw_len = at;
            file.blocks.insert(a + 1, second);
            "block split"
        }
    }
}

fn mutate_tensors(file: &mut LmgcFile, random: &mut Random) -> &'static str {
    let header = &mut file.header;
    let n_tensors = header.tensors.len();
    let index = below(random, n_tensors);
    if below(random, 8) == 0 || n_tensors == 0 {
        header.original_len = other_number(random, header.original_len);
        return "original's length";
    }
    let tensor = &mut header.tensors[index];
    match below(random, 10) {
        0..=2 => {
            tensor.dtype = lmgc_string(one_of(random, DTYPES));
            "element type"
        }
        3..=5 => {
            let n_values = (tensor.len / 4).max(1);
            let columns = 1 + below(random, 80) as u64;
            match below(random, 6) {
                0 => tensor.shape.clear(),
                1 => tensor.shape = vec![n_values / columns, columns],
                2 => tensor.shape = vec![columns, n_values.div_ceil(columns)],
                3 => tensor.shape.insert(below(random, tensor.shape.len() + 1), other_number(random, 1)),
                4 => tensor.shape = (0..below(random, 9)).map(|_| 1 + below(random, 9) as u64).collect(),
                _ => {
                    let dim = below(random, tensor.shape.len());
                    if let Some(dim) = tensor.shape.get_mut(dim) {
                        *dim = other_number(random, *dim);
                    }
                }
            }
            "shape"
        }
        6 => {
            tensor.gap = other_number(random, tensor.gap);
            "tensor's place"
        }
        7 => {
            tensor.len = other_number(random, tensor.len);
            "tensor's length"
        }
        8 => {
            tensor.name = lmgc_string(one_of(random, ["", "a", "weight", "\u{0}"]));
            "tensor's name"
        }
        _ => {
            match below(random, 4) {
                0 => {
                    let removed = header.tensors.remove(index);
                    if let Some(next) = header.tensors.get_mut(index) {
                        next.gap = next.gap.wrapping_add(removed.gap).wrapping_add(removed.len);
                    }
                }
                1 => {
                    let empty = LmgcTensor { gap: 0, len: 0, shape: vec![0], ..tensor.clone() };
                    header.tensors.insert(index + 1, empty);
                }
                2 => {
                    let copy = tensor.clone();
                    header.tensors.insert(index, copy);
                }
                _ => {
                    // Two tensors where one was: the block has two pieces.
                    let first = below(random, tensor.len.min(1 << 20) as usize) as u64;
                    let second = LmgcTensor { gap: 0, len: tensor.len - first, ..tensor.clone() };
                    tensor.len = first;
                    header.tensors.insert(index + 1, second);
                }
            }
            "tensor table"
        }
    }
}

fn mutate_settings(file: &mut LmgcFile, random: &mut Random) -> &'static str {
    let header = &mut file.header;
    let index = below(random, header.settings.len());
    let value = lmgc_string(one_of(random, VALUES));
    match below(random, 8) {
        0..=3 => {
            if let Some(setting) = header.settings.get_mut(index) {
                setting.1 = value;
            }
            "setting"
        }
        4 => {
            if !header.settings.is_empty() {
                header.settings.remove(index);
            }
            "setting removed"
        }
        5 => {
            // Most places are wrong for most keys; some are right.
            let at = below(random, header.settings.len() + 1);
            header.settings.insert(at, (lmgc_string(one_of(random, KEYS)), value));
            "setting added"
        }
        6 => {
            match &mut header.model {
                Some(model) => match below(random, 3) {
                    0 => header.model = None,
                    1 => model.fingerprint[below(random, 32)] ^= 1 << below(random, 8),
                    _ => {
                        let number = below(random, 3);
                        model.numbers[number] = other_number(random, model.numbers[number]);
                    }
                },
                None => {
                    header.model =
                        Some(LmgcModel { name: lmgc_string("m"), fingerprint: random.bytes(32), numbers: [1, 300, 1] });
                }
            }
            "model"
        }
        _ => {
            let n_bytes = below(random, 9);
            let mut record = vec![below(random, 9) as u8];
            let wrong = other_number(random, n_bytes as u64);
            push_varint(&mut record, one_of(random, [n_bytes as u64, wrong]));
            record.extend(random.bytes(n_bytes));
            match below(random, 3) {
                0 => header.records.extend(record),
                1 => file.footer_rest.extend(record),
                _ => {
                    if let Some(block) = a_block(file, random) {
                        block.records.extend(record);
                    }
                }
            }
            "record"
        }
    }
}

/// Damages the bytes of the header's or the footer's body.
fn mutate_body(file: &LmgcFile, random: &mut Random) -> (Vec<u8>, &'static str) {
    let (mut header, mut footer) = (file.header.to_body(), file.footer_body());
    let kind = if below(random, 2) == 0 {
        mutate_bytes(&mut header, random, &[]);
        "header's body"
    } else {
        mutate_bytes(&mut footer, random, &[]);
        "footer's body"
    };
    (file.to_bytes_with(&header, &footer), kind)
}
