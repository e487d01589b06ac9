//! Makes a damaged `.lmgc` file's checksums right, so that the damage reaches what lies behind them.

use crate::lmgc_file::{BlockFields, Fields, PROLOGUE_BYTES, Section};

/// Recomputes what a file's checks are about, as far as its parts can be found: the checksums of all sections and payloads,
/// the index's copies of the blocks' bodies, and the footer's length in the trailer. The original's hash stays.
///
/// Parts are found one after the other from the start; where one is not there, the footer is looked for from the end.
pub fn repair_checksums(file: &mut [u8]) {
    let Some(header) = Section::at(file, PROLOGUE_BYTES) else { return };
    seal(file, 0, header);
    let mut bodies = Vec::new();
    let mut at = header.end;
    while let Some(section) = Section::at(file, at) {
        match section.marker {
            b'B' => match repair_block(file, section) {
                Some(end) => {
                    bodies.push(section.body(file).unwrap_or_default().to_vec());
                    at = end;
                }
                None => break,
            },
            b'F' => {
                repair_footer(file, section, &bodies);
                return;
            }
            _ => break,
        }
    }
    let length_at = file.len().saturating_sub(8);
    let Some(&footer_len) = file.get(length_at..).and_then(<[u8]>::first_chunk) else { return };
    let footer_len = u32::from_le_bytes(footer_len) as usize;
    let Some(start) = length_at.checked_sub(footer_len) else { return };
    if let Some(footer) = Section::at(file, start)
        && footer.marker == b'F'
        && footer.end == length_at
    {
        repair_footer(file, footer, &bodies);
    }
}

/// Writes the checksum of a section, which covers the bytes from `from` on.
fn seal(file: &mut [u8], from: usize, section: Section) {
    if let Some(checked) = file.get(from..section.body_end) {
        let checksum = crc32c::crc32c(checked).to_le_bytes();
        put(file, section.body_end, &checksum);
    }
}

fn put(file: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = file.get_mut(at..at.saturating_add(bytes.len())) {
        place.copy_from_slice(bytes);
    }
}

/// Repairs a block and says where its payload ends, if that is within the file.
fn repair_block(file: &mut [u8], section: Section) -> Option<usize> {
    let fields = BlockFields::parse(section.body(file)?);
    let payload_end = fields.as_ref().and_then(|fields| {
        let payload_len = usize::try_from(fields.payload_len).ok()?;
        section.end.checked_add(payload_len)
    });
    if let (Some(fields), Some(payload)) = (fields, payload_end.and_then(|end| file.get(section.end..end))) {
        let checksum = crc32c::crc32c(payload).to_le_bytes();
        put(file, section.body_start + fields.checksum_at, &checksum);
    }
    seal(file, section.start, section);
    payload_end.filter(|&end| end <= file.len())
}

/// Copies the blocks' bodies to the index where they have their lengths there, and makes checksum and trailer right.
fn repair_footer(file: &mut [u8], section: Section, bodies: &[Vec<u8>]) {
    let mut copies = Vec::new();
    if let Some(body) = section.body(file) {
        let mut fields = Fields(body);
        let _ = fields.varint();
        for block in bodies {
            let len = fields.varint();
            let at = section.body_end - fields.0.len();
            if len != Some(block.len() as u64) || fields.bytes(block.len() as u64).is_none() {
                break;
            }
            copies.push((at, block));
        }
    }
    for (at, block) in copies {
        put(file, at, block);
    }
    seal(file, section.start, section);
    let footer_len = (section.end - section.start) as u32;
    put(file, section.end, &footer_len.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LmgcFile;

    /// The example of the specification.
    fn example() -> Vec<u8> {
        let specification = include_str!("../../../docs/format.md");
        let (_, example) = specification.split_once("<!-- example -->\n```text\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        let words = example.lines().flat_map(|line| line.split('|').next().unwrap_or_default().split_whitespace());
        words.map(|word| u8::from_str_radix(word, 16).unwrap()).collect()
    }

    #[test]
    fn a_file_is_the_sum_of_its_parts() {
        let file = example();
        let mut parts = LmgcFile::parse(&file).unwrap();
        assert_eq!((parts.blocks.len(), parts.header.tensors.len(), parts.header.original_len), (2, 1, 140));
        assert_eq!(parts.to_bytes(), file);
        parts.resize_block(1, 20).unwrap();
        let block = &parts.blocks[1];
        assert_eq!((parts.header.original_len, parts.header.tensors[0].len, block.raw_len), (148, 20, 20));
        assert_eq!(LmgcFile::parse(&parts.to_bytes()), Some(parts));
    }

    #[test]
    fn checksums_become_right_and_damage_stays() {
        let file = example();
        let payload = *b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c";
        let payload_at = file.windows(payload.len()).position(|bytes| bytes == payload).unwrap();
        let payload = payload_at..payload_at + payload.len();
        for bit in 0..file.len() * 8 {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let damaged_byte = damaged[bit / 8];
            repair_checksums(&mut damaged);
            if payload.contains(&(bit / 8)) {
                assert_eq!(LmgcFile::parse(&damaged).unwrap().to_bytes(), damaged);
                assert_eq!(damaged[bit / 8], damaged_byte, "the damage stays");
            }
        }
        let mut undamaged = file.clone();
        repair_checksums(&mut undamaged);
        assert_eq!(undamaged, file);
        for len in 0..file.len() {
            repair_checksums(&mut file[..len].to_vec());
        }
    }
}
