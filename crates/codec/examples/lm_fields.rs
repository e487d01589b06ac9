//! What a language model spends on the parts of f32 values: `lm_fields MODEL FILE...`, model a GGUF file or a folder, files raw
//! little-endian f32. Prints bits a value; `docs/language-model-prior.md` shows what they mean.
//!
//! [`CodeLength`] says which fields there are.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use lmgc_codec::lm::{CodeLength, LanguageModel, LmCodec, LmFormat, LmSettings};
use lmgc_codec::{BlockInput, NoProgress, Place};
use lmgc_model::Kernels;
use lmgc_tensors::Dtype;

/// What a file costs with these settings.
fn costs(model: &Arc<LanguageModel>, bytes: &[u8], settings: LmSettings) -> Result<CodeLength, Box<dyn Error>> {
    let codec = LmCodec::new(model.clone(), settings, Kernels::detect())?;
    let place = Place { dtype: Dtype::F32, pieces: &[] };
    Ok(codec.code_length(BlockInput { bytes, place, is_token_ids: false }, &NoProgress)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: lm_fields MODEL FILE...")?;
    let model = Arc::new(LanguageModel::load("model", Path::new(&path))?);
    for file in arguments {
        let bytes = std::fs::read(&file)?;
        let n_values = (bytes.len() / 4) as f64;
        let fields = |length: &CodeLength| {
            let field = |(name, bits): &(String, f64)| format!("{name} {:.2}", bits / n_values);
            length.fields.iter().map(field).collect::<Vec<_>>().join(", ")
        };
        let text = costs(&model, &bytes, LmSettings::default())?;
        println!("{file}: hex-space, {:.2} tokens a value: {}", text.n_tokens as f64 / n_values, fields(&text));
        for mix in [false, true] {
            let settings = LmSettings { format: LmFormat::Exponents, mix, ..Default::default() };
            let name = if mix { "ids-exponent --mix" } else { "ids-exponent" };
            println!("{file}: {name}: {}", fields(&costs(&model, &bytes, settings)?));
        }
    }
    Ok(())
}
