//! A model with its tokenizer.

use std::path::Path;

use lmgc_container::ModelRecord;
use lmgc_model::{Error as ModelError, Fingerprint, LoadOptions, Model, ModelSource, NUMERICS_REVISION, Vocabulary};
use lmgc_tokens::Tokenizer;

use crate::Error;

/// A language model ready to code with: weights, tokenizer, fingerprint and start token.
pub struct LanguageModel {
    name: String,
    model: Model,
    tokenizer: Tokenizer,
    fingerprint: Fingerprint,
    start_token: u32,
}

impl LanguageModel {
    /// Loads a GGUF file or a model folder ([`ModelSource::open`]) with its vocabulary: that of the GGUF file, or the
    /// folder's `tokenizer.json`. Converted weights of large models are kept in the model store. `name` is what files and
    /// messages call the model.
    ///
    /// # Errors
    /// [`Error::Model`], [`Error::Tokens`] or [`Error::NoStartToken`], saying what is wrong with the files.
    pub fn load(name: &str, path: &Path) -> Result<Self, Error> {
        Self::load_with(name, path, &LoadOptions::with_store())
    }

    /// As [`LanguageModel::load`], with options.
    ///
    /// # Errors
    /// Those of [`LanguageModel::load`].
    pub fn load_with(name: &str, path: &Path, options: &LoadOptions) -> Result<Self, Error> {
        let source = ModelSource::open(path)?;
        let tokenizer = match source.vocabulary() {
            Vocabulary::Gguf(header) => Tokenizer::from_gguf(header)?,
            Vocabulary::TokenizerJson(path) => Tokenizer::from_tokenizer_json(path)?,
        };
        Self::new(name, source.load(options)?, tokenizer)
    }

    /// Puts a model and its tokenizer together.
    ///
    /// # Errors
    /// [`Error::NoStartToken`], or [`Error::Model`] where the tokenizer has texts for ids that the model lacks.
    pub fn new(name: &str, model: Model, tokenizer: Tokenizer) -> Result<Self, Error> {
        let vocab_size = model.config().vocab_size as u32;
        // Special tokens may lie beyond it: they stand for no text and are never coded.
        let beyond = (vocab_size..tokenizer.vocab_size() as u32).find(|&id| !tokenizer.id_bytes(id).is_empty());
        if let Some(id) = beyond {
            let problem = format!("is {vocab_size}, and the tokenizer has a token {id}: it belongs to another model");
            return Err(ModelError::Config { field: "vocabulary size".to_owned(), problem }.into());
        }
        let start_token = tokenizer
            .start_token()
            .filter(|&id| id < vocab_size)
            .ok_or_else(|| Error::NoStartToken { model: name.to_owned() })?;
        // The model's vocabulary may be padded beyond the tokenizer's: those ids have no bytes.
        let fingerprint = model.fingerprint((0..vocab_size).map(|id| tokenizer.id_bytes(id)));
        Ok(Self { name: name.to_owned(), model, tokenizer, fingerprint, start_token })
    }

    /// What files and messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The weights.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Hash of configuration, weights and token table.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The token that every window starts with.
    pub fn start_token(&self) -> u32 {
        self.start_token
    }

    /// What a file's header says of it.
    pub fn record(&self) -> ModelRecord {
        ModelRecord {
            name: self.name.clone(),
            fingerprint: self.fingerprint.0,
            numerics_revision: NUMERICS_REVISION,
            vocab_size: self.model.config().vocab_size as u32,
            start_token: self.start_token,
        }
    }

    /// Checks that this is the model that a file was written with.
    ///
    /// # Errors
    /// [`Error::NumericsRevision`] or [`Error::ModelMismatch`].
    pub fn check(&self, record: &ModelRecord) -> Result<(), Error> {
        check_revision(record)?;
        let own = self.record();
        if (record.fingerprint, record.vocab_size, record.start_token)
            == (own.fingerprint, own.vocab_size, own.start_token)
        {
            return Ok(());
        }
        let short = |fingerprint| Fingerprint(fingerprint).to_string()[..16].to_owned();
        Err(Error::ModelMismatch {
            name: record.name.clone(),
            expected: short(record.fingerprint),
            found_name: self.name.clone(),
            found: short(own.fingerprint),
        })
    }
}

/// Checks, before anything is loaded, that this program implements a file's numerics.
pub(crate) fn check_revision(record: &ModelRecord) -> Result<(), Error> {
    if record.numerics_revision == NUMERICS_REVISION {
        return Ok(());
    }
    Err(Error::NumericsRevision { found: record.numerics_revision, supported: NUMERICS_REVISION })
}
