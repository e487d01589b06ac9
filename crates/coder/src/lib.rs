//! Integer frequency tables and range coding.
//!
//! This crate turns integer weights into integer frequencies whose sum is exactly 2^[`PRECISION_BITS`] and
//! codes symbols with them. It contains no floating-point arithmetic at all: whatever happens on the way from
//! a model's logits to integer weights is the caller's business, and everything after that is exact.
//!
//! - [`FrequencyTable`] and [`interval_from_weights`] hold the one rule that makes frequencies from weights.
//! - [`Encoder`] and [`Decoder`] are the range coder ([`constriction`]'s, 32-bit words and a 64-bit state).
//! - [`BinaryEncoder`] and [`BinaryDecoder`] code binary decisions and intervals, faster.
//! - [`RansEncoder`] and [`RansDecoder`] code symbols of fixed frequencies, much faster.
//! - [`AdaptiveBit`], [`AdaptiveModel`] and [`AdaptiveUint`] learn as they go and serve side information.
//!
//! The bytes that come out are part of the file format:
//!
//! ```
//! use lmgc_coder::{Decoder, Encoder, FrequencyTable, interval_from_weights};
//!
//! let weights = [1 << 30, 3 << 26, 0, 12_345_678];
//! let message = [0, 1, 0, 3, 2, 0, 0, 1, 3, 0];
//!
//! let mut encoder = Encoder::new();
//! for &symbol in &message {
//!     encoder.encode(interval_from_weights(&weights, symbol));
//! }
//! let bytes = encoder.finish();
//! assert_eq!(bytes, [0xcd, 0xeb, 0x86, 0x9c, 0x02, 0xb3]);
//!
//! let mut table = FrequencyTable::new();
//! table.set_from_weights(&weights);
//! let mut decoder = Decoder::new(&bytes);
//! for &symbol in &message {
//!     assert_eq!(decoder.decode(&table), Ok(symbol));
//! }
//! decoder.finish()?;
//! # Ok::<(), lmgc_coder::Error>(())
//! ```

mod adaptive;
mod binary;
mod frequencies;
mod range;
mod rans;

pub use adaptive::{AdaptiveBit, AdaptiveModel, AdaptiveUint};
pub use binary::{BINARY_PRECISION_BITS, BinaryDecoder, BinaryEncoder, INTERVAL_PRECISION_BITS};
pub use frequencies::{FrequencyTable, MAX_SYMBOLS, interval_from_weights};
pub use range::{Decoder, Encoder, Interval, PRECISION_BITS};
pub use rans::{
    RANS_PRECISION_BITS, RANS_SLOTS, RANS_STATE_BYTES, RANS_STATES, RansDecodeRounds, RansDecodeTable, RansDecoder,
    RansEncodeRounds, RansEncodeTable, RansEncoder, RansFrequencies, rans_frequencies,
};

/// What can be wrong with a range-coded stream.
///
/// Most damage shows up as wrong symbols, not as an error: a range coder has no redundancy. Whoever stores a
/// stream protects it with a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No encoder writes these bytes.
    #[error(
        "the range-coded stream of {len_bytes} bytes is invalid near byte {offset_bytes}: it is damaged or was not \
         written for these frequencies"
    )]
    InvalidStream {
        /// Bytes read so far.
        offset_bytes: usize,
        /// Length of the stream.
        len_bytes: usize,
    },
    /// Bytes are left after the last symbol.
    #[error(
        "the range-coded stream ends at byte {used_bytes}, but {len_bytes} bytes were given: it is damaged or was not \
         written for these frequencies"
    )]
    TrailingBytes {
        /// Bytes that the symbols can have needed.
        used_bytes: usize,
        /// Length of the stream.
        len_bytes: usize,
    },
}
