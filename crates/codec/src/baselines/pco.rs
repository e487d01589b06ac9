use ::pco::data_types::{Number, NumberType};
use ::pco::errors::PcoError;
use ::pco::metadata::DeltaEncoding;
use ::pco::{ChunkConfig, standalone, wrapped};
use half::f16;
use lmgc_tensors::Dtype;

use super::numbers::LittleEndian;
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// pcodec, one standalone file a block.
///
/// Payload: the pco file of the block's whole elements (none: no file), then the bytes beyond them as they are. What pco has no
/// type for goes by its parts or bits: complex numbers as twice as many floats, BF16 as U16, 8-bit floats and
/// booleans as U8.
#[derive(Clone, Copy, Debug)]
pub struct Pco {
    /// pcodec's level, 0 to 12.
    pub level: u32,
}

/// What pco's own encoder keeps to, with which no file can ask for much memory.
mod limits {
    /// A file's chunks have at least so many numbers, unless there is only one.
    pub(super) const MIN_CHUNK_NUMBERS: usize = 1 << 16;
    /// How far back a number may refer: 2^15 numbers.
    pub(super) const MAX_LOOKBACK_LOG: u32 = 15;
    /// The mode, in the lowest 4 bits of a chunk, in which a dictionary of claimed length follows. Only callers who ask for it
    /// get it.
    pub(super) const DICTIONARY_MODE: u8 = 4;
    /// From this format version on, a file's version has two bytes.
    pub(super) const MIN_VERSION: u8 = 4;
    pub(super) const VERSION_BYTES: usize = 2;
}

/// `$body` with `$T` as pco's type for the elements.
macro_rules! with_number {
    ($dtype:expr, $T:ident => $body:expr) => {
        with_number!(@ $dtype, $T, $body,
            F64 | C128 => f64, F32 | C64 => f32, F16 => f16, I64 => i64, I32 => i32, I16 => i16, I8 => i8,
            U64 => u64, U32 => u32, U16 | BF16 => u16)
    };
    (@ $dtype:expr, $T:ident, $body:expr, $($($of:ident)|* => $number:ty),*) => {
        match $dtype {
            $($(Dtype::$of)|* => { type $T = $number; $body })*
            _ => { type $T = u8; $body }
        }
    };
}

fn corrupt(error: PcoError) -> Error {
    Error::corrupt_block(error.to_string())
}

impl Pco {
    fn pack<T: Number + LittleEndian>(self, whole: &[u8]) -> Result<Vec<u8>, Error> {
        if whole.is_empty() {
            return Ok(Vec::new());
        }
        let config = ChunkConfig::default().with_compression_level(self.level as usize).with_enable_8_bit(true);
        standalone::simple_compress(&T::read_all(whole), &config)
            .map_err(|e| Error::CodecRefuses { codec: CodecId::Pco, reason: e.message })
    }
}

/// Reads a standalone file of exactly `n` numbers, chunk by chunk, so that a chunk's claims are checked before they are met.
fn unpack<T: Number + LittleEndian>(file: &[u8], n: usize) -> Result<Vec<u8>, Error> {
    let (header, chunks) = standalone::FileDecompressor::new(file).map_err(corrupt)?;
    if header.n_hint() != n || header.format_version().major < limits::MIN_VERSION {
        return Err(Error::corrupt_block(format!("pco file of {} numbers for {n}", header.n_hint())));
    }
    let number_type = NumberType::new::<T>();
    if header.uniform_type().is_some_and(|uniform| uniform != number_type) {
        return Err(Error::corrupt_block("pco file of another type of number"));
    }
    // The last bytes of the header are that of the format inside, which has its own reader.
    let version_start = (file.len() - chunks.len()).saturating_sub(limits::VERSION_BYTES);
    let version = file.get(version_start..).unwrap_or_default();
    let (inside, mut rest) = wrapped::FileDecompressor::new(version).map_err(corrupt)?;

    let mut numbers = vec![T::default(); n];
    let mut missing = numbers.as_mut_slice();
    while !missing.is_empty() {
        let Some((&[chunk_type, n0, n1, n2], chunk)) = rest.split_first_chunk() else {
            return Err(Error::corrupt_block("pco file ends before a chunk"));
        };
        let n_in_chunk = u32::from_le_bytes([n0, n1, n2, 0]) as usize + 1;
        let is_possible = n_in_chunk <= missing.len() && (n_in_chunk == n || n_in_chunk >= limits::MIN_CHUNK_NUMBERS);
        if chunk_type != number_type as u8 || !is_possible {
            let missing = missing.len();
            return Err(Error::corrupt_block(format!(
                "pco chunk of {n_in_chunk} numbers of type {chunk_type}, with {missing} missing"
            )));
        }
        if chunk.first().is_some_and(|byte| byte & 0xf == limits::DICTIONARY_MODE) {
            return Err(Error::corrupt_block("pco chunk with a dictionary"));
        }
        let (mut decompressor, page) = inside.chunk_decompressor::<T, _>(chunk).map_err(corrupt)?;
        if let DeltaEncoding::Lookback { config, .. } = &decompressor.meta().delta_encoding
            && config.window_n_log > limits::MAX_LOOKBACK_LOG
        {
            return Err(Error::corrupt_block(format!("pco chunk that looks back by 2^{}", config.window_n_log)));
        }
        let mut page = decompressor.page_decompressor(page, n_in_chunk).map_err(corrupt)?;
        let (now, later) = missing.split_at_mut(n_in_chunk);
        page.read(now).map_err(corrupt)?;
        missing = later;
        rest = page.into_src();
    }
    if rest != [0] {
        return Err(Error::corrupt_block(format!("{} bytes where a pco file ends", rest.len())));
    }
    Ok(T::write_all(&numbers))
}

/// Bytes of one of pco's numbers.
fn number_bytes(dtype: Dtype) -> usize {
    with_number!(dtype, T => size_of::<T>())
}

impl BlockCodec for Pco {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let BlockInput { bytes, place, .. } = input;
        let (whole, tail) = bytes.split_at(bytes.len() - bytes.len() % number_bytes(place.dtype));
        let mut payload = with_number!(place.dtype, T => self.pack::<T>(whole)?);
        payload.extend_from_slice(tail);
        progress.advance(bytes.len() as u64);
        Ok(Encoded::plain(CodecId::Pco, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let EncodedBlock { payload, raw_len, place, .. } = block;
        let number_bytes = number_bytes(place.dtype);
        let (n, n_tail) = (raw_len / number_bytes, raw_len % number_bytes);
        let (file, tail) = payload
            .len()
            .checked_sub(n_tail)
            .and_then(|at| payload.split_at_checked(at))
            .ok_or_else(|| Error::corrupt_block("pco payload is too short"))?;
        let mut bytes = match n {
            0 if file.is_empty() => Vec::new(),
            0 => return Err(Error::corrupt_block("pco file for no numbers")),
            _ => with_number!(place.dtype, T => unpack::<T>(file, n)?),
        };
        bytes.extend_from_slice(tail);
        progress.advance(raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}
