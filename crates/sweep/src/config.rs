//! What a sweep's TOML file says.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Error;

/// A matrix of experiments. Its cells are the cross product of [`Gradients`], [`Draws`] and every list of each table `lm` and
/// `codecs`. Values are kept as they stand in the file: a cell whose values mean nothing fails by itself.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What results and the report call it.
    pub name: String,
    /// What it shows, in a sentence or two, for people who run it.
    #[serde(default)]
    pub about: String,
    /// Fetch known models that are not in the model store from the hub.
    #[serde(default)]
    pub pull: bool,
    /// What is compressed.
    pub gradients: Gradients,
    /// What of it.
    #[serde(default)]
    pub draws: Draws,
    /// With language models.
    #[serde(default)]
    pub lm: Vec<LanguageModels>,
    /// With all other codecs.
    #[serde(default)]
    pub codecs: Vec<Codecs>,
}

/// Runs of `lmgc collect`, and files.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gradients {
    /// Where runs lie: `DIR/<dataset>-<arch>/<tag>/grads/`. [default: exps]
    pub dir: Option<PathBuf>,
    /// Data sets.
    #[serde(default)]
    pub datasets: Vec<String>,
    /// Architectures.
    #[serde(default)]
    pub archs: Vec<String>,
    /// Names of repeats. [default: "0"]
    #[serde(default = "first_tag")]
    pub tags: Vec<String>,
    /// Gradient files, and directories of them, from elsewhere.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// How runs are made that are not there yet; without it they must be there.
    pub collect: Option<Collect>,
}

fn first_tag() -> Vec<String> {
    vec!["0".to_owned()]
}

/// Settings of `lmgc collect`, by the names of its flags. A tag that is a number is the run's seed, too; others have seed 0.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Collect {
    /// Directory of the data sets' files: `DATA/<dataset>`.
    pub data: Option<PathBuf>,
    /// Fetch files of data sets that are not there.
    #[serde(default)]
    pub download: bool,
    /// Training steps.
    pub steps: Option<u64>,
    /// Passes over the training images.
    pub epochs: Option<u64>,
    /// Write the gradients every so many steps.
    pub grad_interval: Option<u64>,
    /// Images in a batch.
    pub batch_size: Option<usize>,
    /// Classes of the synthetic data set.
    pub classes: Option<usize>,
    /// Optimizer.
    pub optimizer: Option<String>,
    /// Where LM-GC's schedule slips.
    pub schedule: Option<String>,
}

/// Which gradients, and how much of them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Draws {
    /// Seeds, one for each draw. [default: 0, 1, 2]
    #[serde(default = "three_seeds")]
    pub seeds: Vec<u64>,
    /// How many of a run's gradient files are drawn; 0: all. [default: 1]
    #[serde(default = "one_file")]
    pub num_subsample: Vec<usize>,
    /// Bytes that are taken of the drawn gradients, in whole chunks of 512 from places that are drawn, too; 0: all. [default: 0]
    #[serde(default = "all_bytes")]
    pub bytes: Vec<u64>,
    /// From how many places, one in each of as many equal stretches. [default: 1]
    #[serde(default = "one_piece")]
    pub pieces: usize,
    /// What is done to the values first, lossy: steps joined by `+`, or `none`. [default: none]
    #[serde(default = "no_preprocess")]
    pub preprocess: Vec<String>,
}

impl Default for Draws {
    fn default() -> Self {
        Self {
            seeds: three_seeds(),
            num_subsample: one_file(),
            bytes: all_bytes(),
            pieces: one_piece(),
            preprocess: no_preprocess(),
        }
    }
}

fn three_seeds() -> Vec<u64> {
    vec![0, 1, 2]
}

fn one_file() -> Vec<usize> {
    vec![1]
}

fn all_bytes() -> Vec<u64> {
    vec![0]
}

fn one_piece() -> usize {
    1
}

fn no_preprocess() -> Vec<String> {
    vec![NO_PREPROCESS.to_owned()]
}

/// How a config says that nothing is done to the values.
pub const NO_PREPROCESS: &str = "none";

/// A cross product of the language-model prior's settings, by the names of `lmgc compress`'s flags.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LanguageModels {
    /// Names in the model store, GGUF files or folders.
    pub models: Vec<String>,
    /// Formats. [default: hex-space]
    #[serde(default = "hex_space")]
    pub formats: Vec<String>,
    /// Bytes between separators. [default: 4]
    #[serde(default = "four")]
    pub bytes_per_group: Vec<usize>,
    /// Tokens in a window. [default: 2048]
    #[serde(default = "usual_window")]
    pub windows: Vec<usize>,
    /// Which tokens get probability. [default: alphabet]
    #[serde(default = "alphabet")]
    pub masks: Vec<String>,
    /// Leading bits of values that pass through the model. [default: all]
    pub lm_bits: Option<u32>,
    /// Whether the model is mixed with others.
    #[serde(default)]
    pub mix: bool,
}

fn hex_space() -> Vec<String> {
    vec!["hex-space".to_owned()]
}

fn four() -> Vec<usize> {
    vec![4]
}

fn usual_window() -> Vec<usize> {
    vec![2048]
}

fn alphabet() -> Vec<String> {
    vec!["alphabet".to_owned()]
}

/// A cross product of codecs without language models.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Codecs {
    /// Names, with levels where wanted: `zstd:19`.
    pub names: Vec<String>,
    /// What a codec sees at once: `file` (as `lmgc compress` does it, headers included), `tensor`, `whole` or `chunks`. [default: file]
    #[serde(default = "file_scope")]
    pub scopes: Vec<String>,
    /// Bytes of a chunk in scope `chunks`. [default: 512]
    pub chunk_bytes: Option<usize>,
}

fn file_scope() -> Vec<String> {
    vec!["file".to_owned()]
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Read`], or [`Error::Config`] with line, column and what could stand there.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|problem| Error::Config { path: path.to_owned(), problem })
    }

    /// Parses a file's text.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(is_name) {
            return Err(format!("name {:?}: it names a directory; use letters, digits, - and _", self.name));
        }
        let Gradients { datasets, archs, tags, files, .. } = &self.gradients;
        let has_runs = !datasets.is_empty() && !archs.is_empty() && !tags.is_empty();
        if datasets.is_empty() != archs.is_empty() {
            return Err("[gradients]: datasets and archs go together: give both, or files alone".to_owned());
        }
        if !has_runs && files.is_empty() {
            return Err("[gradients]: nothing to compress: give datasets and archs, or files".to_owned());
        }
        let draws = &self.draws;
        if draws.seeds.is_empty()
            || draws.num_subsample.is_empty()
            || draws.bytes.is_empty()
            || draws.preprocess.is_empty()
        {
            return Err("[draws]: an empty list leaves no cells: leave it out for the default".to_owned());
        }
        if self.lm.is_empty() && self.codecs.is_empty() {
            return Err("nothing to compress with: add a table [[lm]] or [[codecs]]".to_owned());
        }
        Ok(())
    }

    /// Where runs of `lmgc collect` lie.
    pub fn runs_dir(&self) -> PathBuf {
        self.gradients.dir.clone().unwrap_or_else(|| PathBuf::from("exps"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_the_papers() {
        let config = Config::parse(
            "name = 'x'\n[gradients]\ndatasets = ['digits']\narchs = ['convnet']\n[[lm]]\nmodels = ['tinyllama']\n",
        )
        .unwrap();
        assert_eq!(config.draws.seeds, [0, 1, 2]);
        assert_eq!(config.gradients.tags, ["0"]);
        let lm = &config.lm[0];
        assert_eq!((&*lm.formats, &*lm.bytes_per_group, &*lm.windows), (&hex_space()[..], &[4][..], &[2048][..]));
        assert_eq!(config.runs_dir(), Path::new("exps"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let head = "name = 'x'\n[gradients]\nfiles = ['a']\n";
        let codecs = "[[codecs]]\nnames = ['zstd']\n";
        for (text, words) in [
            ("", "name"),
            ("name = 'x'\n[gradients]\n[[codecs]]\nnames = ['zstd']\n", "nothing to compress:"),
            (&format!("name = 'a/b'\n[gradients]\nfiles = ['a']\n{codecs}"), "letters, digits"),
            (head, "[[lm]] or [[codecs]]"),
            (&format!("{head}datasets = ['digits']\n{codecs}"), "go together"),
            (&format!("{head}[draws]\nseeds = []\n{codecs}"), "leaves no cells"),
            (&format!("{head}[draws]\nsedes = [1]\n{codecs}"), "`sedes`"),
            (&format!("{head}[[lm]]\nmodels = ['m']\nwindow = [1]\n"), "`windows`"),
            (&format!("{head}[[lm]]\nmodels = ['m']\nwindows = ['1']\n"), "line 6"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(words), "{words}: {error}");
        }
    }
}
