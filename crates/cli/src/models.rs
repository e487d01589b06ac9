//! What files need beside themselves: language models from the store or from files, and references.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use lmgc_codec::lm::LanguageModel;
use lmgc_codec::{Error, ModelSource, Reference};
use lmgc_model::store;

use crate::args::Common;

/// What files call a model: a name of the store as it is, a path by its last part, without the ending where it is a file's. The
/// directories would say nothing on another machine.
pub(crate) fn model_name(model: &str) -> String {
    if !store::is_path(model) {
        return model.to_owned();
    }
    let path = Path::new(model);
    // A folder's name may have a dot: Qwen2.5-0.5B.
    let is_file = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf") || e.eq_ignore_ascii_case("json"));
    let name = if is_file { path.file_stem() } else { path.file_name() };
    name.unwrap_or_default().to_string_lossy().into_owned()
}

/// Finds models, and keeps the last one for the next file.
pub(crate) struct Models {
    /// `--model`, which goes before the name in a file.
    given: Option<String>,
    loaded: Mutex<Option<(String, Arc<LanguageModel>)>>,
    reference: Option<Reference>,
    memory_bytes: u64,
}

impl Models {
    pub(crate) fn new(given: Option<&str>, common: &Common) -> Self {
        let loaded = Mutex::new(None);
        Self { given: given.map(str::to_owned), loaded, reference: None, memory_bytes: common.memory.0 }
    }

    /// With the file of `--reference`.
    pub(crate) fn with_reference(self, path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(self) };
        let open = || -> Result<Reference, Error> { Reference::new(BufReader::new(File::open(path)?)) };
        let reference = open().with_context(|| format!("cannot use {} as the reference", path.display()))?;
        Ok(Self { reference: Some(reference), ..self })
    }

    /// The model of `--model`.
    pub(crate) fn given(&self) -> Result<Arc<LanguageModel>, Error> {
        let model = self.given.as_deref().ok_or(Error::ModelRequired)?;
        self.named(model)
    }

    /// A model by name or path, whatever `--model` says.
    pub(crate) fn named(&self, model: &str) -> Result<Arc<LanguageModel>, Error> {
        self.load(model, &store::resolve(model)?)
    }

    fn load(&self, model: &str, path: &Path) -> Result<Arc<LanguageModel>, Error> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, found)) = &*loaded
            && name == model
        {
            return Ok(found.clone());
        }
        let name = model_name(model);
        let found = Arc::new(LanguageModel::load(&name, path)?);
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

    fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::model_name;

    #[test]
    fn names_of_paths() {
        for (model, name) in [
            ("tinyllama", "tinyllama"),
            ("smollm2-1.7b", "smollm2-1.7b"),
            ("a/tiny.Q8_0.gguf", "tiny.Q8_0"),
            ("tokenizer.json", "tokenizer"),
            ("models/Qwen2.5-0.5B", "Qwen2.5-0.5B"),
            ("./Qwen2.5-0.5B/", "Qwen2.5-0.5B"),
        ] {
            assert_eq!(model_name(model), name);
        }
    }
}
