//! Data sets, networks and the training loop that writes gradient files.
//!
//! This is stage 1 of LM-GC (arXiv 2409.17836): a network is trained with the usual recipe, and every
//! [`CollectOptions::grad_interval`] steps the gradient of each named parameter goes to a safetensors file. Networks,
//! parameter names, shapes, order and initial distributions are PyTorch's, so that a file made here looks like one made
//! there.
//!
//! ```no_run
//! use lmgc_collect::{Architecture, CollectOptions, DatasetName, Report, collect};
//!
//! let mut options = CollectOptions::new(DatasetName::Digits, Architecture::ConvNet, "exps");
//! options.steps = Some(400);
//! let summary = collect(&options, &mut |report| {
//!     if let Report::Step(step) = report {
//!         println!("{} {:.4}", step.step, step.loss);
//!     }
//! })?;
//! println!("{:?}", summary.gradient_files);
//! # Ok::<(), lmgc_collect::Error>(())
//! ```
//!
//! A run goes on where it was killed: [`RunDirectory`] says which files it keeps for that. Convolutions, normalisations and the like are
//! operations of our own on the CPU (module `cpu`), where burn's take several times as long, and burn's on other devices.
//!
//! # Reproducibility
//!
//! Everything random comes from ChaCha8 streams keyed by the seed; burn's own generator is never used. On
//! the CPU the same options give the same files, byte for byte, on the same machine, for any number of threads. Other
//! machines may round differently: this stage is outside the determinism contract, the files it writes are inside.

mod cpu;
pub mod dataset;
mod device;
mod error;
mod loader;
mod log;
pub mod network;
pub mod optimizer;
mod options;
mod random;
mod run_directory;
mod schedule;
mod state;
mod tensor_file;
mod train;

pub use dataset::DatasetName;
pub use device::DeviceName;
pub use error::Error;
pub use network::Architecture;
pub use optimizer::OptimizerName;
pub use options::CollectOptions;
pub use run_directory::RunDirectory;
pub use schedule::{ScheduleName, cosine_learning_rate, one_cycle_rates};
pub use train::{CollectSummary, EpochReport, Report, StepReport, collect, collect_on};
