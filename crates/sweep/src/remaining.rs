//! How long the rest will take.

use std::collections::BTreeMap;

use crate::{Cell, Method, Record};

/// What cells took per byte, by method.
#[derive(Clone, Debug, Default)]
pub(crate) struct Speeds {
    by_method: BTreeMap<(Method, bool), Speed>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Speed {
    seconds: f64,
    n_bytes: f64,
}

impl Speeds {
    /// What a cell took.
    pub(crate) fn learn(&mut self, cell: &Cell, record: &Record) {
        if let (Some(n_bytes), None) = (record.raw_bytes, &record.error) {
            self.add(cell, record.seconds, n_bytes);
        }
    }

    /// What cells like this will probably take.
    pub(crate) fn expect(&mut self, cell: &Cell, seconds: f64, n_bytes: u64) {
        self.add(cell, seconds, n_bytes);
    }

    fn add(&mut self, cell: &Cell, seconds: f64, n_bytes: u64) {
        let speed = self.by_method.entry(class(cell)).or_default();
        speed.seconds += seconds;
        speed.n_bytes += n_bytes as f64;
    }

    pub(crate) fn knows(&self, cell: &Cell) -> bool {
        self.by_method.contains_key(&class(cell))
    }

    /// Seconds for a cell of so many bytes; 0 for one of a kind that nothing is known of.
    pub(crate) fn seconds(&self, cell: &Cell, n_bytes: u64) -> f64 {
        match self.by_method.get(&class(cell)) {
            Some(speed) if speed.n_bytes > 0.0 => speed.seconds / speed.n_bytes * n_bytes as f64,
            _ => 0.0,
        }
    }
}

fn class(cell: &Cell) -> (Method, bool) {
    (cell.method.clone(), cell.is_estimate)
}
