use super::{Raw, SplitZstd, Zstd};
use crate::float_layout::FloatLayout;
use crate::structural::Structural;
use crate::{BlockCodec, BlockInput, Encoded, EncodedBlock, Error, Level, NoProgress, Progress};

/// The smallest of several codecs, measured for each block.
#[derive(Clone, Debug)]
pub struct Auto {
    zstd_level: i32,
    structural: Option<Structural>,
}

/// pcodec's usual level, which is fast.
#[cfg(feature = "pco")]
const PCO_LEVEL: u32 = 8;

impl Auto {
    /// Raw, zstd and split-zstd at one of zstd's levels, 1 to 22.
    pub fn plain(zstd_level: i32) -> Self {
        Self { zstd_level, structural: None }
    }

    /// The codecs of a level: raw, zstd and split-zstd, and from level 3 on also pco and structural for floating-point numbers.
    pub fn new(level: Level) -> Self {
        let structural = (level >= Level::FIRST_WITH_STRUCTURE).then(|| Structural::new(level));
        Self { zstd_level: level.zstd(), structural }
    }
}

impl BlockCodec for Auto {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let mut best = Raw.encode(input, &NoProgress)?;
        let zstd = Zstd { level: self.zstd_level };
        let split_zstd = SplitZstd { level: self.zstd_level };
        let mut codecs: Vec<&dyn BlockCodec> = vec![&zstd, &split_zstd];
        #[cfg(feature = "pco")]
        let pco = super::Pco { level: PCO_LEVEL };
        if let Some(structural) = &self.structural
            && FloatLayout::of(input.place.dtype).is_some()
        {
            #[cfg(feature = "pco")]
            codecs.push(&pco);
            codecs.push(structural);
        }
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
        self.structural.as_ref().map_or(super::BLOCK_BYTES, BlockCodec::block_bytes)
    }

    fn wants_whole_tensors(&self) -> bool {
        self.structural.is_some()
    }
}
