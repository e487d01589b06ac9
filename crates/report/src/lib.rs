//! What runs came to: training curves as SVG, and reports of measured results as a page, tables and plots.
//!
//! The SVG is written here, not by a plotting library: `plotters`, the one with an SVG backend and no native
//! dependencies, has had no release since 2024 and guesses the width of text without a font library, and these few kinds
//! of plots take less code than fitting them into one. PNGs are drawn from the SVG by `resvg` with the DejaVu fonts that
//! come along, so that they look the same on every machine.
//!
//! ```
//! let log = lmgc_report::TrainingLog::parse(
//!     br#"{"event":"start","dataset":"digits","arch":"convnet","tag":"0","n_steps":1}
//! {"event":"step","step":1,"epoch":1,"loss":2.3,"learning_rate":0.1,"images_per_s":100.0}
//! "#,
//! )
//! .unwrap();
//! let svg = lmgc_report::training_curve(&[log]);
//! assert!(svg.starts_with("<svg ") && svg.contains("digits, convnet, tag 0"));
//! ```
//!
//! ```
//! let results = lmgc_report::Results::parse(
//!     "results.jsonl",
//!     br#"{"input":"grad.npy","codec":"zstd","raw_bytes":200,"compressed_bytes":150,"settings":{"level":3}}
//! {"input":"grad.npy","codec":"gzip","raw_bytes":200,"compressed_bytes":160,"settings":{"level":9}}
//! "#,
//! )
//! .unwrap();
//! let tables = lmgc_report::summary(&results);
//! assert_eq!(tables[0].headers, ["codec", "grad.npy"]);
//! assert_eq!(tables[0].rows, [["zstd:3", "75.00*"], ["gzip:9", "80.00"]]);
//! ```

mod axis;
mod csv_files;
mod curve;
mod groups;
mod labels;
mod log;
mod markdown;
mod numbers;
mod overview;
mod page;
mod plots;
mod raster;
mod record;
mod results;
mod style;
mod svg;
mod tables;
mod text_width;
mod write;

pub use curve::training_curve;
pub use log::{Epoch, Error, TrainingLog};
pub use raster::RasterError;
pub use record::{FieldBits, Measure, Record, Settings, Status};
pub use results::{Results, ResultsError};
pub use tables::Table;
pub use write::{ReportError, Written, summary, write_report};
