//! Running a codec, with a clock and a comparison.

use std::io::Cursor;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Sample, Scope, memory};
use crate::{
    BlockCodec, BlockInput, CodecId, CompressOptions, Encoded, EncodedBlock, Error, ModelSource, NoProgress, baselines,
    compress, decompress,
};

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rounds of which the medians are taken, at least one.
    pub n_rounds: usize,
    /// Once the rounds have taken this long, no other begins.
    pub enough: Duration,
}

/// What a codec came to. Times are wall-clock times of all pieces together, medians of the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Bytes that went in.
    pub raw_bytes: u64,
    /// Bytes that came out, with what is needed to find them.
    pub compressed_bytes: u64,
    /// Pieces that were coded by themselves.
    pub n_pieces: usize,
    /// Rounds that were run.
    pub n_rounds: usize,
    /// Seconds to compress.
    pub compress_seconds: f64,
    /// Seconds to decompress.
    pub decompress_seconds: f64,
    /// Most memory that this process had beyond what it had before, with everything that compressing and decompressing leave
    /// behind; `None` where the system does not tell. It means something in a process that does nothing else.
    pub peak_memory_bytes: Option<u64>,
}

/// Why there is no measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Failure {
    /// The codec does not take this input, and says so.
    Refused {
        /// The codec's reason.
        reason: String,
    },
    /// The codec took the input and did not give it back: a defect.
    Broken {
        /// What happened.
        reason: String,
    },
}

impl Failure {
    /// A codec's refusal.
    pub fn refused(error: &Error) -> Self {
        Self::Refused { reason: error.to_string() }
    }

    /// A codec's defect.
    pub fn broken(what: impl ToString) -> Self {
        Self::Broken { reason: what.to_string() }
    }

    /// What happened.
    pub fn reason(&self) -> &str {
        match self {
            Self::Refused { reason } | Self::Broken { reason } => reason,
        }
    }
}

/// Measures a codec, whose number is `id`, on a sample cut as `scope` says (not [`Scope::File`]); pieces have `chunk_bytes`
/// bytes in [`Scope::Chunks`]. Everything that is decoded is compared, in every round, outside the measured time.
///
/// # Errors
/// [`Failure`].
pub fn measure(
    codec: &dyn BlockCodec,
    id: CodecId,
    sample: &Sample,
    scope: Scope,
    chunk_bytes: usize,
    limits: Limits,
) -> Result<Measurement, Failure> {
    let pieces = sample.pieces(scope, chunk_bytes);
    repeat(limits, sample.n_bytes(), pieces.len(), || {
        let mut round = Round::default();
        let mut coded: Vec<Encoded> = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            let input = BlockInput { bytes: piece.bytes, place: piece.place(), is_token_ids: false };
            let start = Instant::now();
            let encoded = codec.encode(input, &NoProgress);
            round.compress += start.elapsed();
            coded.push(encoded.map_err(|error| Failure::refused(&error))?);
        }
        let mut offset = 0;
        for (piece, Encoded { codec: used, payload, n_lanes, .. }) in pieces.iter().zip(&coded) {
            let block = EncodedBlock { payload, raw_len: piece.bytes.len(), n_lanes: *n_lanes, place: piece.place() };
            // A codec may have handed the piece on to another.
            let other;
            let decoder = if *used == id {
                codec
            } else {
                other = baselines::codec(*used, baselines::reference_level(*used)).map_err(Failure::broken)?;
                &*other
            };
            let start = Instant::now();
            let decoded = decoder.decode(block, &NoProgress);
            round.decompress += start.elapsed();
            let decoded =
                decoded.map_err(|error| Failure::broken(format!("it cannot decode its own output: {error}")))?;
            compare(piece.bytes, &decoded, offset)?;
            offset += piece.bytes.len();
        }
        round.compressed_bytes = coded.iter().map(|encoded| encoded.payload.len() as u64).sum();
        if coded.len() > 1 {
            round.compressed_bytes += coded.iter().map(|encoded| leb128_bytes(encoded.payload.len())).sum::<u64>();
        }
        if coded.iter().any(|encoded| encoded.codec != id) {
            // A reader must be told which codec it was.
            round.compressed_bytes += coded.len() as u64;
        }
        Ok(round)
    })
}

/// Measures the way from a file to a `.lmgc` file and back, in memory.
///
/// # Errors
/// [`Failure`].
pub fn measure_file(
    original: &[u8],
    options: &CompressOptions<'_>,
    models: &dyn ModelSource,
    limits: Limits,
) -> Result<Measurement, Failure> {
    repeat(limits, original.len() as u64, 1, || {
        let mut packed = Vec::new();
        let start = Instant::now();
        let report = compress(&mut Cursor::new(original), &mut packed, options, &NoProgress);
        let compress = start.elapsed();
        report.map_err(|error| Failure::refused(&error))?;
        let mut restored = Cursor::new(Vec::new());
        let start = Instant::now();
        let report = decompress(packed.as_slice(), &mut restored, models, &NoProgress);
        let decompress = start.elapsed();
        report.map_err(|error| Failure::broken(format!("its file does not decode: {error}")))?;
        compare(original, restored.get_ref(), 0)?;
        Ok(Round { compress, decompress, compressed_bytes: packed.len() as u64 })
    })
}

#[derive(Clone, Copy, Debug, Default)]
struct Round {
    compress: Duration,
    decompress: Duration,
    compressed_bytes: u64,
}

fn repeat(
    limits: Limits,
    raw_bytes: u64,
    n_pieces: usize,
    mut run: impl FnMut() -> Result<Round, Failure>,
) -> Result<Measurement, Failure> {
    memory::reset_peak();
    let before = memory::resident_bytes();
    let start = Instant::now();
    let first = run()?;
    let mut rounds = vec![first];
    while rounds.len() < limits.n_rounds && start.elapsed() < limits.enough {
        let round = run()?;
        if round.compressed_bytes != first.compressed_bytes {
            let (first, now) = (first.compressed_bytes, round.compressed_bytes);
            return Err(Failure::broken(format!("the same input became {first} bytes, and then {now}")));
        }
        rounds.push(round);
    }
    let peak_memory_bytes = memory::peak_bytes().zip(before).map(|(peak, before)| peak.saturating_sub(before));
    Ok(Measurement {
        raw_bytes,
        compressed_bytes: first.compressed_bytes,
        n_pieces,
        n_rounds: rounds.len(),
        compress_seconds: median(rounds.iter().map(|round| round.compress)),
        decompress_seconds: median(rounds.iter().map(|round| round.decompress)),
        peak_memory_bytes,
    })
}

/// In seconds; the mean of the middle two of an even number.
fn median(times: impl Iterator<Item = Duration>) -> f64 {
    let mut times: Vec<Duration> = times.collect();
    times.sort();
    let middle = |at: usize| times.get(at).map_or(0.0, Duration::as_secs_f64);
    (middle(times.len().saturating_sub(1) / 2) + middle(times.len() / 2)) / 2.0
}

fn compare(expected: &[u8], decoded: &[u8], offset: usize) -> Result<(), Failure> {
    if expected == decoded {
        return Ok(());
    }
    if expected.len() != decoded.len() {
        let (expected, decoded) = (expected.len(), decoded.len());
        return Err(Failure::broken(format!(
            "the piece at byte {offset} has {expected} bytes and comes back as {decoded}"
        )));
    }
    let at = expected.iter().zip(decoded).position(|(a, b)| a != b).unwrap_or_default();
    Err(Failure::broken(format!("byte {} comes back as another", offset + at)))
}

/// Bytes of a length in LEB128, seven bits each.
fn leb128_bytes(len: usize) -> u64 {
    u64::from((usize::BITS - len.leading_zeros()).div_ceil(7).max(1))
}

#[cfg(test)]
mod tests {
    use lmgc_testkit::{Random, gradient_like};

    use super::*;
    use crate::bench::Contestant;
    use crate::{CodecName, NoModels, Progress};

    const ONCE: Limits = Limits { n_rounds: 1, enough: Duration::ZERO };
    const THRICE: Limits = Limits { n_rounds: 3, enough: Duration::from_secs(60) };

    fn sample(bytes: &[u8]) -> Sample {
        Sample::read(&mut Cursor::new(bytes), None).unwrap()
    }

    /// Adds `change` to the last byte that it gives back.
    struct Fake {
        change: u8,
        refuses: bool,
        stray: Option<CodecId>,
    }

    const HONEST: Fake = Fake { change: 0, refuses: false, stray: None };

    impl BlockCodec for Fake {
        fn encode(&self, input: BlockInput<'_>, _: &dyn Progress) -> Result<Encoded, Error> {
            if self.refuses {
                return Err(Error::corrupt_block("not of my kind"));
            }
            Ok(Encoded::plain(self.stray.unwrap_or(CodecId::Lm), input.bytes.to_vec()))
        }

        fn decode(&self, block: EncodedBlock<'_>, _: &dyn Progress) -> Result<Vec<u8>, Error> {
            let mut bytes = block.payload.to_vec();
            match (bytes.last_mut(), self.change) {
                (Some(last), change) => *last = last.wrapping_add(change),
                (None, 0) => {}
                (None, _) => return Err(Error::corrupt_block("nothing to change")),
            }
            Ok(bytes)
        }

        fn block_bytes(&self) -> usize {
            1 << 20
        }
    }

    #[test]
    fn every_codec_on_hard_inputs() {
        let inputs = [
            Vec::new(),
            vec![7],
            vec![0; 1 << 16],
            Random::new(1).bytes(4099),
            gradient_like(2, 10_002),
            lmgc_testkit::alternating_tensors(3, 5, 1000),
        ];
        for input in inputs {
            let sample = sample(&input);
            for contestant in Contestant::usual() {
                let CodecName::One(id) = contestant.codec else { continue };
                let codec = baselines::codec(id, contestant.level.unwrap_or_default()).unwrap();
                for scope in [Scope::Whole, Scope::Tensor, Scope::Chunks] {
                    match measure(&*codec, id, &sample, scope, 509, ONCE) {
                        Ok(measured) => assert_eq!(measured.raw_bytes, sample.n_bytes(), "{contestant} {scope}"),
                        Err(Failure::Refused { .. }) => {}
                        Err(other) => panic!("{contestant} {scope} on {} bytes: {other:?}", input.len()),
                    }
                }
            }
        }
    }

    #[test]
    fn lengths_count_where_there_are_several() {
        let sample = sample(&[9; 1000]);
        let size = |scope, chunk_bytes| measure(&HONEST, CodecId::Lm, &sample, scope, chunk_bytes, THRICE).unwrap();
        assert_eq!(size(Scope::Whole, 0).compressed_bytes, 1000);
        assert_eq!(size(Scope::Whole, 0).n_rounds, 3);
        assert_eq!(size(Scope::Chunks, 127).compressed_bytes, 1000 + 8);
        assert_eq!(size(Scope::Chunks, 128).compressed_bytes, 1000 + 7 * 2 + 1);
        assert_eq!(size(Scope::Chunks, 128).n_pieces, 8);
        assert_eq!([0, 1, 127, 128, 16_383, 16_384, usize::MAX].map(leb128_bytes), [1, 1, 1, 2, 2, 3, 10]);
    }

    #[test]
    fn a_piece_handed_on_to_another_codec_is_decoded_by_that_and_costs_a_byte() {
        let stray = Fake { stray: Some(CodecId::Raw), ..HONEST };
        let measured = measure(&stray, CodecId::Lm, &sample(&[9; 1000]), Scope::Whole, 0, ONCE).unwrap();
        assert_eq!(measured.compressed_bytes, 1001);
        let unknown = Fake { stray: Some(CodecId::Lm), ..HONEST };
        let failure = measure(&unknown, CodecId::Raw, &sample(&[9]), Scope::Whole, 0, ONCE).unwrap_err();
        assert!(matches!(failure, Failure::Broken { .. }), "{failure:?}");
    }

    #[test]
    fn refusals_and_lies_are_told_apart() {
        let sample = sample(&[9; 1000]);
        let run = |codec: &Fake, scope| measure(codec, CodecId::Lm, &sample, scope, 100, THRICE).unwrap_err();
        let refused = run(&Fake { refuses: true, ..HONEST }, Scope::Whole);
        assert!(matches!(&refused, Failure::Refused { reason } if reason.contains("not of my kind")), "{refused:?}");
        let lied = run(&Fake { change: 1, ..HONEST }, Scope::Whole);
        assert!(matches!(&lied, Failure::Broken { reason } if reason.contains("byte 999 ")), "{lied:?}");
        let lied = run(&Fake { change: 1, ..HONEST }, Scope::Chunks);
        assert!(matches!(&lied, Failure::Broken { reason } if reason.contains("byte 99 ")), "{lied:?}");
        let empty = Sample::read(&mut Cursor::new([]), None).unwrap();
        let fails = measure(&Fake { change: 1, ..HONEST }, CodecId::Lm, &empty, Scope::Whole, 0, ONCE).unwrap_err();
        assert!(matches!(&fails, Failure::Broken { reason } if reason.contains("its own output")), "{fails:?}");
        let short = compare(&[1, 2], &[1], 5).unwrap_err();
        assert!(short.reason().contains("2 bytes and comes back as 1"), "{short:?}");
    }

    #[test]
    fn whole_files() {
        let original = gradient_like(4, 5001);
        let options = CompressOptions { codec: CodecName::One(CodecId::Raw), ..Default::default() };
        let measured = measure_file(&original, &options, &NoModels, ONCE).unwrap();
        assert!(measured.compressed_bytes > measured.raw_bytes && measured.raw_bytes == 5001);
        assert!(measure_file(&[], &CompressOptions::default(), &NoModels, ONCE).unwrap().compressed_bytes > 0);
        let lm = CompressOptions { codec: CodecName::One(CodecId::Lm), ..Default::default() };
        let failure = measure_file(&original, &lm, &NoModels, ONCE).unwrap_err();
        assert!(matches!(failure, Failure::Refused { .. }), "{failure:?}");
    }

    #[test]
    fn medians() {
        let of = |ms: &[u64]| median(ms.iter().map(|&ms| Duration::from_millis(ms)));
        assert_eq!(of(&[5]), 0.005);
        assert_eq!(of(&[9, 1, 2]), 0.002);
        assert_eq!(of(&[4, 2]), 0.003);
    }
}
