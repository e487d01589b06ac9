//! Bounds on what a file may demand.

use crate::Error;

/// Bounds on what a file may demand of a reader. The defaults are those of the format: no writer exceeds them.
///
/// Independently of them, memory is never reserved for a length that a file merely claims: it grows with what
/// has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest header section's body, in bytes: 16 MiB.
    pub max_header_bytes: u64,
    /// Most settings: 1024.
    pub max_settings: u64,
    /// Longest original, in bytes: 2^63 - 1, as file systems have it.
    pub max_original_bytes: u64,
    /// Most tensors: 2^19.
    pub max_tensors: u64,
    /// Longest block section's body (without the payload), in bytes: 4096.
    pub max_block_header_bytes: u64,
    /// Most original bytes in a block: 64 MiB. Its payload may have twice as many and 64 KiB; a codec that cannot do with
    /// that stores the bytes instead.
    pub max_block_raw_bytes: u64,
    /// Longest index, which is the footer's list of blocks, in bytes: 16 MiB.
    pub max_index_bytes: u64,
    /// Longest footer section's body, in bytes: 33 MiB. It holds the index and a hash for each tensor.
    pub max_footer_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_header_bytes: 16 << 20,
            max_settings: 1 << 10,
            max_original_bytes: i64::MAX as u64,
            max_tensors: 1 << 19,
            max_block_header_bytes: 1 << 12,
            max_block_raw_bytes: 64 << 20,
            max_index_bytes: 16 << 20,
            max_footer_bytes: 33 << 20,
        }
    }
}

/// Longest payload for a block of so many original bytes.
pub(crate) fn max_payload_bytes(raw_len: u64) -> u64 {
    raw_len.saturating_mul(2).saturating_add(64 << 10)
}

/// Checks a number against its limit.
pub(crate) fn check(what: &'static str, value: u64, limit: u64) -> Result<(), Error> {
    if value > limit { Err(Error::LimitExceeded { what, value, limit }) } else { Ok(()) }
}
