//! Which codec decodes a block, and the codecs that are libraries (section 9).

use std::io::{Cursor, Read};

use super::planes::{join_bits, join_bytes};
use super::{Block, Class, Prior, Refusal, ensemble, fast, fields0, lm, numbers, structural};

/// What a decoder of xz may take.
const XZ_MEMORY: u64 = 66 << 20;

/// The block's bytes; `prior` says why there is none, where there is none.
pub(super) fn decode(codec: u8, block: &Block<'_>, prior: Result<&Prior<'_>, &Refusal>) -> Result<Vec<u8>, Refusal> {
    let prior = || prior.map_err(Refusal::clone);
    let lanes = match codec {
        0..=14 | 18 => 0..=0,
        16 => 0..=32,
        17 | 19 => 1..=256,
        _ => return Err(unknown(codec)),
    };
    if !lanes.contains(&block.n_lanes) {
        return Err(Refusal::corrupt(format!("codec {codec} with {} lanes", block.n_lanes)));
    }
    let payload = block.payload;
    let bytes = match codec {
        0 => payload.to_vec(),
        1 => zstd(payload, block.raw_len)?,
        2 => in_elements(block, zstd, join_bytes)?,
        3 => gzip(payload, block.raw_len)?,
        4 => xz(payload, block.raw_len)?,
        5 => bzip2(payload, block.raw_len)?,
        6 => brotli(payload, block.raw_len)?,
        7 => in_elements(block, xz, join_bytes)?,
        8 => in_elements(block, zstd, join_bits)?,
        9 => png(payload, block.raw_len)?,
        10 => flac(payload, block.raw_len)?,
        11 => numbers::fpzip(block)?,
        12 => numbers::pco(block)?,
        13 => fields0::decode(block)?,
        14 => numbers::zfp(block)?,
        16 => lm::decode(block, prior()?)?,
        17 => structural::decode(block)?,
        18 => fast::decode(block)?,
        19 => ensemble::decode(block, prior()?)?,
        _ => return Err(unknown(codec)),
    };
    if bytes.len() != block.raw_len {
        return Err(Refusal::corrupt(format!("a block of {} bytes gives {}", block.raw_len, bytes.len())));
    }
    Ok(bytes)
}

fn unknown(codec: u8) -> Refusal {
    Refusal::new(Class::Unsupported, format!("codec {codec}"))
}

/// Reads a decoder to its end, but no further than one byte beyond `raw_len`.
fn read(decoder: &mut impl Read, raw_len: usize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    decoder.take(raw_len as u64 + 1).read_to_end(&mut bytes).map_err(corrupt)?;
    Ok(bytes)
}

fn corrupt(error: impl std::fmt::Display) -> Refusal {
    Refusal::corrupt(error.to_string())
}

/// A payload is one frame or stream and nothing else.
fn nothing_left(bytes: Vec<u8>, left: &[u8]) -> Result<Vec<u8>, Refusal> {
    if !left.is_empty() {
        return Err(Refusal::corrupt("bytes follow the stream in a payload"));
    }
    Ok(bytes)
}

fn zstd(payload: &[u8], raw_len: usize) -> Result<Vec<u8>, Refusal> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(payload).map_err(corrupt)?.single_frame();
    let bytes = read(&mut decoder, raw_len)?;
    nothing_left(bytes, decoder.finish())
}

fn gzip(payload: &[u8], raw_len: usize) -> Result<Vec<u8>, Refusal> {
    let mut decoder = flate2::bufread::GzDecoder::new(payload);
    let bytes = read(&mut decoder, raw_len)?;
    nothing_left(bytes, decoder.into_inner())
}

fn xz(payload: &[u8], raw_len: usize) -> Result<Vec<u8>, Refusal> {
    let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0).map_err(corrupt)?;
    let mut decoder = liblzma::bufread::XzDecoder::new_stream(payload, stream);
    let bytes = read(&mut decoder, raw_len)?;
    nothing_left(bytes, decoder.into_inner())
}

fn bzip2(payload: &[u8], raw_len: usize) -> Result<Vec<u8>, Refusal> {
    let mut decoder = bzip2::bufread::BzDecoder::new(payload);
    let bytes = read(&mut decoder, raw_len)?;
    nothing_left(bytes, decoder.into_inner())
}

fn brotli(payload: &[u8], raw_len: usize) -> Result<Vec<u8>, Refusal> {
    // It takes one byte at a time, so as not to take any after the stream's end.
    let mut decoder = brotli::Decompressor::new(payload, 1);
    let bytes = read(&mut decoder, raw_len)?;
    nothing_left(bytes, decoder.into_inner())
}

/// A byte `e`, then a frame of the bytes in planes.
fn in_elements(
    block: &Block<'_>,
    decode: fn(&[u8], usize) -> Result<Vec<u8>, Refusal>,
    join: fn(&[u8], usize) -> Vec<u8>,
) -> Result<Vec<u8>, Refusal> {
    match block.payload {
        [e @ 1..=16, frame @ ..] => Ok(join(&decode(frame, block.raw_len)?, usize::from(*e))),
        _ => Err(Refusal::corrupt("elements of no byte, or more than 16")),
    }
}

fn png(payload: &[u8], raw_len: usize) -> Result<Vec<u8>, Refusal> {
    let height = (1..=raw_len.isqrt()).rev().find(|height| raw_len.is_multiple_of(*height)).unwrap_or(1);
    let mut left = Cursor::new(payload);
    let mut decoder = png::Decoder::new(&mut left);
    decoder.set_transformations(png::Transformations::IDENTITY);
    let info = decoder.read_header_info().map_err(corrupt)?;
    let is_right = info.size() == ((raw_len / height) as u32, height as u32)
        && (info.color_type, info.bit_depth) == (png::ColorType::Grayscale, png::BitDepth::Eight)
        && !info.interlaced;
    if !is_right {
        return Err(Refusal::corrupt("the image is not as its block wants it"));
    }
    let mut reader = decoder.read_info().map_err(corrupt)?;
    let mut bytes = vec![0; raw_len];
    reader.next_frame(&mut bytes).map_err(corrupt)?;
    reader.finish().map_err(corrupt)?;
    drop(reader);
    let n_read = left.position() as usize;
    nothing_left(bytes, payload.get(n_read..).unwrap_or_default())
}

fn flac(payload: &[u8], raw_len: usize) -> Result<Vec<u8>, Refusal> {
    let mut left = payload;
    let mut reader = flac_codec::decode::FlacSampleReader::new(&mut left).map_err(corrupt)?;
    let info = reader.metadata().streaminfo();
    let is_right = (info.channels.get(), u32::from(info.bits_per_sample), info.sample_rate) == (1, 8, 16_000)
        && info.total_samples.is_some_and(|n| n.get() == raw_len as u64)
        && reader.metadata().blocks().count() == 1;
    if !is_right {
        return Err(Refusal::corrupt("the sound is not as its block wants it"));
    }
    let mut bytes = Vec::new();
    while bytes.len() < raw_len {
        let samples = reader.fill_buf().map_err(corrupt)?;
        if samples.is_empty() {
            break;
        }
        for &sample in samples {
            bytes.push(u8::try_from(sample + 128).map_err(|_| Refusal::corrupt("a sample of more than 8 bits"))?);
        }
        let n_samples = samples.len();
        reader.consume(n_samples);
    }
    drop(reader);
    nothing_left(bytes, left)
}
