//! Damaged files end in the right bytes or in a clean error: never in a panic, in more than two seconds, or in more than 256 MiB of
//! memory.
//!
//! Small files of all codecs are cut at every byte, have every single bit flipped, and are changed at random; all of
//! that as it is, and again with all checksums recomputed, so that it reaches the decoders. Payloads are cut with their
//! lengths adjusted, and the fields of headers, blocks and footers are given other values under right checksums.
//!
//! The everyday test takes a sample. `cargo xtask mutations` runs all (the variable `LMGC_MUTATIONS=full`), and
//! `LMGC_MUTATION=<case>` a single case, such as one that failed.

#[path = "../common/cases.rs"]
mod cases;
#[path = "../common/mod.rs"]
mod common;
mod damage;
#[path = "../common/originals.rs"]
mod originals;
mod tally;
mod trial;
mod watch;

use damage::{Case, Subjects};
use tally::Tally;
use trial::Trials;

/// Cases whose memory is measured together.
const BATCH: usize = 64;
/// How often a long run says how far it is, in cases.
const PROGRESS_EVERY: usize = 50_000;

#[test]
fn damage_ends_in_the_right_bytes_or_in_a_clean_error() {
    let subjects = Subjects::new();
    let (cases, is_shown) = match (std::env::var("LMGC_MUTATION"), std::env::var("LMGC_MUTATIONS")) {
        (Ok(case), _) => (vec![subjects.parse(&case).expect("no such case")], true),
        (_, Ok(amount)) if amount == "full" => (subjects.all_cases().collect(), true),
        _ => (subjects.sample(), false),
    };
    // One thread, so that time and memory are those of a case.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let tally = pool.install(|| run(&subjects, &cases));
    if is_shown || !tally.failures.is_empty() {
        println!("{tally}");
    }
    assert!(tally.failures.is_empty(), "{} of {} cases failed", tally.failures.len(), cases.len());
}

fn run(subjects: &Subjects, cases: &[Case]) -> Tally {
    let trials = Trials::new(subjects);
    let mut tally = Tally::default();
    let mut n_done = 0;
    for batch in cases.chunks(BATCH) {
        let (_, n_bytes) =
            watch::peak_memory(|| batch.iter().for_each(|case| tally.add(subjects, case, trials.run(case))));
        // Whose memory it was, only cases that run alone can say.
        if n_bytes > tally.most_memory.0 {
            for case in batch {
                let (_, n_bytes) = watch::peak_memory(|| trials.run(case));
                tally.add_memory(subjects, case, n_bytes);
            }
        }
        n_done += batch.len();
        if n_done / PROGRESS_EVERY > (n_done - batch.len()) / PROGRESS_EVERY {
            println!(
                "{n_done} of {} cases, {} failures, now {}",
                cases.len(),
                tally.failures.len(),
                subjects.describe(&batch[0])
            );
        }
    }
    tally
}
