//! The bytes of a draw.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use lmgc_codec::bench;
use lmgc_serialize::CHUNK_BYTES;
use lmgc_tensors::{Dtype, PARAMETER_ORDER_KEY, safetensors};
use lmgc_tokens::dataset::{Source, draw_sources, files_in};
use lmgc_tokens::preprocess::Preprocess;

use crate::{Draw, Origin};

/// Makes the draw of a place in the gradients independent of the draw of files.
const PLACE_SEED: u64 = 0x706c_6163_6500_0000;

/// What is compressed in the cells of a draw.
pub(crate) struct Sample {
    /// A safetensors file: the drawn gradients' tensors, or, of a part of them or of processed values, one tensor `sample`.
    pub(crate) file: Vec<u8>,
    /// The same, read back: what codecs get that see tensors.
    pub(crate) tensors: bench::Sample,
    /// Names of the files that were drawn.
    pub(crate) files: Vec<String>,
    /// Where the pieces begin in the drawn gradients' bytes.
    pub(crate) offsets: Vec<u64>,
    /// BLAKE3 of the file, 16 hexadecimal digits of it.
    pub(crate) hash: String,
}

/// Where the gradients of an origin lie.
pub(crate) fn directory_of(origin: &Origin, runs: &Path) -> PathBuf {
    match origin {
        Origin::Run { dataset, arch, tag } => runs.join(format!("{dataset}-{arch}")).join(tag).join("grads"),
        Origin::File(path) => path.clone(),
    }
}

impl Sample {
    /// Draws.
    ///
    /// # Errors
    /// What is missing or wrong, in words.
    pub(crate) fn draw(path: &Path, draw: &Draw) -> Result<Self, String> {
        let say = |error: lmgc_tokens::Error| error.to_string();
        let preprocess = match draw.is_lossless() {
            true => Preprocess::default(),
            false => draw.preprocess.parse().map_err(say)?,
        };
        let mut files = if path.is_dir() { files_in(path).map_err(say)? } else { vec![path.to_owned()] };
        if draw.num_subsample > 0 {
            let drawn = draw_sources(files.len(), draw.num_subsample, draw.seed)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            files = drawn.into_iter().filter_map(|index| files.get(index).cloned()).collect();
        }
        let mut sources = Vec::new();
        for file in &files {
            // A note about a file that is less than it looked like is no failure.
            sources.push(Source::read(file).map_err(say)?.0);
        }
        let names = sources.iter().map(|source| source.name.clone()).collect();
        if preprocess.is_empty() && draw.bytes == 0 {
            return Self::new(whole(&sources)?, names, vec![0]);
        }
        let (dtype, bytes) = if preprocess.is_empty() {
            let bytes = sources.iter().flat_map(|source| &source.bytes).copied().collect();
            (dtype_of(&sources).unwrap_or(Dtype::U8), bytes)
        } else {
            let processed =
                (0..).zip(&sources).map(|(index, source)| source.preprocessed(&preprocess, draw.seed, index));
            (preprocess.output_dtype(), processed.collect::<Result<Vec<_>, _>>().map_err(say)?.concat())
        };
        let (offsets, bytes) = part(bytes, draw)?;
        Self::new(one_tensor(dtype, &bytes)?, names, offsets)
    }

    fn new(file: Vec<u8>, files: Vec<String>, offsets: Vec<u64>) -> Result<Self, String> {
        let hash = blake3::hash(&file).to_hex()[..16].to_owned();
        let tensors = bench::Sample::read(&mut Cursor::new(&file), None).map_err(|error| error.to_string())?;
        Ok(Self { file, tensors, files, offsets, hash })
    }
}

/// The element type of all tensors, if they have the same.
fn dtype_of(sources: &[Source]) -> Option<Dtype> {
    let mut dtypes = sources.iter().flat_map(|source| source.tensors.iter().map(|tensor| tensor.dtype));
    let first = dtypes.next()?;
    dtypes.all(|dtype| dtype == first).then_some(first)
}

/// The drawn part: pieces of whole chunks, one from each of as many equal stretches, and where they begin.
fn part(bytes: Vec<u8>, draw: &Draw) -> Result<(Vec<u64>, Vec<u8>), String> {
    if draw.bytes == 0 {
        return Ok((vec![0], bytes));
    }
    let len = usize::try_from(draw.bytes).unwrap_or(usize::MAX);
    if draw.pieces == 0 || !len.is_multiple_of(draw.pieces) || !(len / draw.pieces).is_multiple_of(CHUNK_BYTES) {
        return Err(format!(
            "{len} bytes do not make {} pieces of whole chunks of {CHUNK_BYTES} bytes: change bytes or pieces",
            draw.pieces
        ));
    }
    let chunks_a_piece = len / draw.pieces / CHUNK_BYTES;
    let n_chunks = bytes.len() / CHUNK_BYTES;
    let (mut offsets, mut taken) = (Vec::new(), Vec::new());
    for piece in 0..draw.pieces {
        let stretch = n_chunks * piece / draw.pieces..n_chunks * (piece + 1) / draw.pieces;
        let n_places = (stretch.len() + 1).saturating_sub(chunks_a_piece);
        let seed = draw.seed ^ PLACE_SEED ^ piece as u64;
        let place = draw_sources(n_places, 1, seed).ok().and_then(|places| places.first().copied());
        let place = place.ok_or_else(|| {
            format!(
                "the drawn gradients have {} bytes, too few for {} pieces of {len} in all",
                bytes.len(),
                draw.pieces
            )
        })?;
        let offset = (stretch.start + place) * CHUNK_BYTES;
        offsets.push(offset as u64);
        taken.extend(bytes.iter().skip(offset).take(chunks_a_piece * CHUNK_BYTES));
    }
    Ok((offsets, taken))
}

fn one_tensor(dtype: Dtype, bytes: &[u8]) -> Result<Vec<u8>, String> {
    // A part may end within a value.
    let dtype = if (bytes.len() as u64).is_multiple_of(dtype.size_bytes()) { dtype } else { Dtype::U8 };
    let shape = vec![bytes.len() as u64 / dtype.size_bytes()];
    write(&[("sample".to_owned(), dtype, shape, bytes)], &BTreeMap::new())
}

/// All tensors of all sources.
fn whole(sources: &[Source]) -> Result<Vec<u8>, String> {
    let mut tensors = Vec::new();
    for source in sources {
        let prefix = if sources.len() > 1 { format!("{}/", source.name) } else { String::new() };
        if source.tensors.is_empty() {
            tensors.push((source.name.clone(), Dtype::U8, vec![source.bytes.len() as u64], source.bytes.as_slice()));
        }
        let mut rest = source.bytes.as_slice();
        for tensor in &source.tensors {
            let len = tensor.len_bytes().and_then(|len| usize::try_from(len).ok());
            let split = len.and_then(|len| rest.split_at_checked(len));
            let (bytes, later) = split.ok_or_else(|| format!("{}: its tensors are longer than it is", source.name))?;
            rest = later;
            tensors.push((format!("{prefix}{}", tensor.name), tensor.dtype, tensor.shape.clone(), bytes));
        }
    }
    let order: Vec<&str> = tensors.iter().map(|(name, ..)| name.as_str()).collect();
    let order = serde_json::to_string(&order).map_err(|error| error.to_string())?;
    write(&tensors, &[(PARAMETER_ORDER_KEY.to_owned(), order)].into())
}

fn write(tensors: &[safetensors::TensorEntry<'_>], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, String> {
    let mut file = Vec::new();
    safetensors::write_to(&mut file, tensors, metadata).map_err(|error| error.to_string())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NO_PREPROCESS;

    fn draw(seed: u64, num_subsample: usize, bytes: u64, preprocess: &str) -> Draw {
        Draw { seed, num_subsample, bytes, pieces: 1, preprocess: preprocess.to_owned() }
    }

    /// Three files of two tensors, 1000 values.
    fn gradients() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for step in 0..3 {
            let values: Vec<u8> =
                (0..1000).flat_map(|i| ((i + 1) as f32 * (step as f32 + 0.5)).to_le_bytes()).collect();
            let tensors = [
                ("a.weight".to_owned(), Dtype::F32, vec![30, 30], &values[..3600]),
                ("b.bias".to_owned(), Dtype::F32, vec![100], &values[3600..]),
            ];
            let order = [(PARAMETER_ORDER_KEY.to_owned(), r#"["a.weight","b.bias"]"#.to_owned())].into();
            safetensors::write(directory.path().join(format!("grad_{step}.safetensors")), &tensors, &order).unwrap();
        }
        directory
    }

    #[test]
    fn whole_gradients_keep_their_tensors() {
        let directory = gradients();
        let one = Sample::draw(directory.path(), &draw(0, 1, 0, NO_PREPROCESS)).unwrap();
        assert_eq!((one.tensors.n_tensors(), one.tensors.n_bytes(), one.files.len()), (2, 4000, 1));
        let all = Sample::draw(directory.path(), &draw(0, 0, 0, NO_PREPROCESS)).unwrap();
        assert_eq!((all.tensors.n_tensors(), all.tensors.n_bytes(), all.files.len()), (6, 12000, 3));
        assert!(one.tensors.has_structure());
    }

    #[test]
    fn parts_are_chunks_that_the_seed_decides() {
        let directory = gradients();
        let mut places = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let sample = Sample::draw(directory.path(), &draw(seed, 0, 1024, NO_PREPROCESS)).unwrap();
            let again = Sample::draw(directory.path(), &draw(seed, 0, 1024, NO_PREPROCESS)).unwrap();
            assert_eq!((&sample.offsets, &sample.hash), (&again.offsets, &again.hash));
            assert_eq!(sample.tensors.runs[0].dtype, Dtype::F32);
            let &[offset] = sample.offsets.as_slice() else { panic!("one piece") };
            assert!(offset.is_multiple_of(512) && offset + 1024 <= 12000);
            assert_eq!(sample.tensors.n_bytes(), 1024);
            places.insert(offset);
        }
        assert!(places.len() > 8, "{places:?}");
    }

    #[test]
    fn pieces_come_from_everywhere() {
        let directory = gradients();
        let source: Vec<u8> = {
            let all = Sample::draw(directory.path(), &draw(0, 0, 0, NO_PREPROCESS)).unwrap();
            all.tensors.runs[0].bytes.clone()
        };
        let pieces = Draw { pieces: 3, ..draw(7, 0, 3072, NO_PREPROCESS) };
        let sample = Sample::draw(directory.path(), &pieces).unwrap();
        let expected: Vec<u8> =
            sample.offsets.iter().flat_map(|&at| source[at as usize..at as usize + 1024].to_vec()).collect();
        assert!(sample.tensors.runs[0].bytes == expected, "{:?}", sample.offsets);
        // 23 whole chunks in three stretches.
        for (offset, (start, end)) in sample.offsets.iter().zip([(0, 7), (7, 15), (15, 23)]) {
            assert!((start * 512..=end * 512 - 1024).contains(offset), "{:?}", sample.offsets);
        }
        for (bytes, pieces, words) in [(3072, 4, "whole chunks"), (3072, 0, "whole chunks"), (12288, 2, "too few")] {
            let error = Sample::draw(directory.path(), &Draw { pieces, ..draw(7, 0, bytes, NO_PREPROCESS) }).err();
            assert!(error.is_some_and(|error| error.contains(words)), "{bytes} in {pieces}");
        }
    }

    #[test]
    fn processed_values_are_what_is_compressed() {
        let directory = gradients();
        let quantised = Sample::draw(directory.path(), &draw(0, 2, 0, "quantization8")).unwrap();
        assert_eq!((quantised.tensors.runs[0].dtype, quantised.tensors.n_bytes()), (Dtype::U8, 2000));
        let sparse = Sample::draw(directory.path(), &draw(0, 1, 0, "sparsification50")).unwrap();
        assert!((300..700).contains(&sparse.tensors.n_values()));
    }

    #[test]
    fn what_cannot_be_drawn_is_said() {
        let directory = gradients();
        for (path, draw, words) in [
            (directory.path().to_owned(), draw(0, 4, 0, NO_PREPROCESS), "cannot draw 4 of 3"),
            (directory.path().to_owned(), draw(0, 1, 4096, NO_PREPROCESS), "4000 bytes, too few"),
            (directory.path().to_owned(), draw(0, 1, 4000, NO_PREPROCESS), "whole chunks"),
            (directory.path().to_owned(), draw(0, 1, 0, "quantisation8"), "quantisation8"),
            (directory.path().join("none"), draw(0, 1, 0, NO_PREPROCESS), "cannot read"),
        ] {
            let error = Sample::draw(&path, &draw).err().unwrap();
            assert!(error.contains(words), "{error}");
        }
    }
}
