//! What is known of a block besides its payload.

use crate::limits::{check, max_payload_bytes};
use crate::wire::{Fields, put_varint};
use crate::{Error, Limits, Stream};

/// A block: a run of one stream's bytes, and where its payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockInfo {
    /// The stream that the bytes belong to.
    pub stream: Stream,
    /// Which codec made the payload.
    pub codec: u8,
    /// First byte in the stream.
    pub stream_offset: u64,
    /// Number of original bytes, at least 1.
    pub raw_len: u64,
    /// Number of independently decodable lanes in the payload; 0 if the codec has none.
    pub n_lanes: u16,
    /// Length of the payload in bytes.
    pub payload_len: u64,
    /// CRC-32C of the payload.
    pub payload_crc32c: u32,
    /// Where the block's section starts in the `.lmgc` file.
    pub file_offset: u64,
}

impl BlockInfo {
    /// The block section's body.
    pub(crate) fn to_body(self) -> Vec<u8> {
        // Reserved flags.
        let mut body = vec![self.stream.id(), self.codec, 0];
        put_varint(&mut body, self.stream_offset);
        put_varint(&mut body, self.raw_len);
        put_varint(&mut body, self.n_lanes.into());
        put_varint(&mut body, self.payload_len);
        body.extend_from_slice(&self.payload_crc32c.to_le_bytes());
        body
    }

    /// Reads a block section's body that starts at `body_offset` in the file, for a section at `file_offset`.
    pub(crate) fn from_body(body: &[u8], body_offset: u64, file_offset: u64, limits: &Limits) -> Result<Self, Error> {
        let mut fields = Fields::new(body, body_offset);
        let here = fields.corrupt("block's stream");
        let stream = Stream::from_id(fields.u8("block's stream")?).ok_or(here)?;
        let codec = fields.u8("block's codec")?;
        let offset = fields.offset();
        let flags = fields.u8("block's flags")?;
        if flags != 0 {
            return Err(Error::UnsupportedFeature { what: "block flags", value: flags.into(), offset });
        }
        let stream_offset = fields.varint("block's stream offset")?;
        let raw_len = fields.varint("block's original length")?;
        check("block's original length in bytes", raw_len, limits.max_block_raw_bytes)?;
        let n_lanes = fields.narrow("block's number of lanes")?;
        let payload_len = fields.varint("block's payload length")?;
        check("block's payload length in bytes", payload_len, max_payload_bytes(raw_len))?;
        let payload_crc32c = fields.u32("block's payload checksum")?;
        fields.records(|_, _| Ok(false))?;
        Ok(Self { stream, codec, stream_offset, raw_len, n_lanes, payload_len, payload_crc32c, file_offset })
    }

    /// Checks a payload against its checksum; it starts at `offset` in the file.
    pub(crate) fn verify(&self, payload: &[u8], offset: u64) -> Result<(), Error> {
        if crc32c::crc32c(payload) == self.payload_crc32c {
            Ok(())
        } else {
            Err(Error::Corrupt { what: "block payload", offset })
        }
    }
}
