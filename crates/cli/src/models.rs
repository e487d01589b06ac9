//! Language models from the store or from files.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lmgc_codec::lm::LanguageModel;
use lmgc_codec::{Error, ModelSource};
use lmgc_model::store;

/// Finds models, and keeps the last one for the next file.
pub(crate) struct Models {
    /// `--model`, which goes before the name in a file.
    given: Option<String>,
    loaded: Mutex<Option<(String, Arc<LanguageModel>)>>,
}

impl Models {
    pub(crate) fn new(given: Option<&str>) -> Self {
        Self { given: given.map(str::to_owned), loaded: Mutex::new(None) }
    }

    /// The model of `--model`.
    pub(crate) fn given(&self) -> Result<Arc<LanguageModel>, Error> {
        let model = self.given.as_deref().ok_or(Error::ModelRequired)?;
        self.load(model, &store::resolve(model)?)
    }

    fn load(&self, model: &str, path: &Path) -> Result<Arc<LanguageModel>, Error> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, found)) = &*loaded
            && name == model
        {
            return Ok(found.clone());
        }
        // A file's own name says more than a path that is another one elsewhere.
        let name = if Path::new(model).components().count() > 1 {
            path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
        } else {
            model.to_owned()
        };
        let found = Arc::new(LanguageModel::from_gguf(&name, path)?);
        *loaded = Some((model.to_owned(), found.clone()));
        Ok(found)
    }
}

impl ModelSource for Models {
    fn model(&self, record: &lmgc_codec::ModelRecord) -> Result<Arc<LanguageModel>, Error> {
        match &self.given {
            Some(_) => self.given(),
            None => self.load(&record.name, &store::resolve_name(&record.name)?),
        }
    }
}
