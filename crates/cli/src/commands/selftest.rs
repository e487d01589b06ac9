//! `lmgc selftest`: the golden numbers, on this machine.

use std::io::Cursor;

use lmgc_codec::{CodecId, CodecName, CompressOptions, NoModels, NoProgress, compress, decompress};
use lmgc_model::{Kernels, NUMERICS_REVISION, selftest};
use serde_json::json;

use crate::args::Common;

/// What codecs make of [`sample`]: the first 16 hexadecimal digits of the file's BLAKE3 hash. The files of other codecs are
/// only decoded: their libraries may find other bytes in a later version.
const FROZEN_FILES: [(CodecName, &str); 4] = [
    (CodecName::Auto, "14490b06d6ba7592"),
    (CodecName::One(CodecId::Raw), "811273ce6266be14"),
    (CodecName::One(CodecId::Zstd), "8f445eef30b558cc"),
    (CodecName::One(CodecId::SplitZstd), "bb0459e66ae97fe1"),
];

/// f32 of many sizes and kinds, by formula.
fn sample() -> Vec<u8> {
    let bits = (0..3000u32).map(|i| i.wrapping_mul(0x9e37_79b9) >> (i % 7) | (i % 3) << 30);
    bits.flat_map(u32::to_le_bytes).chain([1, 2, 3]).collect()
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
    for codec in CodecName::all().filter(|&codec| codec != CodecName::One(CodecId::Lm)) {
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
