//! Which damage there is.

use std::ops::Range;

use lmgc_container::{SeekReader, TensorEntry};
use lmgc_testkit::{LmgcFile, Random, mutate_bytes, mutate_structure, repair_checksums};

use crate::cases::{Needs, cases};
use crate::originals::testdata;

/// Random mutations of all files together, each of them once as it is and once with checksums recomputed; and as many of parts.
const N_RANDOM: usize = 100_000;

/// Golden files from before footers had hashes of tensors, and their originals.
const OLD_FILES: [(&str, &str); 2] =
    [("auto-mixed", "tensors/mixed.safetensors"), ("lm-few-nibbles", "format-1/originals/few.safetensors")];

/// A file to be damaged.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) original: Vec<u8>,
    /// Where in it tensors lie.
    pub(crate) tensors: Vec<Range<usize>>,
    pub(crate) reference: Option<&'static str>,
    packed: Vec<u8>,
    parts: LmgcFile,
    /// Whether decoding it takes long.
    is_slow: bool,
}

impl Subject {
    fn new(name: String, reference: Option<&'static str>, original: Vec<u8>, packed: Vec<u8>) -> Self {
        let parts = LmgcFile::parse(&packed).unwrap();
        assert!(parts.to_bytes() == packed, "{name}");
        let header = SeekReader::open(std::io::Cursor::new(&packed)).unwrap().header().clone();
        let range = |tensor: &TensorEntry| tensor.offset as usize..(tensor.offset + tensor.len) as usize;
        let tensors = header.tensors.iter().map(range).collect();
        Self { name, original, tensors, reference, packed, parts, is_slow: false }
    }
}

/// Kinds of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The file's first bytes.
    Truncation,
    /// One bit.
    Flip,
    /// See [`mutate_bytes`].
    Random,
    /// A payload's first bytes, with its length adjusted.
    PayloadTruncation,
    /// See [`mutate_structure`].
    Structure,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Truncation, Self::Flip, Self::Random, Self::PayloadTruncation, Self::Structure];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Truncation => "truncation",
            Self::Flip => "flip",
            Self::Random => "random",
            Self::PayloadTruncation => "payload-truncation",
            Self::Structure => "structure",
        }
    }

    /// Whether its checksums are right anyway.
    fn is_sealed(self) -> bool {
        matches!(self, Self::PayloadTruncation | Self::Structure)
    }
}

/// One damaged file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) subject: usize,
    pub(crate) kind: Kind,
    /// Whether checksums are recomputed.
    pub(crate) is_repaired: bool,
    /// Which of its kind.
    pub(crate) number: usize,
}

/// All files.
pub(crate) struct Subjects {
    pub(crate) all: Vec<Subject>,
    pub(crate) needs: Needs,
}

impl Subjects {
    pub(crate) fn new() -> Self {
        let needs = Needs::new();
        let mut all: Vec<Subject> = Vec::new();
        for recipe in cases().into_iter().filter(|case| case.is_mutated) {
            let original = needs.original(recipe.original);
            let packed = recipe.pack(&needs, &original);
            let is_slow = recipe.lm.is_some() && original.len() > 1000;
            all.push(Subject { is_slow, ..Subject::new(recipe.name, recipe.reference, original, packed) });
        }
        for (name, original) in OLD_FILES {
            let packed =
                std::fs::read(testdata("format-1/without-tensor-hashes").join(format!("{name}.lmgc"))).unwrap();
            all.push(Subject::new(format!("old-{name}"), None, needs.original(original), packed));
        }
        Self { all, needs }
    }

    pub(crate) fn of(&self, case: &Case) -> &Subject {
        &self.all[case.subject]
    }

    /// A case's name.
    pub(crate) fn describe(&self, case: &Case) -> String {
        let way = if case.is_repaired { "repaired" } else { "plain" };
        format!("{}/{way}/{}/{}", self.of(case).name, case.kind.name(), case.number)
    }

    /// The case of a name.
    pub(crate) fn parse(&self, name: &str) -> Option<Case> {
        let [subject, way, kind, number]: [&str; 4] = name.split('/').collect::<Vec<_>>().try_into().ok()?;
        Some(Case {
            subject: self.all.iter().position(|other| other.name == subject)?,
            kind: Kind::ALL.into_iter().find(|other| other.name() == kind)?,
            is_repaired: way == "repaired",
            number: number.parse().ok()?,
        })
    }

    /// How many cases of a kind there are.
    fn n_cases(&self, subject: &Subject, kind: Kind) -> usize {
        match kind {
            Kind::Truncation => subject.packed.len(),
            Kind::Flip => subject.packed.len() * 8,
            Kind::Random | Kind::Structure => N_RANDOM.div_ceil(self.all.len()),
            Kind::PayloadTruncation => subject.parts.blocks.iter().map(|block| block.payload.len()).sum(),
        }
    }

    fn runs(&self) -> impl Iterator<Item = (usize, Kind, bool, usize)> + '_ {
        self.all.iter().enumerate().flat_map(move |(at, subject)| {
            let ways = [false, true].into_iter().flat_map(|is_repaired| Kind::ALL.map(|kind| (kind, is_repaired)));
            ways.filter(|(kind, is_repaired)| *is_repaired || !kind.is_sealed())
                .map(move |(kind, is_repaired)| (at, kind, is_repaired, self.n_cases(subject, kind)))
        })
    }

    pub(crate) fn all_cases(&self) -> impl Iterator<Item = Case> + '_ {
        self.runs().flat_map(|(subject, kind, is_repaired, n)| {
            (0..n).map(move |number| Case { subject, kind, is_repaired, number })
        })
    }

    /// A few cases of every kind for every file.
    pub(crate) fn sample(&self) -> Vec<Case> {
        let runs = self.runs().flat_map(|(subject, kind, is_repaired, n)| {
            let n_wanted = if self.all[subject].is_slow { 10 } else { 60 };
            let step = n.div_ceil(n_wanted);
            // Not always the same bit of a byte.
            let number = move |i: usize| i * step + i * 7919 % step;
            (0..n_wanted).map(number).filter(move |&number| number < n).map(move |number| Case {
                subject,
                kind,
                is_repaired,
                number,
            })
        });
        runs.collect()
    }

    /// The damaged file, and what was done.
    pub(crate) fn damaged(&self, case: &Case) -> (Vec<u8>, &'static str) {
        let subject = self.of(case);
        let mut bytes = subject.packed.clone();
        let mut what = case.kind.name();
        match case.kind {
            Kind::Truncation => bytes.truncate(case.number),
            Kind::Flip => bytes[case.number / 8] ^= 1 << (case.number % 8),
            Kind::Random => {
                let donors: Vec<&[u8]> = self.all.iter().map(|subject| &*subject.packed).collect();
                what = mutate_bytes(&mut bytes, &mut self.random(case), &donors);
            }
            Kind::PayloadTruncation => {
                let mut parts = subject.parts.clone();
                let mut len = case.number;
                for block in &mut parts.blocks {
                    if len < block.payload.len() {
                        block.payload.truncate(len);
                        break;
                    }
                    len -= block.payload.len();
                }
                return (parts.to_bytes(), what);
            }
            Kind::Structure => {
                let donors: Vec<&LmgcFile> = self.all.iter().map(|subject| &subject.parts).collect();
                return mutate_structure(&subject.parts, &mut self.random(case), &donors);
            }
        }
        if case.is_repaired {
            repair_checksums(&mut bytes);
        }
        (bytes, what)
    }

    fn random(&self, case: &Case) -> Random {
        let hash = blake3::hash(self.of(case).name.as_bytes());
        let [a, b, c, d, ..] = *hash.as_bytes();
        Random::new(u64::from(u32::from_le_bytes([a, b, c, d])) << 32 | case.number as u64)
    }
}
