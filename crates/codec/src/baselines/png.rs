use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use png::{BitDepth, ColorType, DecodeOptions, Decoder, Encoder, Limits, chunk};

use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// An 8-bit grey PNG without interlacing a block: a pixel for each byte, width and height the two factors of the number
/// of bytes that are closest to each other, a filter chosen for each row, and zlib's level 9. LM-GC's baseline.
#[derive(Clone, Copy, Debug)]
pub struct Png;

/// Largest width or height.
const MAX_SIDE: usize = (1 << 31) - 1;

/// Signature, length and name of IHDR, width and height, and the fields that say 8-bit grey without interlacing.
const HEADER_BYTES: usize = 29;

/// What the library may keep beside the image.
const OTHER_BYTES: usize = 1 << 20;

/// The two closest factors of `n`, the larger one first.
fn sides(n: usize) -> (usize, usize) {
    let height = (1..=n.isqrt()).rev().find(|side| n.is_multiple_of(*side)).unwrap_or(1);
    (n / height, height)
}

fn header(width: u32, height: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..16].copy_from_slice(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    header[16..20].copy_from_slice(&width.to_be_bytes());
    header[20..24].copy_from_slice(&height.to_be_bytes());
    header[24] = 8;
    header
}

/// PNG's fifth predictor: of the left, the upper and the upper left pixel the one closest to left + upper - upper left.
fn paeth(left: u8, up: u8, up_left: u8) -> u8 {
    let [a, b, c] = [left, up, up_left].map(i16::from);
    let (to_left, to_up, to_up_left) = ((b - c).abs(), (a - c).abs(), (a + b - 2 * c).abs());
    if to_left <= to_up && to_left <= to_up_left {
        left
    } else if to_up <= to_up_left {
        up
    } else {
        up_left
    }
}

/// What the filters 0 to 4 predict for each pixel of a row.
fn predictions<'a>(previous: &'a [u8], row: &'a [u8]) -> impl Iterator<Item = (u8, [u8; 5])> + 'a {
    row.iter().zip(previous).scan((0, 0), |(left, up_left), (&pixel, &up)| {
        let predicted = [0, *left, up, left.midpoint(up), paeth(*left, up, *up_left)];
        (*left, *up_left) = (pixel, up);
        Some((pixel, predicted))
    })
}

/// The filter whose output, as signed bytes, has the smallest sum of absolute values: libpng's heuristic, and Pillow's.
fn best_filter(previous: &[u8], row: &[u8]) -> usize {
    let mut costs = [0u64; 5];
    for (pixel, predicted) in predictions(previous, row) {
        for (cost, predicted) in costs.iter_mut().zip(predicted) {
            *cost += u64::from((pixel.wrapping_sub(predicted) as i8).unsigned_abs());
        }
    }
    costs.into_iter().enumerate().min_by_key(|(_, cost)| *cost).map_or(0, |(filter, _)| filter)
}

/// Filters here, because the library's choice leaves out filter 0, which suits gradients best; and compresses here, because
/// its writer of rows spends 17 bytes on a flush.
fn write(bytes: &[u8], width: usize, height: usize) -> Result<Vec<u8>, png::EncodingError> {
    let mut data = ZlibEncoder::new(Vec::new(), Compression::best());
    let first = vec![0; width];
    let mut previous = first.as_slice();
    let mut filtered = Vec::with_capacity(width + 1);
    for row in bytes.chunks_exact(width) {
        let filter = best_filter(previous, row);
        filtered.clear();
        filtered.push(filter as u8);
        filtered.extend(predictions(previous, row).map(|(pixel, predicted)| pixel.wrapping_sub(predicted[filter])));
        data.write_all(&filtered)?;
        previous = row;
    }
    let mut image = Vec::new();
    let mut encoder = Encoder::new(&mut image, width as u32, height as u32);
    encoder.set_color(ColorType::Grayscale);
    encoder.set_depth(BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_chunk(chunk::IDAT, &data.finish()?)?;
    writer.finish()?;
    Ok(image)
}

fn refuse(reason: impl Into<String>) -> Error {
    Error::CodecRefuses { codec: CodecId::Png, reason: reason.into() }
}

impl BlockCodec for Png {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let (width, height) = sides(input.bytes.len());
        if width == 0 {
            return Err(refuse("an image has one pixel or more, and there are no bytes"));
        }
        if width > MAX_SIDE {
            return Err(refuse(format!("an image of {width} x {height} pixels is too wide")));
        }
        let payload = write(input.bytes, width, height).map_err(|e| refuse(e.to_string()))?;
        progress.advance(input.bytes.len() as u64);
        Ok(Encoded::plain(CodecId::Png, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let EncodedBlock { payload, raw_len, .. } = block;
        // The library reserves a row before it compares with its limits, so the size is checked first.
        let (width, height) = sides(raw_len);
        if width > MAX_SIDE || !payload.starts_with(&header(width as u32, height as u32)) {
            return Err(Error::corrupt_block(format!("no grey PNG of {width} x {height} pixels")));
        }
        let corrupt = |e: png::DecodingError| Error::corrupt_block(format!("png: {e}"));
        let mut options = DecodeOptions::default();
        options.set_ignore_text_chunk(true);
        options.set_ignore_iccp_chunk(true);
        let mut source = std::io::Cursor::new(payload);
        let mut decoder = Decoder::new_with_options(&mut source, options);
        decoder.set_limits(Limits { bytes: raw_len + OTHER_BYTES });
        let mut reader = decoder.read_info().map_err(corrupt)?;
        if reader.output_buffer_size() != Some(raw_len) {
            return Err(Error::corrupt_block(format!("png gives another length than {raw_len} bytes")));
        }
        let mut bytes = vec![0; raw_len];
        reader.next_frame(&mut bytes).map_err(corrupt)?;
        reader.finish().map_err(corrupt)?;
        drop(reader);
        super::expect_end("png", payload.len().saturating_sub(source.position() as usize))?;
        progress.advance(raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_that_predicts_best() {
        let flat = [0, 1, 255, 0, 2];
        assert_eq!(best_filter(&[0; 5], &flat), 0);
        assert_eq!(best_filter(&[0; 5], &[100; 5]), 1);
        assert_eq!(best_filter(&[90, 20, 70, 120, 5], &[90, 20, 70, 120, 5]), 2);
        assert_eq!(best_filter(&[20, 120, 40, 200, 70], &[10, 65, 52, 126, 98]), 3);
        assert_eq!([paeth(10, 20, 10), paeth(20, 10, 10), paeth(10, 20, 15), paeth(0, 0, 0)], [20, 20, 15, 0]);
    }

    #[test]
    fn closest_factors() {
        let found = [0, 1, 2, 7, 12, 36, 512, 1 << 23].map(sides);
        assert_eq!(found, [(0, 1), (1, 1), (2, 1), (7, 1), (4, 3), (6, 6), (32, 16), (4096, 2048)]);
    }
}
