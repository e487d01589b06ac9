//! Results and logs of training.

use lmgc_report::{Results, TrainingLog, summary, training_curve};

/// A file of results.
pub fn results(data: &[u8]) {
    if let Ok(results) = Results::parse("results.jsonl", data) {
        assert_eq!(results.n_ok() + results.n_failed(), results.records().len());
        let _ = summary(&results);
    }
}

/// A log of training.
pub fn training_log(data: &[u8]) {
    if let Ok(log) = TrainingLog::parse(data) {
        let _ = training_curve(&[log]);
    }
}
