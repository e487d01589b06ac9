//! `lmgc bench-model`: tokens a second of a model, encoding and decoding.

use std::time::Instant;

use anyhow::Context;
use lmgc_codec::bench::memory::peak_bytes;
use lmgc_codec::lm::{LanguageModel, Mask};
use lmgc_model::{Engine, Kernels, OutputLayer, Segment};
use lmgc_serialize::{BytesPerGroup, Format, Serializer};
use serde_json::{Value, json};

use crate::args::{BenchModel, Common};
use crate::exit::UsageError;
use crate::models::Models;
use crate::table;
use crate::terminal::bytes;

/// Tokens of each window that a round decodes at each place.
const STEPS: usize = 4;
/// Places of the window where decoding is measured: the middles of its quarters.
const PLACES: usize = 4;
/// Tokens that go through the model at once.
const ROWS_AT_ONCE: usize = 1024;

/// One measurement: seconds of each round.
struct Measured {
    what: &'static str,
    mask: Mask,
    n_windows: usize,
    n_tokens: usize,
    seconds: Vec<f64>,
}

impl Measured {
    fn tokens_per_s(&self) -> (f64, f64, f64) {
        let mut rates: Vec<f64> = self.seconds.iter().map(|s| self.n_tokens as f64 / s).collect();
        rates.sort_by(f64::total_cmp);
        (rates[rates.len() / 2], rates[0], rates[rates.len() - 1])
    }
}

pub(crate) fn run(args: &BenchModel, common: &Common) -> anyhow::Result<()> {
    let kernels = match args.isa {
        None => Kernels::detect(),
        Some(isa) => Kernels::with_isa(isa).with_context(|| format!("this machine lacks the instruction set {isa}"))?,
    };
    let language_model = Models::new(Some(&args.model), common).given()?;
    let model = language_model.model();
    let limit = model.config().max_positions;
    if !(2 * PLACES * (STEPS + 1)..=limit).contains(&args.window) {
        let least = 2 * PLACES * (STEPS + 1);
        return Err(UsageError(format!("--window must be from {least} to {limit} for this model")).into());
    }
    let (Some(&most_windows), Some(&first_mask)) = (args.windows.iter().max(), args.mask.first()) else {
        return Err(UsageError("--windows and --mask need a value each".to_owned()).into());
    };
    if args.windows.contains(&0) {
        return Err(UsageError("--windows are 1 or more".to_owned()).into());
    }
    let ids = token_ids(args, &language_model)?;
    let n_rounds = args.rounds as usize;
    let mut results = Vec::new();
    for &mask in &args.mask {
        let output = output_layer(mask, &language_model)?;
        results.push(prefill(&language_model, &output, kernels, &ids, mask, n_rounds)?);
        tell(common, &results[results.len() - 1]);
    }
    let output = output_layer(first_mask, &language_model)?;
    let mut engine = Engine::new(model, &output, kernels, most_windows, args.window);
    for measured in decode(&mut engine, &ids, &args.windows, first_mask, n_rounds)? {
        tell(common, &measured);
        results.push(measured);
    }
    report(args, common, kernels, &language_model, &results);
    Ok(())
}

/// A window of token ids.
fn token_ids(args: &BenchModel, language_model: &LanguageModel) -> anyhow::Result<Vec<u32>> {
    let ids: Vec<u32> = match &args.ids {
        Some(path) => {
            let data = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            data.chunks_exact(4).map(|id| u32::from_le_bytes([id[0], id[1], id[2], id[3]])).take(args.window).collect()
        }
        None => {
            let alphabet = language_model.tokenizer().legal_alphabet(&default_serializer());
            anyhow::ensure!(!alphabet.is_empty(), "the tokenizer has no token of the format hex-space");
            // A multiplicative congruential generator (Steele and Vigna, 2021); what it draws hardly matters.
            let mut state = 1u64;
            let draw = |_| {
                state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
                alphabet[(state >> 33) as usize % alphabet.len()]
            };
            (0..args.window).map(draw).collect()
        }
    };
    anyhow::ensure!(ids.len() == args.window, "{} token ids do not fill a window of {}", ids.len(), args.window);
    Ok(ids)
}

/// That of the paper's text.
fn default_serializer() -> Serializer {
    Serializer::new(Format::HexSpace, BytesPerGroup::default())
}

fn output_layer(mask: Mask, language_model: &LanguageModel) -> anyhow::Result<OutputLayer> {
    let model = language_model.model();
    Ok(match mask {
        Mask::Alphabet | Mask::Grammar => {
            let alphabet = language_model.tokenizer().legal_alphabet(&default_serializer());
            OutputLayer::restricted(model, &alphabet)?
        }
        _ => OutputLayer::full(model),
    })
}

/// Appends tokens to a sequence; the logits are computed and dropped.
fn feed(engine: &mut Engine<'_>, sequence: usize, ids: &[u32]) -> anyhow::Result<()> {
    for tokens in ids.chunks(ROWS_AT_ONCE) {
        engine.forward_each(&[Segment { sequence, tokens }], |_, logits| {
            std::hint::black_box(logits);
        })?;
    }
    Ok(())
}

/// Whole windows, one at a time.
fn prefill(
    language_model: &LanguageModel,
    output: &OutputLayer,
    kernels: Kernels,
    ids: &[u32],
    mask: Mask,
    n_rounds: usize,
) -> anyhow::Result<Measured> {
    let mut engine = Engine::new(language_model.model(), output, kernels, 1, ids.len());
    let mut seconds = Vec::new();
    for round in 0..=n_rounds {
        engine.reset(0);
        let start = Instant::now();
        feed(&mut engine, 0, ids)?;
        // The first one warms up.
        if round > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    Ok(Measured { what: "prefill", mask, n_windows: 1, n_tokens: ids.len(), seconds })
}

/// Some windows in lockstep, at several places of the window.
fn decode(
    engine: &mut Engine<'_>,
    ids: &[u32],
    numbers_of_windows: &[usize],
    mask: Mask,
    n_rounds: usize,
) -> anyhow::Result<Vec<Measured>> {
    let mut results: Vec<Measured> = numbers_of_windows
        .iter()
        .map(|&n_windows| Measured {
            what: "decode",
            mask,
            n_windows,
            n_tokens: n_windows * STEPS * PLACES,
            seconds: vec![0.0; n_rounds],
        })
        .collect();
    for place in 0..PLACES {
        let position = ids.len() * (2 * place + 1) / (2 * PLACES);
        for measured in &mut results {
            for sequence in 0..measured.n_windows {
                let n_held = engine.n_tokens(sequence).min(position);
                engine.truncate(sequence, n_held);
                feed(engine, sequence, &ids[n_held..position])?;
            }
            for seconds in &mut measured.seconds {
                // The first step warms up.
                for step in 0..=STEPS {
                    let start = Instant::now();
                    let batch: Vec<Segment<'_>> = (0..measured.n_windows)
                        .map(|sequence| Segment { sequence, tokens: &ids[position + step..][..1] })
                        .collect();
                    std::hint::black_box(engine.forward(&batch)?);
                    if step > 0 {
                        *seconds += start.elapsed().as_secs_f64();
                    }
                }
                (0..measured.n_windows).for_each(|sequence| engine.truncate(sequence, position));
            }
        }
    }
    Ok(results)
}

fn tell(common: &Common, measured: &Measured) {
    if !common.quiet && !common.json {
        let (median, ..) = measured.tokens_per_s();
        eprintln!("{} {} x{}: {median:.0} tokens/s", measured.what, measured.mask, measured.n_windows);
    }
}

fn report(args: &BenchModel, common: &Common, kernels: Kernels, language_model: &LanguageModel, results: &[Measured]) {
    let model = language_model.model();
    let window_bytes = Engine::sequence_bytes(model, args.window);
    let n_threads = rayon::current_num_threads();
    for measured in results.iter().filter(|_| common.json) {
        let (median, min, max) = measured.tokens_per_s();
        let line: Value = json!({
            "what": measured.what,
            "model": language_model.name(),
            "mask": measured.mask.to_string(),
            "window": args.window,
            "n_windows": measured.n_windows,
            "tokens_per_s": median,
            "tokens_per_s_min": min,
            "tokens_per_s_max": max,
            "rounds": measured.seconds.len(),
            "threads": n_threads,
            "isa": kernels.isa().to_string(),
            "weight_bytes": model.n_bytes(),
            "kv_bytes_a_window": window_bytes,
            "peak_memory_bytes": peak_bytes(),
            "version": env!("CARGO_PKG_VERSION"),
        });
        println!("{line}");
    }
    if common.quiet || common.json {
        return;
    }
    let rows: Vec<Vec<String>> = results
        .iter()
        .map(|measured| {
            let (median, min, max) = measured.tokens_per_s();
            let windows = measured.n_windows.to_string();
            let cells = [format!("{median:.0}"), format!("{min:.0} - {max:.0}")];
            [measured.what.to_owned(), measured.mask.to_string(), windows].into_iter().chain(cells).collect()
        })
        .collect();
    println!(
        "{}, window {}, {n_threads} threads, {}, medians of {}",
        language_model.name(),
        args.window,
        kernels.isa(),
        args.rounds
    );
    for line in table::lines(&["", "mask", "windows", "tokens/s", "range"], &rows) {
        println!("{line}");
    }
    let peak = peak_bytes().map_or_else(String::new, |peak| format!(", peak memory {}", bytes(peak)));
    println!(
        "weights {}, keys and values {} a window{peak}",
        bytes(model.n_bytes() as u64),
        bytes(window_bytes as u64)
    );
}
