//! What the integration tests share.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::io::Cursor;
use std::sync::Arc;

use lmgc_codec::lm::{LanguageModel, LmCodec, LmSettings};
use lmgc_codec::{
    CodecName, CompressOptions, CompressReport, Error, ModelRecord, ModelSource, NoProgress, compress, decompress,
};
use lmgc_model::Kernels;
use lmgc_testkit::TinyModel;

/// One tiny model, whatever the file asks for.
pub(crate) struct OneModel(pub(crate) Arc<LanguageModel>, pub(crate) Kernels);

impl OneModel {
    pub(crate) fn tiny(tiny: &TinyModel) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tiny.gguf");
        std::fs::write(&path, tiny.to_gguf()).unwrap();
        Self(Arc::new(LanguageModel::load("tiny", &path).unwrap()), Kernels::detect())
    }

    pub(crate) fn codec(&self, settings: LmSettings) -> LmCodec {
        LmCodec::new(self.0.clone(), settings, self.1).unwrap()
    }
}

impl ModelSource for OneModel {
    fn model(&self, _: &ModelRecord) -> Result<Arc<LanguageModel>, Error> {
        Ok(self.0.clone())
    }

    fn kernels(&self) -> Kernels {
        self.1
    }
}

pub(crate) fn pack(original: &[u8], options: &CompressOptions<'_>) -> (Vec<u8>, CompressReport) {
    let mut packed = Vec::new();
    let report = compress(&mut Cursor::new(original), &mut packed, options, &NoProgress).unwrap();
    assert_eq!(report.compressed_bytes, packed.len() as u64);
    (packed, report)
}

pub(crate) fn unpack(packed: &[u8], models: &dyn ModelSource) -> Result<Vec<u8>, Error> {
    let mut restored = Cursor::new(Vec::new());
    decompress(packed, &mut restored, models, &NoProgress)?;
    Ok(restored.into_inner())
}

/// Whether a codec takes bytes of no known type; those that do not are tested in `numeric.rs`.
pub(crate) fn takes_any_bytes(codec: CodecName) -> bool {
    use lmgc_codec::CodecId::{Fpzip, Zfp};
    ![Fpzip, Zfp].map(CodecName::One).contains(&codec)
}

/// Options of codec lm.
pub(crate) fn lm_options(codec: &LmCodec) -> CompressOptions<'_> {
    CompressOptions { codec: CodecName::One(lmgc_codec::CodecId::Lm), lm: Some(codec), ..Default::default() }
}
