//! What files come to, as `testdata/sizes.csv` has it.
//!
//! Whoever means to change sizes has `LMGC_ACCEPT_SIZES=1 cargo test -p lmgc-codec --test golden_files` write the new ones, and
//! commits the file's differences.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use lmgc_codec::CodecName;
use lmgc_codec::baselines::levels;
use rayon::prelude::*;

use crate::cases::{Case, Needs, cases, is_built};
use crate::originals::testdata;

const SIZES: &str = "sizes.csv";
const COLUMNS: &str = "input,codec,settings,bytes";

/// Larger than most golden files' originals, made by formula.
const INPUTS: [&str; 7] = [
    "low-rank.safetensors",
    "scales.safetensors",
    "steps.safetensors",
    "upper-halves.safetensors",
    "doubles.safetensors",
    "zeros.safetensors",
    "noise.bin",
];

/// What codecs fpzip and zfp do not take.
const REFUSED: [&str; 2] = ["upper-halves.safetensors", "noise.bin"];

/// brotli and flac make choices by the system's logarithms and cosines, which may differ in their last bits: a size may
/// differ by a part in so many.
const TOLERANCE: u64 = 100;

fn may_differ(codec: &str) -> bool {
    ["brotli", "flac"].contains(&codec)
}

/// Every case, and every codec that takes it on each of the inputs at some levels.
fn measured() -> Vec<Case> {
    let mut all = cases();
    for codec in CodecName::all().filter(|codec| !codec.needs_model()) {
        let has_levels = match codec {
            CodecName::One(id) => levels(id).is_some(),
            _ => true,
        };
        for original in INPUTS {
            if REFUSED.contains(&original) && ["fpzip", "zfp"].contains(&&*codec.to_string()) {
                continue;
            }
            let of_level = |level| Case { level, ..Case::new(&codec.to_string(), original) };
            all.extend(if has_levels { [1, 5, 9].map(of_level).to_vec() } else { vec![of_level(5)] });
        }
    }
    all
}

type Sizes = BTreeMap<(String, String, String), u64>;

fn recorded() -> Sizes {
    let text = fs::read_to_string(testdata(SIZES)).unwrap_or_default();
    let row = |line: &str| {
        let columns: Vec<&str> = line.split(',').collect();
        let [input, codec, settings, bytes] = columns.try_into().unwrap();
        ((input.to_owned(), codec.to_owned(), settings.to_owned()), bytes.parse().unwrap())
    };
    text.lines().skip(1).map(row).collect()
}

#[test]
fn sizes_are_what_they_were() {
    let needs = Needs::new();
    let found: Sizes = measured()
        .par_iter()
        .map(|case| {
            let size = case.pack(&needs, &needs.original(case.original)).len() as u64;
            ((case.original.to_owned(), case.codec.clone(), case.settings()), size)
        })
        .collect();
    if std::env::var_os("LMGC_ACCEPT_SIZES").is_some() {
        let rows =
            found.iter().map(|((input, codec, settings), bytes)| format!("{input},{codec},{settings},{bytes}\n"));
        fs::write(testdata(SIZES), format!("{COLUMNS}\n{}", rows.collect::<String>())).unwrap();
    }
    let recorded = recorded();
    let mut table = String::new();
    for key in recorded.keys().chain(found.keys().filter(|key| !recorded.contains_key(*key))) {
        let (input, codec, settings) = key;
        let (old, new) = (recorded.get(key), found.get(key));
        let is_fine = match (old, new) {
            (Some(&old), Some(&new)) => old == new || may_differ(codec) && new <= old + old / TOLERANCE,
            (Some(_), None) => !is_built(codec),
            _ => false,
        };
        if !is_fine {
            let shown = |size: Option<&u64>| size.map_or("-".to_owned(), u64::to_string);
            writeln!(table, "{:>9} {:>9}  {codec} {settings}  {input}", shown(old), shown(new)).unwrap();
        }
    }
    assert!(
        table.is_empty(),
        "sizes differ from testdata/{SIZES}; if that is meant, `LMGC_ACCEPT_SIZES=1 cargo test -p lmgc-codec --test \
         golden_files` writes the new ones\n{:>9} {:>9}\n{table}",
        "old",
        "new"
    );
}
