//! Checksums of `.lmgc` files, by `docs/format.md` alone.

use std::ops::Range;

/// Magic, version and flags.
const PROLOGUE_LEN: usize = 12;
/// Length of the footer section and end marker.
const TRAILER_LEN: usize = 8;
const CRC_LEN: usize = 4;

/// Makes every checksum of a `.lmgc` file right: those of sections, and of payloads in the blocks' headers and in the index.
/// Nothing else is changed, whatever the bytes are: where the file's parts do not follow one another as they should, what can
/// still be found from its end is put right, and the rest stays.
pub fn repair_checksums(file: &mut [u8]) {
    let mut payload_crcs = Vec::new();
    let mut at = PROLOGUE_LEN;
    while let Some(section) = Section::at(file, at) {
        at = match section.marker {
            b'H' => {
                section.seal(file, 0);
                section.end()
            }
            b'B' => {
                let Some(block) = Block::of(&file[section.body.clone()]) else { break };
                let start = section.end();
                let end = start.saturating_add(block.payload_len).min(file.len());
                let crc = crc32c(&file[start..end]).to_le_bytes();
                put(file, section.body.start + block.crc_at, crc);
                section.seal(file, section.start);
                payload_crcs.push(crc);
                end
            }
            _ => break,
        };
    }
    let footer = Section::at(file, at).filter(|section| section.marker == b'F').or_else(|| footer_by_trailer(file));
    let Some(footer) = footer else { return };
    for (place, crc) in index(&file[footer.body.clone()]).into_iter().zip(payload_crcs) {
        put(file, footer.body.start + place, crc);
    }
    footer.seal(file, footer.start);
}

/// A section that lies wholly in the file, with room for its checksum.
struct Section {
    marker: u8,
    start: usize,
    body: Range<usize>,
}

impl Section {
    fn at(file: &[u8], start: usize) -> Option<Self> {
        let mut fields = Fields { bytes: file, at: start };
        let marker = fields.u8()?;
        let len = fields.varint()?;
        let body = fields.at..fields.at.checked_add(len)?;
        (body.end.checked_add(CRC_LEN)? <= file.len()).then_some(Self { marker, start, body })
    }

    fn end(&self) -> usize {
        self.body.end + CRC_LEN
    }

    /// Writes the checksum of all from `from` on.
    fn seal(&self, file: &mut [u8], from: usize) {
        put(file, self.body.end, crc32c(&file[from..self.body.end]).to_le_bytes());
    }
}

/// The fields of a block's body that matter here.
struct Block {
    payload_len: usize,
    /// Where the payload's checksum stands in the body.
    crc_at: usize,
}

impl Block {
    fn of(body: &[u8]) -> Option<Self> {
        let mut fields = Fields { bytes: body, at: 0 };
        let _stream_codec_flags = (fields.u8()?, fields.u8()?, fields.u8()?);
        let _offset_raw_len_lanes = (fields.varint()?, fields.varint()?, fields.varint()?);
        let (payload_len, crc_at) = (fields.varint()?, fields.at);
        (crc_at + CRC_LEN <= body.len()).then_some(Self { payload_len, crc_at })
    }
}

/// Where the payloads' checksums stand in a footer's body, as far as its list of blocks can be read.
fn index(body: &[u8]) -> Vec<usize> {
    let mut places = Vec::new();
    let mut fields = Fields { bytes: body, at: 0 };
    let n_blocks = fields.varint().unwrap_or(0);
    for _ in 0..n_blocks {
        let Some(len) = fields.varint() else { break };
        let start = fields.at;
        let Some(block) = start.checked_add(len).and_then(|end| Block::of(body.get(start..end)?)) else { break };
        places.push(start + block.crc_at);
        fields.at += len;
    }
    places
}

fn footer_by_trailer(file: &[u8]) -> Option<Section> {
    let trailer_at = file.len().checked_sub(TRAILER_LEN)?;
    let footer_len = u32::from_le_bytes(*file[trailer_at..].first_chunk()?);
    let section = Section::at(file, trailer_at.checked_sub(footer_len as usize)?)?;
    (section.marker == b'F' && section.end() == trailer_at).then_some(section)
}

fn put(file: &mut [u8], at: usize, bytes: [u8; CRC_LEN]) {
    file[at..at + CRC_LEN].copy_from_slice(&bytes);
}

struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    fn u8(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// Any form of an integer of at most 63 bits, not only the shortest.
    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return usize::try_from(value).ok();
            }
        }
        None
    }
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    /// The file of `docs/format.md`, section 12.
    fn example() -> Vec<u8> {
        let specification = include_str!("../../../docs/format.md");
        let (_, section) = specification.split_once("\n## 12.").unwrap();
        let hex = section.split("```").nth(1).unwrap().lines().filter_map(|line| line.split_once('|'));
        hex.flat_map(|(bytes, _)| bytes.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap())).collect()
    }

    #[test]
    fn crc_is_the_specified_one() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn right_checksums_stay_and_wrong_ones_come_back() {
        let right = example();
        let mut file = right.clone();
        repair_checksums(&mut file);
        assert_eq!(file, right);
        // Each checksum: header, payload and section of both blocks, both in the index, footer.
        let mut n_repaired = 0;
        for at in 0..right.len() {
            file[at] ^= 0x40;
            repair_checksums(&mut file);
            n_repaired += usize::from(file == right);
            file.copy_from_slice(&right);
        }
        assert_eq!(n_repaired, 8 * CRC_LEN);
    }

    #[test]
    fn a_changed_payload_gets_its_checksums() {
        let mut file = example();
        let payload = file.windows(2).position(|pair| pair == [0xaa, 0xbb]).unwrap();
        file[payload] = 0;
        repair_checksums(&mut file);
        let crc = crc32c(&[0, 0xbb]).to_le_bytes();
        assert_eq!(file.windows(4).filter(|window| *window == crc).count(), 2, "header and index");
    }

    #[test]
    fn damage_is_borne() {
        let right = example();
        for len in 0..=right.len() {
            let mut cut = right[..len].to_vec();
            repair_checksums(&mut cut);
        }
        let mut random = Random::new(1);
        for _ in 0..20_000 {
            let mut file = right.clone();
            for _ in 0..4 {
                let at = random.next_u64() as usize % file.len();
                file[at] = random.next_u64() as u8;
            }
            repair_checksums(&mut file);
        }
        // Without its chain of blocks, the footer is found from the end.
        let mut file = right.clone();
        let footer_crc = file.len() - TRAILER_LEN - CRC_LEN;
        file[PROLOGUE_LEN] = b'X';
        file[footer_crc] ^= 1;
        repair_checksums(&mut file);
        assert_eq!(file[footer_crc..], right[footer_crc..]);
    }
}
