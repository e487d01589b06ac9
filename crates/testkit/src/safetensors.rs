//! safetensors files.

use crate::bits::gradient_like;

/// A file of one f32 tensor, whose bytes repeat nowhere near.
pub(crate) fn counting_tensor(name: &str, n_values: usize) -> Vec<u8> {
    let data: Vec<u8> = (0..n_values).flat_map(|i| (i as f32).to_le_bytes()).collect();
    file(&[entry(name, "F32", n_values, 0, data.len())], &data)
}

/// A file of tensors that look like gradients, each of so many bytes. Neighbours differ in element size and so share no
/// block of a `.lmgc` file.
pub fn alternating_tensors(seed: u64, n_tensors: usize, tensor_bytes: usize) -> Vec<u8> {
    let entries: Vec<String> = (0..n_tensors)
        .map(|i| {
            let (dtype, n) = if i % 2 == 0 { ("F32", tensor_bytes / 4) } else { ("F16", tensor_bytes / 2) };
            entry(&format!("t{i}"), dtype, n, i * tensor_bytes, (i + 1) * tensor_bytes)
        })
        .collect();
    file(&entries, &gradient_like(seed, n_tensors * tensor_bytes))
}

fn entry(name: &str, dtype: &str, n_values: usize, start: usize, end: usize) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":[{n_values}],"data_offsets":[{start},{end}]}}"#)
}

fn file(entries: &[String], data: &[u8]) -> Vec<u8> {
    let header = format!("{{{}}}", entries.join(","));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}
