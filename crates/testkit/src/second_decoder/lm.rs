//! Codec 16.

use super::{Block, Prior, Refusal};

pub(super) fn decode(block: &Block<'_>, prior: &Prior<'_>) -> Result<Vec<u8>, Refusal> {
    let _ = (block, prior);
    Err(Refusal::corrupt("not written yet"))
}
