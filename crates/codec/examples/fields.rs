//! Bits per value of each field that the structural codec codes: one JSON line for each floating-point tensor of a file.
//!
//! ```text
//! cargo run --release -p lmgc-codec --example fields -- gradient.safetensors > fields.jsonl
//! ```
//!
//! Each tensor is coded by itself, at the default level. `benches/plot_fields.py` draws what comes out.

use std::fmt::Write;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use lmgc_codec::structural::Structural;
use lmgc_codec::{Error, Piece, Place};
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("which file?")?;
    let mut file = File::open(&path)?;
    let codec = Structural::default();
    for span in lmgc_tensors::find_spans(&mut file)?.spans {
        let mut bytes = vec![0; span.len as usize];
        file.seek(SeekFrom::Start(span.offset))?;
        file.read_exact(&mut bytes)?;
        let piece = Piece { shape: &span.shape, start: 0, len: bytes.len(), reference: None };
        let costs = match codec.cost_by_field(&bytes, Place { dtype: span.dtype, pieces: &[piece] }) {
            // Of no floating-point numbers.
            Err(Error::CodecRefuses { .. }) => continue,
            costs => costs?,
        };
        if bytes.is_empty() {
            continue;
        }
        let n_values = span.len / span.dtype.size_bytes();
        let mut line = format!(
            "{{\"name\":{},\"shape\":{},\"values\":{n_values},\"raw\":{}",
            json!(span.name),
            json!(span.shape),
            8 * span.dtype.size_bytes()
        );
        for (field, bits) in costs[0].by_name() {
            write!(line, ",\"{field}\":{:.4}", bits / n_values as f64)?;
        }
        println!("{line}}}");
    }
    Ok(())
}
