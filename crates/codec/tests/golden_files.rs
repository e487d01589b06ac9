//! Files that earlier versions wrote, under `testdata/format-1`, which every later version reads.

#[path = "common/cases.rs"]
mod cases;
mod common;
#[path = "common/originals.rs"]
mod originals;

use cases::{Needs, cases};

#[test]
fn t() {
    let needs = Needs::new();
    let mut sum = 0;
    for case in cases() {
        let original =
            originals::made(case.original, needs.0.0.tokenizer()).unwrap_or_else(|| needs.original(case.original));
        let start = std::time::Instant::now();
        let packed = case.pack(&needs, &original);
        let took = start.elapsed();
        let start = std::time::Instant::now();
        let back = common::unpack(&packed, &needs.models(case.reference)).unwrap();
        assert!(back == original);
        sum += packed.len();
        let blocks: Vec<String> = lmgc_codec::inspect(std::io::Cursor::new(&packed))
            .unwrap()
            .blocks
            .iter()
            .map(|b| format!("{}:{}", b.codec, b.n_lanes))
            .collect();
        println!(
            "{} {} {} {} {:?} {:?} {:?}",
            case.is_mutated,
            case.name,
            original.len(),
            packed.len(),
            took,
            start.elapsed(),
            blocks
        );
    }
    println!("{sum}");
}
