//! Token datasets: tokens of one or several sources in a safetensors file, with all that is needed to turn them back.
//!
//! The file has the tensors `ids` (U32, all sources' ids one after the other) and `side` (U8, likewise their side
//! information, see [`crate::stream`]), the metadata key `lmgc.tokens` with the value `1`, and the key `lmgc.settings`
//! with [`Settings`] as JSON.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use lmgc_serialize::{BytesPerGroup, CHUNK_BYTES, Format, Serializer};
use lmgc_tensors::{Dtype, Layout, safetensors};
use serde::{Deserialize, Serialize};

use crate::preprocess::Preprocess;
use crate::random::{below, generator};
pub use crate::source::{Source, TensorInfo, files_in};
use crate::stream::{TokenStream, detokenize_bytes, tokenize_bytes};
use crate::{Error, Result, Tokenizer, as_text};

/// Metadata key that tells a token dataset from other safetensors files. The value is the version, [`VERSION`].
pub const MARKER_KEY: &str = "lmgc.tokens";
/// Version of what the metadata and tensors mean.
pub const VERSION: &str = "1";
const SETTINGS_KEY: &str = "lmgc.settings";
/// Name of the tensor of token ids.
pub const IDS_TENSOR: &str = "ids";

/// How to make a dataset, beside the tokenizer and the text format.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// Name of the model whose tokenizer it is, for the record.
    pub model: String,
    /// What is done to the values first. Lossy.
    pub preprocess: Preprocess,
    /// How many of the sources to draw at random; all if `None`.
    pub num_subsample: Option<usize>,
    /// For drawing sources and for preprocessing.
    pub seed: u64,
}

/// All settings of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Text format.
    #[serde(with = "as_text")]
    pub format: Format,
    /// Bytes between separators.
    #[serde(with = "as_text")]
    pub bytes_per_group: BytesPerGroup,
    /// Bytes a chunk; always [`CHUNK_BYTES`].
    pub chunk_bytes: usize,
    /// Name of the model whose tokenizer was used.
    pub model: String,
    /// BLAKE3 of the tokenizer's id -> bytes table, hexadecimal ([`Tokenizer::table_hash`]).
    pub table_blake3: String,
    /// What was done to the values first. Lossy unless empty.
    #[serde(with = "as_text")]
    pub preprocess: Preprocess,
    /// How many sources were drawn at random, if they were.
    pub num_subsample: Option<usize>,
    /// For drawing sources and for preprocessing.
    pub seed: u64,
    /// The sources, in order of their tokens.
    pub sources: Vec<SourceSettings>,
}

impl Settings {
    /// Reads the settings from a safetensors file's metadata.
    ///
    /// # Errors
    /// [`Error::Dataset`] if they are missing or not as they should be.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self> {
        let settings = metadata.get(SETTINGS_KEY).map_or("", String::as_str);
        serde_json::from_str(settings).map_err(|error| Error::Dataset(format!("{SETTINGS_KEY}: {error}")))
    }

    /// Whether the dataset was made with this tokenizer, or one with the same id -> bytes table.
    pub fn is_from(&self, tok: &Tokenizer) -> bool {
        self.table_blake3 == table_blake3(tok)
    }
}

/// What the dataset knows of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSettings {
    /// Name.
    pub name: String,
    /// Bytes before preprocessing.
    pub n_original_bytes: u64,
    /// Bytes that were tokenised, and come back.
    pub n_bytes: u64,
    /// Token ids.
    pub n_ids: u64,
    /// Bytes of side information.
    pub n_side_bytes: u64,
    /// The source's tensors, as they were before preprocessing, in parameter order.
    pub tensors: Vec<TensorInfo>,
}

/// A token dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenDataset {
    /// Token ids of all sources.
    pub ids: Vec<u32>,
    /// Side information of all sources.
    pub side: Vec<u8>,
    /// Settings and sources.
    pub settings: Settings,
}

/// Which of `n_available` sources to use: `n_drawn` different indices, ascending. All draws are equally likely.
///
/// # Errors
/// [`Error::TooFewSources`].
pub fn draw_sources(n_available: usize, n_drawn: usize, seed: u64) -> Result<Vec<usize>> {
    if n_drawn > n_available {
        return Err(Error::TooFewSources { requested: n_drawn, available: n_available });
    }
    let mut generator = generator(seed, 0);
    let mut indices: Vec<usize> = (0..n_available).collect();
    for drawn in 0..n_drawn {
        let other = drawn + below(&mut generator, n_available - drawn);
        indices.swap(drawn, other);
    }
    indices.truncate(n_drawn);
    indices.sort_unstable();
    Ok(indices)
}

impl TokenDataset {
    /// Draws, preprocesses and tokenises sources, and makes sure that the tokens turn back into what was tokenised.
    ///
    /// Sources drawn beforehand with [`draw_sources`] may be given with the same `num_subsample`: drawing as many as
    /// there are changes nothing.
    ///
    /// # Errors
    /// [`Error::TooFewSources`], [`Error::Dataset`] if a source's tensors do not have the length of its bytes,
    /// [`Error::Preprocess`] for preprocessing of anything but f32, and those of [`tokenize_bytes`].
    pub fn build(sources: Vec<Source>, tok: &Tokenizer, ser: &Serializer, options: &Options) -> Result<Self> {
        let drawn = match options.num_subsample {
            Some(n_drawn) => draw_sources(sources.len(), n_drawn, options.seed)?,
            None => (0..sources.len()).collect(),
        };
        let mut dataset = Self {
            ids: Vec::new(),
            side: Vec::new(),
            settings: Settings {
                format: ser.format(),
                bytes_per_group: ser.bytes_per_group(),
                chunk_bytes: CHUNK_BYTES,
                model: options.model.clone(),
                table_blake3: table_blake3(tok),
                preprocess: options.preprocess.clone(),
                num_subsample: options.num_subsample,
                seed: options.seed,
                sources: Vec::new(),
            },
        };
        let drawn_sources = sources.into_iter().enumerate().filter(|(index, _)| drawn.binary_search(index).is_ok());
        for (index, (_, source)) in drawn_sources.enumerate() {
            dataset.push(source, index as u64, tok, ser)?;
        }
        Ok(dataset)
    }

    fn push(&mut self, source: Source, index: u64, tok: &Tokenizer, ser: &Serializer) -> Result<()> {
        let n_original_bytes = source.bytes.len() as u64;
        if !source.tensors.is_empty() && total_len_bytes(&source.tensors) != Some(n_original_bytes) {
            return Err(Error::Dataset(format!(
                "the tensors of source \"{}\" do not have {n_original_bytes} bytes, as its data has",
                source.name
            )));
        }
        let bytes = if self.settings.preprocess.is_empty() {
            source.bytes
        } else {
            source.preprocessed(&self.settings.preprocess, self.settings.seed, index)?
        };
        let TokenStream { ids, side } = tokenize_bytes(tok, ser, &bytes)?;
        self.settings.sources.push(SourceSettings {
            name: source.name,
            n_original_bytes,
            n_bytes: bytes.len() as u64,
            n_ids: ids.len() as u64,
            n_side_bytes: side.len() as u64,
            tensors: source.tensors,
        });
        self.ids.extend(ids);
        self.side.extend(side);
        Ok(())
    }

    /// The serializer of the settings.
    #[must_use]
    pub fn serializer(&self) -> Serializer {
        Serializer::new(self.settings.format, self.settings.bytes_per_group)
    }

    /// The bytes that were tokenised (after preprocessing, if any) with the name of each source.
    ///
    /// # Errors
    /// [`Error::TokenizerMismatch`] if `tok` is not the tokenizer it was made with, [`Error::Dataset`] if lengths
    /// contradict each other, and those of [`detokenize_bytes`].
    pub fn detokenize(&self, tok: &Tokenizer) -> Result<Vec<(String, Vec<u8>)>> {
        let found = table_blake3(tok);
        if found != self.settings.table_blake3 {
            return Err(Error::TokenizerMismatch {
                expected_name: self.settings.model.clone(),
                expected: self.settings.table_blake3.clone(),
                found,
            });
        }
        let serializer = self.serializer();
        let (mut ids, mut side) = (self.ids.as_slice(), self.side.as_slice());
        let mut outputs = Vec::new();
        for source in &self.settings.sources {
            let source_ids = split_front(&mut ids, source.n_ids);
            let source_side = split_front(&mut side, source.n_side_bytes);
            let (Some(source_ids), Some(source_side)) = (source_ids, source_side) else {
                return Err(Error::Dataset(format!("it ends before the tokens of source \"{}\" do", source.name)));
            };
            let bytes = detokenize_bytes(tok, &serializer, source_ids, source_side, source.n_bytes)?;
            outputs.push((source.name.clone(), bytes));
        }
        if !ids.is_empty() || !side.is_empty() {
            return Err(Error::Dataset(format!(
                "{} ids and {} bytes of side information belong to no source",
                ids.len(),
                side.len()
            )));
        }
        Ok(outputs)
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::Tensors`] when the settings are too long for a header.
    pub fn to_safetensors_bytes(&self) -> Result<Vec<u8>> {
        let mut file = Vec::new();
        self.with_tensors(|tensors, metadata| safetensors::write_to(&mut file, tensors, metadata))?;
        Ok(file)
    }

    /// Writes the file, as a whole or not at all.
    ///
    /// # Errors
    /// [`Error::Tensors`] when that fails.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        self.with_tensors(|tensors, metadata| safetensors::write(path, tensors, metadata))
    }

    fn with_tensors(
        &self,
        write: impl FnOnce(
            &[safetensors::TensorEntry<'_>],
            &BTreeMap<String, String>,
        ) -> std::result::Result<(), lmgc_tensors::Error>,
    ) -> Result<()> {
        let settings = serde_json::to_string(&self.settings).expect("settings are plain data");
        let metadata =
            [(MARKER_KEY, VERSION.to_owned()), (SETTINGS_KEY, settings)].map(|(key, value)| (key.to_owned(), value));
        let ids: Vec<u8> = self.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let tensors = [
            (IDS_TENSOR.to_owned(), Dtype::U32, vec![self.ids.len() as u64], ids.as_slice()),
            ("side".to_owned(), Dtype::U8, vec![self.side.len() as u64], self.side.as_slice()),
        ];
        Ok(write(&tensors, &metadata.into())?)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Tensors`] if it is no safetensors file, [`Error::Dataset`] if it is one, but no token
    /// dataset that this version reads.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut file = File::open(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Self::read_from(&mut file)
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn from_safetensors_bytes(file: &[u8]) -> Result<Self> {
        Self::read_from(&mut Cursor::new(file))
    }

    fn read_from<R: Read + Seek>(file: &mut R) -> Result<Self> {
        let layout = safetensors::read_layout_strict(file)?;
        match layout.metadata.get(MARKER_KEY).map(String::as_str) {
            Some(VERSION) => {}
            Some(version) => {
                return Err(Error::Dataset(format!("version {version:?} is not known; this program reads {VERSION}")));
            }
            None => return Err(Error::Dataset(format!("metadata key {MARKER_KEY} is missing"))),
        }
        let settings = Settings::from_metadata(&layout.metadata)?;
        if settings.chunk_bytes != CHUNK_BYTES {
            return Err(Error::Dataset(format!("chunks of {} bytes, not {CHUNK_BYTES}", settings.chunk_bytes)));
        }
        let ids = tensor_bytes(file, &layout, IDS_TENSOR, Dtype::U32)?;
        let ids = ids.as_chunks().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
        let side = tensor_bytes(file, &layout, "side", Dtype::U8)?;
        Ok(Self { ids, side, settings })
    }
}

fn tensor_bytes<R: Read + Seek>(file: &mut R, layout: &Layout, name: &str, dtype: Dtype) -> Result<Vec<u8>> {
    let span = layout
        .spans
        .iter()
        .find(|span| span.name == name && span.dtype == dtype)
        .ok_or_else(|| Error::Dataset(format!("tensor \"{name}\" of type {dtype} is missing")))?;
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(span.offset)).map_err(lmgc_tensors::Error::from)?;
    // The layout has made sure that the span lies in the file.
    file.take(span.len).read_to_end(&mut bytes).map_err(lmgc_tensors::Error::from)?;
    if bytes.len() as u64 != span.len {
        return Err(Error::Dataset(format!("tensor \"{name}\" changed its length while it was read")));
    }
    Ok(bytes)
}

fn table_blake3(tok: &Tokenizer) -> String {
    blake3::Hash::from_bytes(tok.table_hash()).to_hex().to_string()
}

/// Bytes of all tensors; `None` when that overflows.
fn total_len_bytes(tensors: &[TensorInfo]) -> Option<u64> {
    tensors.iter().map(TensorInfo::len_bytes).try_fold(0_u64, |sum, len| sum.checked_add(len?))
}

/// Takes the first `n` elements off.
fn split_front<'a, T>(slice: &mut &'a [T], n: u64) -> Option<&'a [T]> {
    let (front, rest) = slice.split_at_checked(usize::try_from(n).ok()?)?;
    *slice = rest;
    Some(front)
}
