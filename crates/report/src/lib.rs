//! Pictures of what a run came to: training curves as SVG.
//!
//! The SVG is written here, not by a plotting library: `plotters`, the one with an SVG backend and no native
//! dependencies, has had no release since 2024 and guesses the width of text without a font library, and two panels of
//! lines take a few hundred lines.
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

mod axis;
mod curve;
mod log;
mod svg;

pub use curve::training_curve;
pub use log::{Epoch, Error, TrainingLog};
