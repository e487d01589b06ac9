//! Model files that do not fit: a clear error, never a panic.

use std::io::Cursor;

use lmgc_model::{Error, Model};
use lmgc_tensors::gguf::{GgufFile, GgufTensor, Value};
use lmgc_testkit::TinyModel;

fn load(bytes: &[u8], change: impl FnOnce(&mut GgufFile)) -> Error {
    let mut gguf = GgufFile::parse(&mut Cursor::new(bytes)).unwrap();
    change(&mut gguf);
    Model::from_gguf_reader(&mut Cursor::new(bytes), &gguf).unwrap_err()
}

fn tensor<'a>(gguf: &'a mut GgufFile, name: &str) -> &'a mut GgufTensor {
    gguf.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

#[test]
fn each_fault_is_named() {
    let bytes = TinyModel::default().to_gguf();
    let names = |error: Error, words: &[&str]| {
        let message = error.to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    let set =
        |key: &'static str, value: Value| move |gguf: &mut GgufFile| drop(gguf.metadata.insert(key.into(), value));
    names(load(&bytes, set("general.architecture", Value::String("gpt2".into()))), &["gpt2", "llama"]);
    names(load(&bytes, set("llama.block_count", Value::U32(0))), &["number of layers", "0"]);
    names(load(&bytes, set("llama.block_count", Value::U32(3))), &["blk.2.attn_norm.weight", "missing"]);
    names(load(&bytes, set("llama.block_count", Value::U32(1))), &["blk.1.", "not used"]);
    names(load(&bytes, set("llama.embedding_length", Value::U32(1 << 30))), &["model width"]);
    names(load(&bytes, set("llama.embedding_length", Value::String("x".into()))), &["embedding_length"]);
    names(load(&bytes, set("llama.attention.head_count", Value::U32(3))), &["heads"]);
    names(load(&bytes, set("llama.rope.scaling.type", Value::String("linear".into()))), &["rope.scaling"]);
    names(load(&bytes, |gguf| drop(gguf.metadata.remove("llama.context_length"))), &["context_length", "missing"]);
    names(load(&bytes, |gguf| tensor(gguf, "blk.0.attn_q.weight").dims[0] = 1), &["blk.0.attn_q.weight", "dimensions"]);
    names(load(&bytes, |gguf| tensor(gguf, "blk.0.attn_q.weight").name = "odd".into()), &["blk.0.attn_q.weight"]);
    names(load(&bytes, |gguf| tensor(gguf, "blk.1.ffn_up.weight").offset = 1 << 40), &["blk.1.ffn_up.weight", "ends"]);
}

#[test]
fn any_damage_to_the_header_is_an_error_or_a_model() {
    let bytes =
        TinyModel { n_layers: 1, n_heads: 1, n_kv_heads: 1, head_dim: 8, d_ffn: 16, ..Default::default() }.to_gguf();
    let header_len = GgufFile::parse(&mut Cursor::new(&bytes)).unwrap().tensors[0].offset as usize;
    for at in (0..header_len).step_by(3) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        if let Ok(gguf) = GgufFile::parse(&mut Cursor::new(&damaged)) {
            let _ = Model::from_gguf_reader(&mut Cursor::new(&damaged), &gguf);
        }
    }
}
