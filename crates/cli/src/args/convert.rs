use std::path::PathBuf;

use clap::Args as ClapArgs;
use lmgc_tensors::OutputFormat;

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  lmgc convert checkpoint.pt -o checkpoint.safetensors\n  \
                        lmgc convert grad.safetensors -o grad.npz\n\n\
                        Names, shapes, types, parameter order and every bit stay. The result is read back and compared before \
                        it gets its name. What a checkpoint holds beside tensors is left out, and named.")]
pub(crate) struct Convert {
    /// File to convert: safetensors, npy, npz or a PyTorch zip checkpoint, told by content; - for standard input
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// Output file; - for standard output
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// Format to write: safetensors, npz or pt [default: what OUT's extension says, of which .pth and .ckpt are PyTorch's,
    /// too]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) to: Option<OutputFormat>,
    /// Replace an existing output
    #[arg(short, long)]
    pub(crate) force: bool,
}
