//! Arguments of `lmgc bench`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, value_parser};
use lmgc_codec::bench::{self, Contestant, Scope};
use lmgc_tensors::Dtype;

/// Every codec on the same bytes, each round trip compared.
///
/// The bytes are those of a file's tensors; of a file without tensors, all of it. Each measurement runs in a process of its own
/// with one thread, unless --threads says otherwise. A codec that refuses an input gets a line with its reason, and the
/// others go on; the exit code is 1 only if something did not come back as it was.
///
/// A scope is what a codec sees at once: `whole`, all tensors of an element type as one array, which is what gzip or fpzip by
/// themselves would get; `tensor`, each tensor with its shape; `chunks`, every N bytes by themselves; `file`, the file as `lmgc
/// compress` does it, headers included. Sizes are those of the payloads, plus the length of each (LEB128) where there are
/// several.
///
/// Rates are in percent of the bytes, speeds in 10^6 bytes a second: medians of the rounds. Memory is the most that a codec
/// needed beside its input, to compress and decompress (Linux only). "over floor" is how many points of percent a rate lies over the
/// order-0 entropy of the values' fields.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  lmgc bench grad.safetensors\n  \
                        lmgc bench grad.safetensors --codecs gzip,zstd:3,zstd:19,auto --rounds 5\n  \
                        lmgc bench grad.safetensors --codecs gzip,lzma --chunk-bytes 512\n  \
                        lmgc bench part.npy --codecs split-zstd,lm --model smollm2-135m\n  \
                        lmgc bench values.bin --dtype F32 --json -o results.jsonl")]
pub(crate) struct Bench {
    /// Files to measure on; - for standard input
    #[arg(required = true, value_name = "IN")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Codecs, each as NAME or NAME:LEVEL with its own level; auto is what `lmgc compress` does [default: all but raw and lm,
    /// at the level at which they are compared, and zstd:3]
    #[arg(long, value_name = "NAME[:LEVEL],...", value_delimiter = ',')]
    pub(crate) codecs: Vec<Contestant>,
    /// Scopes: whole, tensor, chunks, file [default: for each codec what suits it, chunks only with --chunk-bytes]
    #[arg(long, value_name = "SCOPE,...", value_delimiter = ',')]
    pub(crate) scope: Vec<Scope>,
    /// Bytes of a chunk; without --scope, measures chunks too [default: 512, as LM-GC]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub(crate) chunk_bytes: Option<u32>,
    /// Rounds of which the medians are taken; no other begins after 30 seconds
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// What the elements of files without tensors are: F32, BF16, F16, ...
    #[arg(long, value_name = "DTYPE")]
    pub(crate) dtype: Option<Dtype>,
    /// Language model for codec lm: a name in the model store, a GGUF file or a Hugging Face folder; with it, lm is measured too
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Append the results to this file, as --json prints them
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Be the process of one measurement
    #[arg(long, hide = true)]
    pub(crate) worker: bool,
}

impl Bench {
    pub(crate) fn chunk_bytes(&self) -> usize {
        self.chunk_bytes.map_or(bench::CHUNK_BYTES, |n| n as usize)
    }
}
