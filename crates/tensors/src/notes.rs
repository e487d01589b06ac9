//! Remarks gathered while a file is laid out.

/// The most remarks kept; of more only the number is told.
const MAX_N_KEPT: usize = 4;

/// Remarks, a few of them in full.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    kept: Vec<String>,
    n_left_out: usize,
}

impl Notes {
    pub(crate) fn add(&mut self, note: impl Into<String>) {
        if self.kept.len() < MAX_N_KEPT {
            self.kept.push(note.into());
        } else {
            self.n_left_out += 1;
        }
    }

    /// Adds `n` with its description, unless it is 0.
    pub(crate) fn add_count(&mut self, n: usize, description: &str) {
        if n > 0 {
            self.add(format!("{n} {description}"));
        }
    }

    /// All in one line; `None` if there is nothing to say.
    pub(crate) fn into_note(mut self) -> Option<String> {
        if self.n_left_out > 0 {
            self.kept.push(format!("{} more remarks", self.n_left_out));
        }
        (!self.kept.is_empty()).then(|| self.kept.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_kept_and_the_rest_counted() {
        assert_eq!(Notes::default().into_note(), None);
        let mut notes = Notes::default();
        notes.add_count(0, "never");
        for n in 1..7 {
            notes.add_count(n, "x");
        }
        assert_eq!(notes.into_note().unwrap(), "1 x; 2 x; 3 x; 4 x; 2 more remarks");
    }
}
