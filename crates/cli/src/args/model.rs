//! Arguments of `lmgc model`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  lmgc model list\n  lmgc model pull smollm2-360m\n  \
                  lmgc model import ~/Downloads/tinyllama.Q8_0.gguf --name tinyllama\n  \
                  lmgc compress grad.npy --codec lm --model tinyllama")]
pub(crate) struct Model {
    #[command(subcommand)]
    pub(crate) verb: ModelVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelVerb {
    /// Show the known models, and which are in the store
    List,
    /// Show what a model says of itself: architecture, sizes, files, licence, whether it is complete
    Info(ModelInfo),
    /// Fetch a model from the Hugging Face hub into the store.
    ///
    /// Fetches config.json, the tokenizer and the safetensors files, and checks each against the hub's hash. A download that
    /// breaks off or is stopped goes on where it was when the same command runs again.
    ///
    /// Gated models (Llama, Mistral) need a free account: accept the licence on the model's page, make a token in the
    /// account's settings, and set HF_TOKEN to it. The token is sent to the hub alone and never printed.
    /// HF_ENDPOINT names another hub, such as a mirror; HTTPS_PROXY a proxy.
    ///
    /// Without a network: get the files some other way, and see `lmgc model import --help`.
    Pull(ModelPull),
    /// Copy a GGUF file or a Hugging Face folder into the store.
    ///
    /// The headers are read first: what is damaged or incomplete is refused. Of a folder, only config.json, the tokenizer and the
    /// safetensors files are copied; a snapshot in the hub's own cache (~/.cache/huggingface/hub) will do, with --name.
    ///
    /// A model that has pytorch_model.bin alone, or no tokenizer.json, becomes a GGUF file with llama.cpp's
    /// `convert_hf_to_gguf.py FOLDER --outtype bf16`.
    Import(ModelImport),
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  lmgc model info tinyllama\n  lmgc model info path/to/model.gguf")]
pub(crate) struct ModelInfo {
    /// A known name, a name in the store, a GGUF file or a Hugging Face folder
    pub(crate) model: String,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  lmgc model pull gpt2\n  HF_TOKEN=hf_... lmgc model pull llama3-8b\n  \
                        lmgc model pull HuggingFaceTB/SmolLM2-135M --name smollm2-base")]
pub(crate) struct ModelPull {
    /// A known name (see `lmgc model list`), or OWNER/REPO for any repository of the hub
    #[arg(value_name = "NAME|OWNER/REPO")]
    pub(crate) model: String,
    /// Branch, tag or commit [default: main]
    #[arg(long, value_name = "R")]
    pub(crate) revision: Option<String>,
    /// Name in the store [default: the known name, or REPO in lower case]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Replace a model of this name
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  lmgc model import ~/Downloads/tinyllama.Q8_0.gguf --name tinyllama\n  \
                        lmgc model import path/to/Qwen2.5-0.5B")]
pub(crate) struct ModelImport {
    /// GGUF file, or folder with config.json, tokenizer.json and safetensors files
    pub(crate) path: PathBuf,
    /// Name in the store [default: the file's or folder's name in lower case]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Replace a model of this name
    #[arg(short, long)]
    pub(crate) force: bool,
}
