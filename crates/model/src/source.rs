//! Where a model comes from: a GGUF file, or a Hugging Face folder.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use lmgc_tensors::gguf::GgufFile;
use memmap2::Mmap;

use crate::cache::{self, Key};
use crate::families::{Family, FamilyWeights};
use crate::folder::{INDEX_FILE, NO_MODEL, Shards, TOKENIZER_FILE, list_files, parse_index, read_bytes, weights};
use crate::hugging_face::{self, HuggingFaceConfig};
use crate::mapping::map;
use crate::{Error, Model, ModelConfig, gguf, store};

/// Converting fewer bytes of weights than this takes no time worth saving.
const MIN_CACHED_BYTES: u64 = 64 << 20;

/// How to load a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// The folder where converted weights of large models are kept; `None` keeps and reads none.
    pub cache: Option<PathBuf>,
}

impl LoadOptions {
    /// Keeps converted weights in `canonical` in the model store, if there is one.
    pub fn with_store() -> Self {
        Self { cache: store::root().ok().map(|root| root.join("canonical")) }
    }
}

/// The vocabulary that belongs to a model's weights.
#[derive(Clone, Copy, Debug)]
pub enum Vocabulary<'a> {
    /// In the metadata of a GGUF file.
    Gguf(&'a GgufFile),
    /// In a file `tokenizer.json`, which need not exist.
    TokenizerJson(&'a Path),
}

/// A model's files, opened and mapped; the configuration is read and valid, the weights are not read yet.
pub struct ModelSource(Kind);

enum Kind {
    Gguf { path: PathBuf, mapping: Mmap, header: GgufFile, family: Family, config: ModelConfig },
    HuggingFace(Folder),
}

struct Folder {
    config_json: Vec<u8>,
    /// Empty where no index is needed.
    index_json: Vec<u8>,
    config: HuggingFaceConfig,
    /// Name, path and content.
    files: Vec<(String, PathBuf, Mmap)>,
    /// What each file must hold, where there is an index.
    expected: Shards,
    tokenizer: PathBuf,
}

impl ModelSource {
    /// Opens a GGUF file, a folder that holds a `model.gguf`, or a Hugging Face folder: `config.json` beside
    /// `model.safetensors`, shards with `model.safetensors.index.json`, or one safetensors file of any name.
    ///
    /// # Errors
    /// [`Error::NotAModel`], [`Error::Io`], [`Error::Format`], [`Error::Config`] or [`Error::Tensor`], saying what is wrong.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = &store::model_at(path);
        if path.is_dir() {
            return Self::open_folder(path);
        }
        let ending = path.extension().unwrap_or_default();
        if ending == "safetensors" || ending == "json" {
            return Err(not_a_model(path, "it is one file of a folder; give the folder".to_owned()));
        }
        Self::open_gguf(path)
    }

    fn open_gguf(path: &Path) -> Result<Self, Error> {
        let (mapping, header) = gguf::open(path)?;
        let (family, config) = gguf::read_config(&header, &mapping)?;
        config.validate()?;
        Ok(Self(Kind::Gguf { path: path.to_owned(), mapping, header, family, config }))
    }

    fn open_folder(folder: &Path) -> Result<Self, Error> {
        let listed = list_files(folder)?;
        let names: Vec<&str> = listed.iter().map(|file| file.name.as_str()).collect();
        if !names.contains(&store::CONFIG_FILE) {
            return Err(not_a_model(folder, NO_MODEL.to_owned()));
        }
        let mut index_json = Vec::new();
        let read_index = || {
            index_json = read_bytes(&folder.join(INDEX_FILE)).map_err(|error| error.to_string())?;
            parse_index(&index_json)
        };
        let expected = weights(&names, read_index).map_err(|problem| not_a_model(folder, problem))?;
        let config_json = read_bytes(&folder.join(store::CONFIG_FILE))?;
        let config = hugging_face::read_config(&config_json)?;
        config.config.validate()?;
        let mut files = Vec::new();
        for name in expected.keys() {
            let path = folder.join(name);
            let mapping = map(&path)?;
            files.push((name.clone(), path, mapping));
        }
        let tokenizer = folder.join(TOKENIZER_FILE);
        Ok(Self(Kind::HuggingFace(Folder { config_json, index_json, config, files, expected, tokenizer })))
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        match &self.0 {
            Kind::Gguf { config, .. } => config,
            Kind::HuggingFace(folder) => &folder.config.config,
        }
    }

    /// Where the vocabulary is.
    pub fn vocabulary(&self) -> Vocabulary<'_> {
        match &self.0 {
            Kind::Gguf { header, .. } => Vocabulary::Gguf(header),
            Kind::HuggingFace(folder) => Vocabulary::TokenizerJson(&folder.tokenizer),
        }
    }

    /// Reads the weights, converting them to canonical form unless the cache has them.
    ///
    /// # Errors
    /// [`Error::Format`] or [`Error::Tensor`], saying what is wrong with the files; never for a cache that cannot be
    /// read or written.
    pub fn load(&self, options: &LoadOptions) -> Result<Model, Error> {
        let mut weights = self.weights()?;
        let cached = match &options.cache {
            Some(folder) if weights.tensors.n_bytes() >= MIN_CACHED_BYTES => Some(self.key()?.path_in(folder)),
            _ => None,
        };
        match cached {
            None => Ok(cache::build(self.config(), &mut weights, None)?.0),
            Some(path) => match cache::read(&path, self.config()) {
                Some(model) => Ok(model),
                None => cache::build_and_write(&path, self.config(), &mut weights),
            },
        }
    }

    fn weights(&self) -> Result<FamilyWeights<'_, '_>, Error> {
        match &self.0 {
            Kind::Gguf { mapping, header, family, config, .. } => gguf::weights(header, mapping, *family, config),
            Kind::HuggingFace(folder) => {
                let files: Vec<(&str, &[u8])> =
                    folder.files.iter().map(|(name, _, mapping)| (name.as_str(), &mapping[..])).collect();
                hugging_face::weights(&folder.config, &files, &folder.expected)
            }
        }
    }

    /// Lengths, times and headers of all files.
    fn key(&self) -> Result<Key, Error> {
        match &self.0 {
            Kind::Gguf { path, mapping, header, .. } => {
                let mut key = Key::new("gguf");
                key.add_file(path)?;
                let data_start = header.tensors.iter().map(|tensor| tensor.offset).min().unwrap_or(0);
                key.add(usize::try_from(data_start).ok().and_then(|n| mapping.get(..n)).unwrap_or_default());
                Ok(key)
            }
            Kind::HuggingFace(folder) => {
                let mut key = Key::new("hugging face");
                key.add(&folder.config_json);
                key.add(&folder.index_json);
                for (name, path, mapping) in &folder.files {
                    key.add(name.as_bytes());
                    key.add_file(path)?;
                    let header_len = mapping.first_chunk().map_or(0, |&len| u64::from_le_bytes(len));
                    let header = usize::try_from(header_len).ok().and_then(|n| mapping.get(8..n.checked_add(8)?));
                    key.add(header.unwrap_or_default());
                }
                Ok(key)
            }
        }
    }
}

fn not_a_model(path: &Path, problem: String) -> Error {
    Error::NotAModel { path: path.to_owned(), problem }
}

impl Model {
    /// Loads a model from what [`ModelSource::open`] takes.
    ///
    /// # Errors
    /// Those of [`ModelSource::open`] and [`ModelSource::load`].
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self, Error> {
        ModelSource::open(path)?.load(options)
    }

    /// Loads a model from the bytes of a GGUF file.
    ///
    /// # Errors
    /// [`Error::Format`], [`Error::Config`] or [`Error::Tensor`], saying what is wrong with the file.
    pub fn from_gguf_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let header = GgufFile::parse(&mut Cursor::new(bytes))
            .map_err(|source| Error::Format { path: PathBuf::from("the GGUF file"), source })?;
        Self::from_gguf(&header, bytes)
    }

    /// As [`Model::from_gguf_bytes`], with the header already read.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::Tensor`], saying what is wrong with the file.
    pub fn from_gguf(header: &GgufFile, bytes: &[u8]) -> Result<Self, Error> {
        let (family, config) = gguf::read_config(header, bytes)?;
        config.validate()?;
        Ok(cache::build(&config, &mut gguf::weights(header, bytes, family, &config)?, None)?.0)
    }

    /// Loads a model from a `config.json` and safetensors files (name and bytes).
    ///
    /// # Errors
    /// [`Error::Format`], [`Error::Config`] or [`Error::Tensor`], saying what is wrong with the files.
    pub fn from_safetensors_bytes(config_json: &[u8], files: &[(&str, &[u8])]) -> Result<Self, Error> {
        let config = hugging_face::read_config(config_json)?;
        config.config.validate()?;
        let mut weights = hugging_face::weights(&config, files, &Shards::new())?;
        Ok(cache::build(&config.config, &mut weights, None)?.0)
    }
}
