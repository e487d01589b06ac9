//! A cell of the matrix: what is compressed, and with what.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use lmgc_codec::bench::CHUNK_BYTES;

use crate::config::NO_PREPROCESS;
use crate::{Codecs, Config, Draws, LanguageModels};

/// Where gradients come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A run of `lmgc collect`.
    Run {
        /// Data set.
        dataset: String,
        /// Architecture.
        arch: String,
        /// Which repeat.
        tag: String,
    },
    /// A file, or a directory of files.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run { dataset, arch, tag } => write!(f, "{dataset}-{arch}/{tag}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What of the gradients is compressed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Draw {
    /// Seed.
    pub seed: u64,
    /// Files that are drawn; 0: all.
    pub num_subsample: usize,
    /// Bytes; 0: all.
    pub bytes: u64,
    /// From how many places.
    pub pieces: usize,
    /// Lossy steps, or `none`.
    pub preprocess: String,
}

impl Draw {
    /// Whether the values are left as they are.
    pub fn is_lossless(&self) -> bool {
        self.preprocess == NO_PREPROCESS
    }
}

/// With what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// The language-model prior.
    Lm {
        /// Model.
        model: String,
        /// Format.
        format: String,
        /// Bytes between separators.
        bytes_per_group: usize,
        /// Tokens in a window.
        window: usize,
        /// Which tokens get probability.
        mask: String,
        /// Leading bits that pass through the model.
        lm_bits: Option<u32>,
        /// Whether it is mixed with others.
        mix: bool,
    },
    /// Another codec.
    Codec {
        /// Name and level.
        name: String,
        /// What it sees at once.
        scope: String,
        /// Bytes of a chunk, in scope `chunks`.
        chunk_bytes: Option<usize>,
    },
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lm { model, format, bytes_per_group, window, mask, lm_bits, mix } => {
                write!(f, "lm {model} {format} g{bytes_per_group} w{window} {mask}")?;
                if let Some(bits) = lm_bits {
                    write!(f, " b{bits}")?;
                }
                f.write_str(if *mix { " mix" } else { "" })
            }
            Self::Codec { name, scope, chunk_bytes } => {
                write!(f, "{name} {scope}")?;
                chunk_bytes.map_or(Ok(()), |bytes| write!(f, " {bytes}"))
            }
        }
    }
}

/// A cell. Its text is its name in results.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// Whose gradients.
    pub origin: Origin,
    /// What of them.
    pub draw: Draw,
    /// With what.
    pub method: Method,
    /// Whether its ideal code length is computed instead of a file. Language models and `structural` have one.
    pub is_estimate: bool,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, draw, method, is_estimate } = self;
        let Draw { seed, num_subsample, bytes, pieces, preprocess } = draw;
        write!(f, "{origin} draw {seed}: ")?;
        match num_subsample {
            0 => f.write_str("all files")?,
            n => write!(f, "{n} of the files")?,
        }
        match (bytes, pieces) {
            (0, _) => {}
            (bytes, 1) => write!(f, ", {bytes} bytes")?,
            (bytes, pieces) => write!(f, ", {bytes} bytes in {pieces} pieces")?,
        }
        if !draw.is_lossless() {
            write!(f, ", {preprocess}")?;
        }
        write!(f, ": {method}")?;
        f.write_str(if *is_estimate { " estimate" } else { "" })
    }
}

impl Config {
    /// Whose gradients are compressed, in order.
    pub fn origins(&self) -> Vec<Origin> {
        let gradients = &self.gradients;
        let mut origins = Vec::new();
        for dataset in &gradients.datasets {
            for arch in &gradients.archs {
                origins.extend(gradients.tags.iter().map(|tag| Origin::Run {
                    dataset: dataset.clone(),
                    arch: arch.clone(),
                    tag: tag.clone(),
                }));
            }
        }
        origins.extend(gradients.files.iter().cloned().map(Origin::File));
        origins
    }

    /// All cells, each once: draw by draw, so that a sweep that was cut short has few draws of everything.
    pub fn cells(&self, estimate: bool) -> Vec<Cell> {
        let methods: Vec<Method> =
            self.lm.iter().flat_map(lm_methods).chain(self.codecs.iter().flat_map(codec_methods)).collect();
        let (mut seen, mut cells) = (BTreeSet::new(), Vec::new());
        for draw in draws(&self.draws) {
            for origin in self.origins() {
                for method in &methods {
                    let is_estimate = estimate && has_code_length(method);
                    let cell = Cell { origin: origin.clone(), draw: draw.clone(), method: method.clone(), is_estimate };
                    if seen.insert(cell.clone()) {
                        cells.push(cell);
                    }
                }
            }
        }
        cells
    }
}

fn has_code_length(method: &Method) -> bool {
    match method {
        Method::Lm { .. } => true,
        Method::Codec { name, .. } => name == "structural",
    }
}

fn draws(draws: &Draws) -> Vec<Draw> {
    let mut all = Vec::new();
    for &seed in &draws.seeds {
        for &num_subsample in &draws.num_subsample {
            for &bytes in &draws.bytes {
                let pieces = draws.pieces;
                let draw =
                    |preprocess: &String| Draw { seed, num_subsample, bytes, pieces, preprocess: preprocess.clone() };
                all.extend(draws.preprocess.iter().map(draw));
            }
        }
    }
    all
}

fn lm_methods(table: &LanguageModels) -> Vec<Method> {
    let mut methods = Vec::new();
    for model in &table.models {
        for format in &table.formats {
            for &bytes_per_group in &table.bytes_per_group {
                for &window in &table.windows {
                    methods.extend(table.masks.iter().map(|mask| Method::Lm {
                        model: model.clone(),
                        format: format.clone(),
                        bytes_per_group,
                        window,
                        mask: mask.clone(),
                        lm_bits: table.lm_bits,
                        mix: table.mix,
                    }));
                }
            }
        }
    }
    methods
}

fn codec_methods(table: &Codecs) -> Vec<Method> {
    let in_scopes = |name: &String| {
        let name = name.clone();
        table.scopes.iter().map(move |scope| Method::Codec {
            name: name.clone(),
            scope: scope.clone(),
            chunk_bytes: if scope == "chunks" { Some(table.chunk_bytes.unwrap_or(CHUNK_BYTES)) } else { None },
        })
    };
    table.names.iter().flat_map(in_scopes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::parse(
            "name = 'x'\n\
             [gradients]\ndatasets = ['digits', 'synthetic']\narchs = ['convnet', 'resnet18']\nfiles = ['a.npy']\n\
             [draws]\nbytes = [8192]\n\
             [[lm]]\nmodels = ['m']\nformats = ['hex-space', 'hex-none']\nwindows = [256, 1024]\n\
             [[lm]]\nmodels = ['m']\nwindows = [256, 512]\n\
             [[codecs]]\nnames = ['zstd', 'structural']\nscopes = ['file', 'chunks']\n",
        )
        .unwrap()
    }

    #[test]
    fn the_matrix_is_a_cross_product_without_repeats() {
        let cells = config().cells(false);
        // 5 origins, 3 draws; 4 + 1 (window 512; 256 is there already) and 4 methods.
        assert_eq!(cells.len(), 5 * 3 * 9);
        let names: BTreeSet<String> = cells.iter().map(Cell::to_string).collect();
        assert_eq!(names.len(), cells.len());
        assert!(cells[..45].iter().all(|cell| cell.draw.seed == 0), "draw by draw");
        assert_eq!(
            cells[0].to_string(),
            "digits-convnet/0 draw 0: 1 of the files, 8192 bytes: lm m hex-space g4 w256 alphabet"
        );
    }

    #[test]
    fn estimates_are_other_cells() {
        let (measured, estimated) = (config().cells(false), config().cells(true));
        assert_eq!(measured.len(), estimated.len());
        let n = estimated.iter().filter(|cell| cell.is_estimate).count();
        assert_eq!(n, 5 * 3 * (5 + 2), "language models and structural");
        let measured: BTreeSet<String> = measured.iter().map(Cell::to_string).collect();
        let n_same = estimated.iter().filter(|cell| measured.contains(&cell.to_string())).count();
        assert_eq!(n_same, estimated.len() - n);
    }
}
