use super::{Raw, SplitZstd, Zstd};
use crate::fast::Fast;
use crate::float_layout::FloatLayout;
use crate::structural::Structural;
use crate::{BlockCodec, BlockInput, Encoded, EncodedBlock, Error, Level, NoProgress, Progress};

/// The smallest of several codecs, measured for each block.
#[derive(Clone, Debug)]
pub struct Auto {
    zstd_level: i32,
    floats: Floats,
}

/// What floating-point numbers are tried with, beside raw.
#[derive(Clone, Debug)]
enum Floats {
    /// zstd and split-zstd, as all others.
    Plain,
    /// The fast codec alone.
    Fast,
    /// The fast codec as well.
    FastToo,
    /// The fast codec, pcodec and the structural prior as well.
    All(Structural),
}

/// pcodec's usual level, which is fast.
#[cfg(feature = "pco")]
const PCO_LEVEL: u32 = 8;

impl Auto {
    /// Raw, zstd and split-zstd at one of zstd's levels, 1 to 22.
    pub fn plain(zstd_level: i32) -> Self {
        Self { zstd_level, floats: Floats::Plain }
    }

    /// The codecs of a level: raw, zstd and split-zstd. Floating-point numbers are tried with the fast codec alone at level 1, with
    /// it, too, at level 2, and from level 3 on also with pco and structural.
    pub fn new(level: Level) -> Self {
        let floats = match level.get() {
            1 => Floats::Fast,
            2 => Floats::FastToo,
            _ => Floats::All(Structural::new(level)),
        };
        Self { zstd_level: level.zstd(), floats }
    }
}

impl BlockCodec for Auto {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let zstd = Zstd { level: self.zstd_level };
        let split_zstd = SplitZstd { level: self.zstd_level };
        let fast = Fast::new();
        #[cfg(feature = "pco")]
        let pco = super::Pco { level: PCO_LEVEL };
        let is_float = FloatLayout::of(input.place.dtype).is_some();
        let codecs: Vec<&dyn BlockCodec> = match &self.floats {
            Floats::Fast if is_float => vec![&fast],
            Floats::FastToo if is_float => vec![&zstd, &split_zstd, &fast],
            #[cfg(feature = "pco")]
            Floats::All(structural) if is_float => vec![&zstd, &split_zstd, &fast, &pco, structural],
            #[cfg(not(feature = "pco"))]
            Floats::All(structural) if is_float => vec![&zstd, &split_zstd, &fast, structural],
            _ => vec![&zstd, &split_zstd],
        };
        let mut best = Raw.encode(input, &NoProgress)?;
        for codec in codecs {
            let encoded = codec.encode(input, &NoProgress)?;
            if encoded.payload.len() < best.payload.len() {
                best = encoded;
            }
        }
        progress.advance(input.bytes.len() as u64);
        Ok(best)
    }

    fn decode(&self, _: EncodedBlock<'_>, _: &dyn Progress) -> Result<Vec<u8>, Error> {
        Err(Error::corrupt_block("auto names no codec of its own"))
    }

    fn block_bytes(&self) -> usize {
        match &self.floats {
            Floats::All(structural) => structural.block_bytes(),
            _ => super::BLOCK_BYTES,
        }
    }

    fn wants_whole_tensors(&self) -> bool {
        !matches!(self.floats, Floats::Plain)
    }
}
