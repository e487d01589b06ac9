//! xz streams, with xz's own defaults: LZMA2 and a CRC-64.

use std::io::Write;

use liblzma::bufread::XzDecoder;
use liblzma::stream::{Check, Stream};
use liblzma::write::XzEncoder;

use crate::Error;

/// Memory that a decoder may use, in bytes: what level 9 asks for (a dictionary of 64 MiB) and some room. liblzma takes
/// it from the system as it is filled, so a short block costs little.
const MEMORY_LIMIT: u64 = 66 << 20;

pub(super) fn pack(bytes: &[u8], level: u32) -> Result<Vec<u8>, Error> {
    let stream = Stream::new_easy_encoder(level, Check::Crc64).map_err(std::io::Error::from)?;
    let mut encoder = XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

pub(super) fn unpack(payload: &[u8], raw_len: usize) -> Result<Vec<u8>, Error> {
    let stream = Stream::new_stream_decoder(MEMORY_LIMIT, 0).map_err(std::io::Error::from)?;
    let mut rest = payload;
    let bytes = super::read_block("xz", XzDecoder::new_stream(&mut rest, stream), raw_len)?;
    super::expect_end("xz", rest.len())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use liblzma::stream::{Filters, LzmaOptions};

    use super::*;

    /// A stream of three bytes whose header asks for a dictionary of so many.
    fn with_dictionary(n_bytes: u32) -> Vec<u8> {
        let mut options = LzmaOptions::new_preset(0).unwrap();
        options.dict_size(n_bytes);
        let stream = Stream::new_stream_encoder(Filters::new().lzma2(&options), Check::Crc64).unwrap();
        let mut encoder = XzEncoder::new_stream(Vec::new(), stream);
        encoder.write_all(&[1, 2, 3]).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn dictionaries_beyond_level_9_are_refused() {
        assert_eq!(unpack(&with_dictionary(64 << 20), 3).unwrap(), [1, 2, 3]);
        assert!(unpack(&with_dictionary(96 << 20), 3).unwrap_err().is_bad_input());
    }
}
