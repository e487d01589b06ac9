//! What may stand on the command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand};
use lmgc_codec::CodecName;
use lmgc_collect::{Architecture, DatasetName, DeviceName, OptimizerName, ScheduleName};
use lmgc_serialize::{BytesPerGroup, Format};
use lmgc_tokens::preprocess::Preprocess;

mod bench;
mod convert;
mod engine;
mod experiments;
mod lm;
mod model;

pub(crate) use bench::Bench;
pub(crate) use convert::Convert;
use engine::MemorySize;
pub(crate) use engine::{BenchModel, Selftest};
pub(crate) use experiments::{Report, Sweep};
use lm::LmFlags;
pub(crate) use model::{Model, ModelImport, ModelInfo, ModelPull, ModelVerb};

/// Lossless compression of neural-network gradients with learned priors.
///
/// Any file goes in, the same bytes come out: `lmgc compress grad.safetensors` writes grad.safetensors.lmgc, decodes it
/// again and compares before it reports success; `lmgc decompress grad.safetensors.lmgc` gives the file back. Tensors are
/// recognised in safetensors, npy, npz, PyTorch checkpoints and GGUF; other files work too.
///
/// Exit codes: 0 ok, 1 failure, 2 usage, 3 corrupt or mismatched input.
#[derive(Debug, Parser)]
#[command(name = "lmgc", version, max_term_width = 110)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Common {
    /// Print results as JSON, one object a line, on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print nothing but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Threads to use [default: all cores]; the output does not depend on it
    #[arg(long, global = true, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Memory for what a language model remembers of the windows that it works on side by side: more of them decode
    /// faster; the output does not depend on it
    #[arg(long, global = true, value_name = "SIZE", default_value = "2GiB")]
    pub(crate) memory: MemorySize,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Train a network and write its gradients, one safetensors file every so many steps
    ///
    /// The same command goes on with a run that was cut off, and does what the unbroken run would have done.
    Collect(Collect),
    /// Turn gradients into a data set of language-model tokens
    Tokenize(Tokenize),
    /// Turn a token data set back into the gradients' bytes
    Detokenize(Detokenize),
    /// Compress files, each to one .lmgc file that is decoded and compared
    Compress(Compress),
    /// Restore the original files, byte for byte
    Decompress(Decompress),
    /// Check all checksums and hashes and decode everything without writing; of a damaged file, say which tensors are hit
    Verify(Verify),
    /// Show a .lmgc file's header, tensors, codecs and sizes
    Inspect(Inspect),
    /// Carry a file's tensors over to another format: safetensors, npz or PyTorch
    Convert(Convert),
    /// Known models and the model store: list, info, pull, import
    ///
    /// A model lies in the model store under a name, which --model takes. The store is $LMGC_HOME/models, or lmgc/models in the
    /// user's cache directory. --model also takes the path of a GGUF file or of a Hugging Face folder (config.json,
    /// tokenizer.json, *.safetensors): nothing need be imported for that. But a .lmgc file records its model's name, and
    /// decompress finds it by name in the store alone.
    Model(Model),
    /// Every codec on the same bytes: rate, speed and memory, each round trip compared
    Bench(Bench),
    /// A matrix of experiments: data sets, networks, formats, windows, codecs ...; goes on where it was cut off
    Sweep(Sweep),
    /// Results as tables, plots and one self-contained HTML page
    Report(Report),
    /// How fast a language model runs here, encoding and decoding
    BenchModel(BenchModel),
    /// Does this machine compute what every other one does? Checks the golden numbers with each instruction set
    Selftest(Selftest),
    /// The whole road on embedded data, in a few minutes
    Demo(Demo),
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  lmgc collect --dataset digits --arch convnet --steps 400 --out exps\n  \
                        lmgc collect --dataset mnist --data data/mnist --download --arch convnet --out exps")]
pub(crate) struct Collect {
    /// Data set: digits (embedded, 28x28 grey), synthetic (procedural, 32x32 colour), mnist, cifar10 or tinyimagenet (files in
    /// --data DIR)
    #[arg(long)]
    pub(crate) dataset: DatasetName,
    /// Network: convnet, vgg11, vgg13, vgg16, vgg19, resnet18, resnet34, resnet50, resnet101, resnet152, resnet18bn or vit. VGG and
    /// ViT see grey images as 3x32x32
    #[arg(long)]
    pub(crate) arch: Architecture,
    /// Directory for results. A run has `DIR/<dataset>-<arch>/<tag>/` with `grads/grad_00000400.safetensors`,
    /// `ckpts/model_005.safetensors`, `log.jsonl`, `curve.svg`, and `state.safetensors`, from which it goes on if it was killed
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Directory of the data set's files: the IDX files of MNIST, the binary version of CIFAR-10, tiny-imagenet-200; digits and
    /// synthetic need none
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Fetch the files of the data set to --data DIR, if they are not there yet, check and unpack them (mnist 12 MB, cifar10
    /// 170 MB, tinyimagenet 248 MB); an interrupted download goes on where it stopped
    #[arg(long)]
    pub(crate) download: bool,
    /// Number of training steps
    #[arg(long, value_name = "N", conflicts_with = "epochs")]
    pub(crate) steps: Option<u64>,
    /// Number of passes over the training data [default: 200, unless --steps is given]
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<u64>,
    /// Write the gradients every N steps
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) grad_interval: u64,
    /// Write the model every N epochs; 0: never
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) model_interval: u64,
    /// Optimizer: sgd (learning rate 0.1 along a cosine) or adamw (one cycle up to 0.001) [default: adamw for vit, sgd for the rest]
    #[arg(long)]
    pub(crate) optimizer: Option<OptimizerName>,
    /// Where LM-GC's schedule slips: intended (adamw's rate moves with every step) or reference (with every epoch, as released)
    #[arg(long, default_value_t = ScheduleName::default())]
    pub(crate) schedule: ScheduleName,
    /// Begin anew instead of going on with the run that is there; its files are replaced as the new ones come
    #[arg(long)]
    pub(crate) restart: bool,
    /// Name of this run, to tell repeats apart
    #[arg(long, default_value = "0")]
    pub(crate) tag: String,
    /// Seed of weights, order and augmentation; the same seed gives the same files on the same machine
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Images in a batch
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) batch_size: usize,
    /// Number of classes, for the synthetic data set: 10 or 200
    #[arg(long, value_name = "N")]
    pub(crate) classes: Option<usize>,
    /// Device to train on
    #[arg(long, default_value_t = DeviceName::default())]
    pub(crate) device: DeviceName,
}

/// How bytes become text.
#[derive(Debug, ClapArgs)]
pub(crate) struct TextFormat {
    /// Text format: hex-none, hex-space, hex-comma, hex-comma+space, hex-semicolon, hex-0x, iso, iso-space or
    /// iso-comma+space
    #[arg(long, default_value_t = Format::HexSpace)]
    pub(crate) format: Format,
    /// Bytes between separators: 1, 2, 3, 4 or 8
    #[arg(long, value_name = "N", default_value_t = BytesPerGroup::default())]
    pub(crate) bytes_per_group: BytesPerGroup,
}

#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Examples:\n  lmgc tokenize exps/digits-convnet/0/grads --model smollm2-135m -o digits.tokens\n  \
                  lmgc compress digits.tokens --codec lm --model smollm2-135m"
)]
pub(crate) struct Tokenize {
    /// Gradient files, or directories of them
    #[arg(required = true, value_name = "FILE|DIR")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Model whose tokenizer to use: a name in the model store, a GGUF file, a Hugging Face folder or a
    /// tokenizer.json
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) text: TextFormat,
    /// Draw N of the files at random
    #[arg(long, value_name = "N")]
    pub(crate) num_subsample: Option<usize>,
    /// Seed of the draw and of the preprocessing
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// LOSSY steps before tokenising, joined by +: sparsificationP keeps each value with probability P %,
    /// quantizationB (B = 1, 8, 16) maps values to 2^B bins
    #[arg(long, value_name = "STEPS")]
    pub(crate) preprocess: Option<Preprocess>,
    /// Output file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Replace an existing output
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Detokenize {
    /// Token data set
    pub(crate) input: PathBuf,
    /// Model whose tokenizer made it [default: the name in the data set]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Output: the gradients' bytes, in parameter order, of all sources one after the other
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Replace an existing output
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  lmgc compress grad.safetensors\n  lmgc compress -9 step1.ckpt step2.ckpt\n  \
                        lmgc compress step200.safetensors --reference step100.safetensors\n  \
                        lmgc compress grad.npy --codec lm --model smollm2-135m --mask none   # as in the paper\n  \
                        lmgc compress grad.npy --codec lm --model smollm2-135m --format ids-exponent --mix\n\n\
                        Codec lm keeps what it has done in OUT.part: after an interruption, the same command goes on from \
                        there.")]
pub(crate) struct Compress {
    /// Files to compress; - for standard input
    #[arg(required = true, value_name = "IN")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Output file [default: IN.lmgc]; - for standard output
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) level: LevelFlags,
    /// Codec: auto (the smallest of several for each tensor), structural (what gradients look like), lm (a language model), ensemble
    /// (both), or a general one: `lmgc bench --help` lists them
    #[arg(long, default_value_t = CodecName::Auto)]
    pub(crate) codec: CodecName,
    /// Language model for codecs lm and ensemble: a name in the model store (`lmgc model list`), a GGUF file or a Hugging Face folder
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// An earlier version of the file, such as the checkpoint before: tensors are coded against those of the same name, and
    /// decompress needs this file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) reference: Option<PathBuf>,
    /// Replace existing outputs
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Keep the inputs (they are always kept; accepted for habit)
    #[arg(short, long)]
    pub(crate) keep: bool,
    /// Do not decode and compare the result
    #[arg(long)]
    pub(crate) no_verify: bool,
    /// Begin afresh, even if an interrupted run of codec lm left OUT.part to go on from
    #[arg(long)]
    pub(crate) restart: bool,
    #[command(flatten)]
    pub(crate) lm: LmFlags,
}

/// -1 ... -9, as people know them.
#[derive(Debug, ClapArgs)]
#[group(multiple = false)]
pub(crate) struct LevelFlags {
    /// Fastest ... -9 smallest [default: -5]
    #[arg(short = '1', action = ArgAction::SetTrue)]
    l1: bool,
    #[arg(short = '2', hide = true)]
    l2: bool,
    #[arg(short = '3', hide = true)]
    l3: bool,
    #[arg(short = '4', hide = true)]
    l4: bool,
    #[arg(short = '5', hide = true)]
    l5: bool,
    #[arg(short = '6', hide = true)]
    l6: bool,
    #[arg(short = '7', hide = true)]
    l7: bool,
    #[arg(short = '8', hide = true)]
    l8: bool,
    #[arg(short = '9', hide = true)]
    l9: bool,
}

impl LevelFlags {
    /// The level, if one was given.
    pub(crate) fn level(&self) -> Option<u8> {
        let flags = [self.l1, self.l2, self.l3, self.l4, self.l5, self.l6, self.l7, self.l8, self.l9];
        flags.iter().position(|&set| set).map(|i| i as u8 + 1)
    }
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  lmgc decompress grad.safetensors.lmgc\n  \
                        lmgc decompress grad.safetensors.lmgc --tensor features.0.weight -o weight.bin\n  \
                        lmgc decompress damaged.safetensors.lmgc --salvage -o rest.safetensors")]
pub(crate) struct Decompress {
    /// Files to restore; - for standard input
    #[arg(required = true, value_name = "IN.lmgc")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Output file [default: the input's name without .lmgc]; - for standard output
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
    /// Restore the bytes of this tensor alone; needs -o
    #[arg(long, value_name = "NAME", requires = "output")]
    pub(crate) tensor: Option<String>,
    /// Restore what is whole in a damaged file, with zeros for what is lost, and list the tensors that are not whole; exit code 3
    /// unless everything is
    #[arg(long, conflicts_with = "tensor")]
    pub(crate) salvage: bool,
    /// Language model, if the file needs one [default: the name in the file, from the model store]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// The earlier version of the file that it was compressed against
    #[arg(long, value_name = "FILE")]
    pub(crate) reference: Option<PathBuf>,
    /// Replace existing outputs
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Verify {
    /// Files to check; - for standard input
    #[arg(required = true, value_name = "IN.lmgc")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Language model, if the file needs one [default: the name in the file, from the model store]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// The earlier version of the file that it was compressed against
    #[arg(long, value_name = "FILE")]
    pub(crate) reference: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Inspect {
    /// Files to show; - for standard input
    #[arg(required = true, value_name = "IN.lmgc")]
    pub(crate) inputs: Vec<PathBuf>,
    /// List every block too
    #[arg(long)]
    pub(crate) blocks: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Demo {
    /// Language model to compress with
    #[arg(long, value_name = "MODEL", default_value = "smollm2-135m")]
    pub(crate) model: String,
    /// Keep the demo's files in this directory [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Training steps
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) steps: u64,
    /// KiB of the gradient that go through the language model
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(crate) sample_kib: u64,
}
