//! Small `.lmgc` files that together have every codec, format, element type and setting: what golden files and mutations start
//! from.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::sync::Arc;

use lmgc_codec::lm::{LanguageModel, LmFormat, LmSettings, Mask};
use lmgc_codec::{CodecName, CompressOptions, Error, Level, ModelRecord, ModelSource, Reference};
use lmgc_model::Kernels;
use lmgc_serialize::{BytesPerGroup, Format};
use lmgc_testkit::TinyModel;
use lmgc_tokens::Tokenizer;

use crate::common::{OneModel, pack};
use crate::originals::original;

/// A file to make.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Name, without extension.
    pub(crate) name: String,
    /// Name of the original (see `originals.rs`).
    pub(crate) original: &'static str,
    /// Name of the codec.
    pub(crate) codec: String,
    pub(crate) level: u8,
    /// Settings of codecs `lm` and `ensemble`.
    pub(crate) lm: Option<LmSettings>,
    /// Name of the reference.
    pub(crate) reference: Option<&'static str>,
    /// Whether it is small and decoded fast enough to be damaged in every place.
    pub(crate) is_mutated: bool,
}

impl Case {
    pub(crate) fn new(codec: &str, original: &'static str) -> Self {
        let stem = original.rsplit('/').next().unwrap_or(original);
        let name = format!("{codec}-{}", stem.replace('.', "-").replace("-safetensors", ""));
        Self { name, original, codec: codec.to_owned(), level: 5, lm: None, reference: None, is_mutated: false }
    }

    fn mutated(self) -> Self {
        Self { is_mutated: true, ..self }
    }

    fn lm(variant: &str, original: &'static str, settings: LmSettings) -> Self {
        let case = Self::new("lm", original);
        Self { name: format!("{}-{variant}", case.name), lm: Some(settings), ..case }
    }

    /// What `files.csv` says of how it was made.
    pub(crate) fn settings(&self) -> String {
        let mut words = vec![format!("level={}", self.level)];
        if let Some(lm) = &self.lm {
            words.push(format!("window={}", lm.window_tokens));
            if self.codec == "lm" {
                words.push(format!("format={}", lm.format));
                words.push(format!("bytes_per_group={}", lm.bytes_per_group.get()));
                words.push(format!("mask={}", lm.mask));
                words.extend(lm.lm_bits.map(|bits| format!("lm_bits={bits}")));
                words.extend(lm.mix.then(|| "mix=true".to_owned()));
                words.extend((lm.overlap_tokens > 0).then(|| format!("overlap={}", lm.overlap_tokens)));
            }
        }
        words.extend(self.reference.map(|name| format!("reference={name}")));
        words.join(" ")
    }

    /// Compresses the original.
    pub(crate) fn pack(&self, needs: &Needs, original: &[u8]) -> Vec<u8> {
        let lm = self.lm.map(|settings| needs.0.codec(settings));
        let reference = self.reference.map(|name| needs.reference(name));
        let options = CompressOptions {
            codec: self.codec.parse::<CodecName>().unwrap(),
            level: Level::new(self.level).unwrap(),
            lm: lm.as_ref(),
            reference: reference.as_ref(),
        };
        pack(original, &options).0
    }
}

/// What cases need beside their originals: one tiny model.
pub(crate) struct Needs(pub(crate) OneModel);

impl Needs {
    pub(crate) fn new() -> Self {
        Self(OneModel::tiny(&TinyModel { n_layers: 1, n_heads: 1, n_kv_heads: 1, d_ffn: 32, ..Default::default() }))
    }

    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        self.0.0.tokenizer()
    }

    pub(crate) fn original(&self, name: &str) -> Vec<u8> {
        original(name, self.tokenizer())
    }

    pub(crate) fn reference(&self, name: &str) -> Reference {
        Reference::new(std::io::Cursor::new(self.original(name))).unwrap()
    }

    /// With the reference of this name.
    pub(crate) fn models(&self, reference: Option<&str>) -> Models<'_> {
        Models { model: &self.0, reference: reference.map(|name| self.reference(name)) }
    }
}

/// The tiny model, and maybe a reference, whatever a file asks for.
pub(crate) struct Models<'a> {
    model: &'a OneModel,
    reference: Option<Reference>,
}

impl ModelSource for Models<'_> {
    fn model(&self, record: &ModelRecord) -> Result<Arc<LanguageModel>, Error> {
        self.model.model(record)
    }

    fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    fn kernels(&self) -> Kernels {
        self.model.kernels()
    }
}

const EMPTY: &str = "format-1/originals/empty.bin";
const TEXT: &str = "format-1/originals/text.txt";
const LANES: &str = "format-1/originals/lanes.bin";
const FEW: &str = "format-1/originals/few.safetensors";
const GRADIENT: &str = "format-1/originals/gradient.safetensors";
const FACTORS: &str = "format-1/originals/factors.safetensors";
const SCALED: &str = "format-1/originals/scaled.safetensors";
const FLOATS: &str = "format-1/originals/floats.safetensors";
const INTEGERS: &str = "format-1/originals/integers.safetensors";
const SHAPED: &str = "format-1/originals/shaped.safetensors";
const STEP1: &str = "format-1/originals/step1.safetensors";
const STEP2: &str = "format-1/originals/step2.safetensors";
const FORESEEN: &str = "format-1/originals/foreseen.safetensors";
/// Large, and so made anew each time.
const SPARSE: &str = "sparse.safetensors";
const TOKENS: &str = "format-1/originals/tokens.safetensors";

/// One of each format, and what is odd about some.
const FORMATS: [&str; 14] = [
    "tensors/mixed.safetensors",
    "tensors/subbyte.safetensors",
    "tensors/trailing.safetensors",
    "tensors/c_order.npy",
    "tensors/fortran_order.npy",
    "tensors/big_endian.npy",
    "tensors/empty.npy",
    "tensors/zero_dims.npy",
    "tensors/stored.npz",
    "tensors/zip64.npz",
    "tensors/dtypes.pt",
    "tensors/legacy.pt",
    "tensors/nested.ckpt",
    "tensors/mixed.gguf",
];

/// Codecs that take any bytes and need no model.
const GENERAL: [&str; 16] = [
    "auto",
    "raw",
    "zstd",
    "split-zstd",
    "gzip",
    "lzma",
    "bzip2",
    "brotli",
    "split-xz",
    "bitshuffle-zstd",
    "png",
    "flac",
    "pco",
    "fields0",
    "structural",
    "fast",
];

/// Whether this program has the codec of a name.
pub(crate) fn is_built(codec: &str) -> bool {
    codec.parse::<CodecName>().is_ok()
}

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for codec in GENERAL {
        cases.push(Case::new(codec, GRADIENT).mutated());
        cases.push(Case::new(codec, FLOATS));
        cases.push(Case::new(codec, TEXT));
    }
    for codec in ["fpzip", "zfp"] {
        cases.push(Case::new(codec, GRADIENT).mutated());
        cases.push(Case::new(codec, SHAPED));
    }
    cases.extend(FORMATS.map(|original| Case::new("auto", original)));
    for codec in ["auto", "raw", "zstd", "structural", "fast", "pco"] {
        cases.push(Case::new(codec, EMPTY));
        cases.push(Case::new(codec, "tensors/zero_dims.npy"));
        cases.push(Case::new(codec, INTEGERS));
    }
    for codec in ["structural", "fast"] {
        cases.push(Case::new(codec, FACTORS));
        cases.push(Case::new(codec, SHAPED));
        cases.push(Case::new(codec, SPARSE));
    }
    cases.push(Case::new("structural", SHAPED).mutated());
    cases.push(Case::new("structural", FLOATS).mutated());
    cases.push(Case::new("structural", FACTORS).mutated());
    cases.push(Case::new("fast", SCALED).mutated());
    cases.push(Case::new("fast", SHAPED).mutated());
    cases.push(Case::new("auto", INTEGERS).mutated());
    cases.push(Case::new("auto", "tensors/mixed.safetensors").mutated());
    cases.push(Case { name: "structural-level-9-factors".to_owned(), level: 9, ..Case::new("structural", FACTORS) });
    cases.push(Case { name: "auto-level-1-floats".to_owned(), level: 1, ..Case::new("auto", FLOATS) });
    cases.push(Case {
        name: "structural-step2-against-step1".to_owned(),
        reference: Some(STEP1),
        ..Case::new("structural", STEP2).mutated()
    });
    cases.extend(lm_cases());
    // Some stand in several of the lists.
    cases.sort_by(|a, b| (&a.name, b.is_mutated).cmp(&(&b.name, a.is_mutated)));
    cases.dedup_by(|later, first| later.name == first.name);
    cases.retain(|case| is_built(&case.codec));
    cases
}

fn lm_cases() -> Vec<Case> {
    let text = |format: Format| LmSettings { format: format.into(), window_tokens: 100, ..Default::default() };
    let symbols = |format| LmSettings { format, window_tokens: 100, ..Default::default() };
    let groups = |n| BytesPerGroup::new(n).unwrap();
    let few = |variant, settings| Case::lm(variant, FEW, settings).mutated();
    vec![
        few("hex-none", LmSettings { mask: Mask::None, lm_bits: Some(8), ..text(Format::HexNone) }),
        few("hex-space", text(Format::HexSpace)),
        few("hex-comma-grammar", LmSettings { mask: Mask::Grammar, ..text(Format::HexCommaSpace) }),
        few("hex-0x-overlap", LmSettings { overlap_tokens: 40, lm_bits: Some(16), ..text(Format::Hex0x) }),
        few("iso", text(Format::Iso)),
        few("iso-space-bits", LmSettings { lm_bits: Some(8), bytes_per_group: groups(1), ..text(Format::IsoSpace) }),
        few("nibbles", LmSettings { lm_bits: Some(12), ..symbols(LmFormat::Nibbles) }),
        few("nibbles-mix", LmSettings { mix: true, ..symbols(LmFormat::Nibbles) }),
        few("bytes", LmSettings { overlap_tokens: 20, ..symbols(LmFormat::Bytes) }),
        few("bytes-mix", LmSettings { mix: true, lm_bits: Some(16), ..symbols(LmFormat::Bytes) }),
        few("exponents", symbols(LmFormat::Exponents)),
        few("exponents-mix", LmSettings { mix: true, overlap_tokens: 30, ..symbols(LmFormat::Exponents) }),
        Case::lm("hex-comma", GRADIENT, LmSettings { bytes_per_group: groups(8), ..text(Format::HexComma) }),
        Case::lm("hex-semicolon", GRADIENT, LmSettings { bytes_per_group: groups(3), ..text(Format::HexSemicolon) }),
        Case::lm("iso-comma", GRADIENT, text(Format::IsoCommaSpace)),
        Case::lm("iso", TEXT, text(Format::Iso)),
        Case::lm("nibbles", INTEGERS, symbols(LmFormat::Nibbles)),
        Case::lm("exponents-mix", FLOATS, LmSettings { mix: true, ..symbols(LmFormat::Exponents) }),
        Case::lm("hex-space", EMPTY, text(Format::HexSpace)),
        Case::lm("several-lanes", LANES, text(Format::HexSpace)).mutated(),
        Case::lm("ids", TOKENS, text(Format::HexSpace)).mutated(),
        Case { lm: Some(text(Format::HexSpace)), ..Case::new("ensemble", FORESEEN).mutated() },
    ]
}
