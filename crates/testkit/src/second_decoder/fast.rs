//! Codec 18, by `docs/fast.md`.

use super::{Block, Refusal};

pub(super) fn decode(block: &Block<'_>) -> Result<Vec<u8>, Refusal> {
    let _ = block;
    Err(Refusal::corrupt("not written yet"))
}
