//! What a language model spends on the parts of f32 values: `lm_fields MODEL FILE...`, model a GGUF file or a folder, files raw
//! little-endian f32. Prints bits a value; `docs/language-model-prior.md` shows what they mean.
//!
//! Of text each token's cost is shared out among its characters: a separator, or a digit of the value's byte 3 (sign and upper
//! exponent) to 0. Of `ids-exponent`, files say it: what went through the model, and the rest.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use lmgc_codec::lm::{LanguageModel, LmCodec, LmFormat, LmSettings};
use lmgc_codec::{BlockCodec, BlockInput, NoProgress, Place};
use lmgc_coder::interval_from_weights;
use lmgc_model::{Engine, Kernels, OutputLayer, Segment};
use lmgc_serialize::{BytesPerGroup, Format, Serializer};
use lmgc_tensors::Dtype;
use lmgc_tokens::stream::tokenize_bytes;

const WINDOW: usize = 2047;
const ROWS_AT_ONCE: usize = 1024;

/// Bits of separators and of bytes 3 to 0, and tokens.
fn text_costs(model: &LanguageModel, bytes: &[u8]) -> Result<([f64; 5], usize), Box<dyn Error>> {
    let serializer = Serializer::new(Format::HexSpace, BytesPerGroup::default());
    let ids = tokenize_bytes(model.tokenizer(), &serializer, bytes)?.ids;
    let output = OutputLayer::restricted(model.model(), &model.tokenizer().legal_alphabet(&serializer))?;
    let kernels = Kernels::detect();
    let mut engine = Engine::new(model.model(), &output, kernels, 1, WINDOW);
    let mut bits = Vec::new();
    for window in ids.chunks(WINDOW) {
        engine.reset(0);
        let inputs: Vec<u32> = [model.start_token()].into_iter().chain(window.iter().copied()).collect();
        for (inputs, targets) in inputs.chunks(ROWS_AT_ONCE).zip(window.chunks(ROWS_AT_ONCE)) {
            let segment = Segment { sequence: 0, tokens: &inputs[..targets.len()] };
            bits.extend(engine.forward_each(&[segment], |row, logits| {
                let mut weights = vec![0; logits.len()];
                kernels.logit_weights(logits, &mut weights);
                let symbol = output.symbol_of(targets[row]).unwrap_or_default();
                28.0 - f64::from(interval_from_weights(&weights, symbol).frequency()).log2()
            })?);
        }
    }
    let mut costs = [0.0; 5];
    let mut place = 0;
    for (&id, bits) in ids.iter().zip(bits) {
        let characters = model.tokenizer().id_bytes(id);
        for character in characters {
            let field = if *character == b' ' { 0 } else { 4 - place / 2 };
            // Chunks of 512 bytes end without a separator: the next digit begins a group.
            place = if *character == b' ' { 0 } else { (place + 1) % 8 };
            costs[field] += bits / characters.len() as f64;
        }
    }
    Ok((costs, ids.len()))
}

/// Bits through the model and beside it, with `ids-exponent`.
fn exponent_costs(model: &Arc<LanguageModel>, bytes: &[u8], mix: bool) -> Result<[f64; 2], Box<dyn Error>> {
    let settings = LmSettings { format: LmFormat::Exponents, mix, ..Default::default() };
    let codec = LmCodec::new(model.clone(), settings, Kernels::detect())?;
    let place = Place { dtype: Dtype::F32, pieces: &[] };
    let payload = codec.encode(BlockInput { bytes, place, is_token_ids: false }, &NoProgress)?.payload;
    let mut fields = lmgc_container::fields::Fields::new(payload.get(1..).unwrap_or_default(), 1);
    let rest = fields.varint("rest")?;
    Ok([8.0 * (payload.len() as u64 - rest) as f64, 8.0 * rest as f64])
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: lm_fields MODEL FILE...")?;
    let model = Arc::new(LanguageModel::load("model", Path::new(&path))?);
    for file in arguments {
        let bytes = std::fs::read(&file)?;
        let n_values = (bytes.len() / 4) as f64;
        let (costs, n_tokens) = text_costs(&model, &bytes)?;
        let [separators, byte3, byte2, byte1, byte0] = costs.map(|bits| bits / n_values);
        println!(
            "{file}: hex-space, {:.2} tokens a value: separators {separators:.2}, byte 3 {byte3:.2}, byte 2 {byte2:.2}, \
             byte 1 {byte1:.2}, byte 0 {byte0:.2}",
            n_tokens as f64 / n_values
        );
        for mix in [false, true] {
            let [leading, rest] = exponent_costs(&model, &bytes, mix)?.map(|bits| bits / n_values);
            let name = if mix { "ids-exponent --mix" } else { "ids-exponent" };
            println!("{file}: {name}: sign and exponent {leading:.2}, mantissa {rest:.2}");
        }
    }
    Ok(())
}
