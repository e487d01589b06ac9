//! `lmgc selftest`: the golden numbers, on this machine.

use std::io::Cursor;

use lmgc_codec::{CodecId, CodecName, CompressOptions, NoModels, NoProgress, compress, decompress};
use lmgc_model::{Kernels, NUMERICS_REVISION, selftest};
use serde_json::json;

use crate::args::Common;

/// What codecs make of [`sample`]: the first 16 hexadecimal digits of the file's BLAKE3 hash. The files of other codecs are
/// only decoded: their libraries may find other bytes in a later version.
const FROZEN_FILES: [(CodecName, &str); 6] = [
    (CodecName::Auto, "65f370cf7756d27d"),
    (CodecName::One(CodecId::Raw), "dcfe7891a0f2abab"),
    (CodecName::One(CodecId::Zstd), "0fc6e73975171f23"),
    (CodecName::One(CodecId::SplitZstd), "5ec5adeccb5144e7"),
    (CodecName::One(CodecId::Structural), "2077986b0401056e"),
    (CodecName::One(CodecId::Fast), "118bc2afa2f1de62"),
];

/// A safetensors file of f32 of many sizes and kinds, by formula.
fn sample() -> Vec<u8> {
    const HEADER: &str = r#"{"t":{"dtype":"F32","shape":[30,100],"data_offsets":[0,12000]}}"#;
    let mut file = (HEADER.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(HEADER.as_bytes());
    // Two factors and noise; every seventh value is another bit pattern.
    let values = (0..3000u32).map(|at| {
        let (i, j) = ((at / 100) as f32, (at % 100) as f32);
        let word = at.wrapping_mul(0x9e37_79b9);
        match at % 7 {
            0 => word >> (at % 5) | (at % 3) << 30,
            _ => (((i - 15.0) * (j - 40.0) + word as f32 * 1e-9) * 1e-4).to_bits(),
        }
    });
    values.for_each(|bits| file.extend_from_slice(&bits.to_le_bytes()));
    file
}

pub(crate) fn run(common: &Common) -> anyhow::Result<()> {
    let mut n_failed = 0;
    let mut tell = |what: &str, name: &str, problem: Option<String>| {
        n_failed += usize::from(problem.is_some());
        if common.json {
            println!("{}", json!({ "what": what, "name": name, "ok": problem.is_none(), "problem": problem }));
        } else if let Some(problem) = problem {
            eprintln!("{what} {name}: FAILED: {problem}");
        } else if !common.quiet {
            println!("{what} {name}: ok");
        }
    };
    for kernels in Kernels::available() {
        for check in selftest::golden(kernels)? {
            let problem = (!check.is_passed()).then(|| format!("found {}, expected {}", check.found, check.expected));
            tell(&format!("logits ({})", kernels.isa()), check.name, problem);
        }
    }
    let original = sample();
    for codec in CodecName::all().filter(|codec| !codec.needs_model()) {
        let frozen = FROZEN_FILES.iter().find(|(name, _)| *name == codec).map(|(_, hash)| *hash);
        let mut packed = Vec::new();
        let options = CompressOptions { codec, ..Default::default() };
        compress(&mut Cursor::new(&original), &mut packed, &options, &NoProgress)?;
        let mut restored = Cursor::new(Vec::new());
        decompress(packed.as_slice(), &mut restored, &NoModels, &NoProgress)?;
        let hash = blake3::hash(&packed).to_hex();
        let problem = if restored.into_inner() != original {
            Some("the file does not come back".to_owned())
        } else {
            frozen
                .filter(|&frozen| hash[..16] != *frozen)
                .map(|frozen| format!("found {}, expected {frozen}", &hash[..16]))
        };
        tell("file", &codec.to_string(), problem);
    }
    if n_failed > 0 {
        anyhow::bail!(
            "{n_failed} checks failed: files written here may not decode elsewhere. Please report this machine's processor \
             and system"
        );
    }
    if !common.quiet && !common.json {
        println!("This machine computes what every other one does (numerics revision {NUMERICS_REVISION}).");
    }
    Ok(())
}
