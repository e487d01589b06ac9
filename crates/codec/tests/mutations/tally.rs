//! What all cases came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::damage::{Case, Kind, Subjects};
use crate::trial::{OUTCOMES, Trial};

/// The most memory that a case may take.
const MAX_MEMORY: u64 = 256 << 20;
/// Failures that are printed; there may be as many as cases.
const MAX_SHOWN: usize = 50;

#[derive(Default)]
pub(crate) struct Tally {
    /// By whether checksums were recomputed, kind and what was done; how many ended in what.
    counts: BTreeMap<(bool, Kind, &'static str), BTreeMap<&'static str, usize>>,
    /// The cases and what is wrong with them.
    pub(crate) failures: Vec<String>,
    slowest: (Duration, String),
    /// The highest peak in bytes, and the case.
    pub(crate) most_memory: (u64, String),
}

impl Tally {
    pub(crate) fn add(&mut self, subjects: &Subjects, case: &Case, trial: Trial) {
        let outcome = trial.outcome.unwrap_or_else(|what| {
            self.failures.push(format!("LMGC_MUTATION={}: {what}", subjects.describe(case)));
            "failure"
        });
        *self.counts.entry((case.is_repaired, case.kind, trial.what)).or_default().entry(outcome).or_default() += 1;
        if trial.time > self.slowest.0 {
            self.slowest = (trial.time, subjects.describe(case));
        }
    }

    pub(crate) fn add_memory(&mut self, subjects: &Subjects, case: &Case, n_bytes: u64) {
        if n_bytes > MAX_MEMORY {
            self.failures.push(format!("LMGC_MUTATION={}: {} MiB of memory", subjects.describe(case), n_bytes >> 20));
        }
        if n_bytes > self.most_memory.0 {
            self.most_memory = (n_bytes, subjects.describe(case));
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = OUTCOMES.into_iter().chain(["failure"]).collect();
        write!(f, "{:30} {:>8}", "", "cases")?;
        columns.iter().try_for_each(|column| write!(f, " {column:>11}"))?;
        writeln!(f)?;
        let mut row = |name: &str, counts: &BTreeMap<&str, usize>| {
            write!(f, "{name:30} {:>8}", counts.values().sum::<usize>())?;
            columns.iter().try_for_each(|column| write!(f, " {:>11}", counts.get(column).unwrap_or(&0)))?;
            writeln!(f)
        };
        let mut sums: BTreeMap<(bool, Kind), BTreeMap<&str, usize>> = BTreeMap::new();
        for ((is_repaired, kind, _), counts) in &self.counts {
            let sum = sums.entry((*is_repaired, *kind)).or_default();
            counts.iter().for_each(|(outcome, n)| *sum.entry(outcome).or_default() += n);
        }
        for ((is_repaired, kind), sum) in &sums {
            row(&format!("{}{}", kind.name(), if *is_repaired { ", right checksums" } else { "" }), sum)?;
            let parts = self.counts.iter().filter(|((repaired, other, _), _)| (repaired, other) == (is_repaired, kind));
            for ((_, _, what), counts) in parts.filter(|((_, _, what), _)| *what != kind.name()) {
                row(&format!("  {what}"), counts)?;
            }
        }
        let mut total = BTreeMap::new();
        for (outcome, n) in sums.values().flatten() {
            *total.entry(*outcome).or_default() += n;
        }
        row("all", &total)?;
        writeln!(f, "slowest: {:.3?}, {}", self.slowest.0, self.slowest.1)?;
        writeln!(f, "most memory: {:.1} MiB, {}", self.most_memory.0 as f64 / 1048576.0, self.most_memory.1)?;
        for failure in self.failures.iter().take(MAX_SHOWN) {
            writeln!(f, "{failure}")?;
        }
        if self.failures.len() > MAX_SHOWN {
            writeln!(f, "and {} more", self.failures.len() - MAX_SHOWN)?;
        }
        Ok(())
    }
}
