//! Data sets, networks and the training loop that writes gradient files.
//!
//! This is stage 1 of LM-GC (arXiv 2409.17836): a network is trained with the usual recipe, and every
//! [`CollectOptions::grad_interval`] steps the gradient of each named parameter goes to a safetensors file. Networks,
//! parameter names, shapes, order and initial distributions are PyTorch's, so that a file made here looks like one made
//! there.
//!
//! ```no_run
//! use lmgc_collect::{Architecture, CollectOptions, DatasetName, collect};
//!
//! let mut options = CollectOptions::new(DatasetName::Digits, Architecture::ConvNet, "exps");
//! options.steps = Some(400);
//! let summary = collect(&options, &mut |report| println!("{} {:.4}", report.step, report.loss))?;
//! println!("{:?}", summary.gradient_files);
//! # Ok::<(), lmgc_collect::Error>(())
//! ```
//!
//! # Reproducibility
//!
//! Everything random comes from ChaCha8 streams keyed by the seed; burn's own generator is never used. On
//! the CPU the same options give the same files, byte for byte, on the same machine, for any number of threads. Other
//! machines may round differently: this stage is outside the determinism contract, the files it writes are inside.

pub mod dataset;
mod device;
mod error;
mod gradient_file;
pub mod network;
mod optimizer;
mod options;
mod random;
mod train;

pub use dataset::DatasetName;
pub use device::DeviceName;
pub use error::Error;
pub use gradient_file::gradient_file_path;
pub use network::Architecture;
pub use optimizer::{Sgd, cosine_learning_rate};
pub use options::CollectOptions;
pub use train::{CollectSummary, StepReport, collect, collect_on};
