//! How long the rest will take.

use std::collections::BTreeMap;

use crate::{Cell, Method, Record};

/// What codecs without language models are taken to do until one of their cells is done.
const GUESSED_BYTES_A_SECOND: f64 = 2e6;

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
            self.expect(cell, record.seconds, n_bytes);
        }
    }

    /// What cells like this will probably take.
    pub(crate) fn expect(&mut self, cell: &Cell, seconds: f64, n_bytes: u64) {
        let speed = self.by_method.entry(class(cell)).or_default();
        speed.seconds += seconds;
        speed.n_bytes += n_bytes as f64;
    }

    pub(crate) fn knows(&self, cell: &Cell) -> bool {
        self.by_method.contains_key(&class(cell))
    }

    /// Seconds for a cell of so many bytes; 0 for a language model that nothing is known of: it could not be tried.
    pub(crate) fn seconds(&self, cell: &Cell, n_bytes: u64) -> f64 {
        let n_bytes = n_bytes as f64;
        match (self.by_method.get(&class(cell)), &cell.method) {
            (Some(speed), _) if speed.n_bytes > 0.0 => speed.seconds / speed.n_bytes * n_bytes,
            (_, Method::Codec { .. }) => n_bytes / GUESSED_BYTES_A_SECOND,
            (_, Method::Lm { .. }) => 0.0,
        }
    }
}

fn class(cell: &Cell) -> (Method, bool) {
    (cell.method.clone(), cell.is_estimate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn speeds_are_those_of_the_same_method() {
        let config = Config::parse(
            "name = 'x'\n[gradients]\nfiles = ['a']\n[[lm]]\nmodels = ['m']\n[[codecs]]\nnames = ['zstd', 'gzip']\n",
        )
        .unwrap();
        let cells = config.cells(false);
        let [lm, zstd, gzip, ..] = cells.as_slice() else { panic!("three methods") };
        let mut speeds = Speeds::default();
        assert!(!speeds.knows(lm));
        assert_eq!((speeds.seconds(lm, 4_000_000), speeds.seconds(gzip, 4_000_000)), (0.0, 2.0));
        speeds.expect(lm, 3.0, 1000);
        speeds.expect(lm, 5.0, 1000);
        speeds.expect(zstd, 1.0, 1000);
        assert_eq!((speeds.seconds(lm, 500), speeds.seconds(zstd, 500)), (2.0, 0.5));
        assert_eq!(speeds.seconds(gzip, 4_000_000), 2.0);
    }
}
