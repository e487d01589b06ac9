//! `lmgc bench`: codecs side by side. Each measurement is a run of this program in a process of its own, so that its memory can be
//! told and a crash ends nothing else.

mod report;
mod worker;

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lmgc_codec::bench::{Contestant, Failure, Floor, Measurement, Sample, Scope};
use lmgc_codec::files::Place;
use lmgc_codec::{CodecId, CodecName};
use serde_json::Value;

use self::report::Subject;
use super::compress::default_lm;
use crate::args::{Bench, Common};
use crate::models::Models;
use crate::terminal::{Channel, bar, bytes, rough_duration};

const LM: CodecName = CodecName::One(CodecId::Lm);

/// One line of results.
struct Row {
    contestant: Contestant,
    scope: Scope,
    outcome: Result<Measurement, Failure>,
}

pub(crate) fn run(args: &Bench, common: &Common) -> anyhow::Result<()> {
    if args.worker {
        return worker::run(args, common);
    }
    let contestants = contestants(args)?;
    let mut results = match &args.output {
        None => None,
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            Some(file.with_context(|| format!("cannot write {}", path.display()))?)
        }
    };
    let mut broken = Vec::new();
    for path in &args.inputs {
        let place = Place::new(path);
        let input = Input::open(&place).with_context(|| format!("{place}"))?;
        let subject = subject(args, common, &place, &input)?;
        if contestants.iter().any(|contestant| contestant.codec.needs_model()) {
            announce(args, common, &input)?;
        }
        let plan = plan(args, &contestants, &subject);
        let bar =
            bar(!common.quiet && !common.json, plan.len() as u64, "    measuring {wide_msg} {bar:24} {pos}/{len}");
        let mut rows = Vec::new();
        for (contestant, scope) in plan {
            bar.set_message(format!("{place}: {contestant}, {scope}"));
            let row = Row { contestant, scope, outcome: worker::start(args, common, &input.path, contestant, scope)? };
            tell(args, common, &subject, &row, results.as_mut())?;
            if let Err(Failure::Broken { reason }) = &row.outcome {
                broken.push(format!("{place}, {contestant}, {scope}: {reason}"));
            }
            rows.push(row);
            bar.inc(1);
        }
        bar.finish_and_clear();
        if !common.quiet && !common.json {
            report::lines(&subject, &rows).into_iter().for_each(|line| Channel::Out.line(line));
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("not everything came back as it was; this is a defect of lmgc: please report it. {}", broken.join("; "))
}

/// Whom to measure, each once.
fn contestants(args: &Bench) -> anyhow::Result<Vec<Contestant>> {
    let named = if args.codecs.is_empty() { Contestant::usual() } else { args.codecs.clone() };
    let mut contestants: Vec<Contestant> = Vec::new();
    let lm = args.model.as_ref().map(|_| Contestant::new(LM));
    for contestant in named.into_iter().chain(lm) {
        if !contestants.contains(&contestant) {
            contestants.push(contestant);
        }
    }
    if args.model.is_none() && contestants.iter().any(|contestant| contestant.codec.needs_model()) {
        return Err(lmgc_codec::Error::ModelRequired.into());
    }
    Ok(contestants)
}

/// Which measurements an input gets, in order.
fn plan(args: &Bench, contestants: &[Contestant], subject: &Subject) -> Vec<(Contestant, Scope)> {
    let is_usual = |contestant: &Contestant, scope: Scope| {
        scope.suits(contestant.codec)
            && (scope != Scope::Tensor || subject.has_structure)
            && (scope != Scope::Chunks || args.chunk_bytes.is_some())
    };
    let scopes_of = |contestant: &Contestant| -> Vec<Scope> {
        let all = Scope::ALL.into_iter();
        if args.scope.is_empty() {
            all.filter(|&scope| is_usual(contestant, scope)).collect()
        } else {
            all.filter(|scope| args.scope.contains(scope)).collect()
        }
    };
    contestants.iter().flat_map(|c| scopes_of(c).into_iter().map(|scope| (*c, scope))).collect()
}

/// A file that the processes can open: standard input is spooled.
struct Input {
    path: PathBuf,
    n_bytes: u64,
    _spool: Option<tempfile::NamedTempFile>,
}

impl Input {
    fn open(place: &Place) -> anyhow::Result<Self> {
        let (path, spool) = match place {
            Place::File(path) => (path.clone(), None),
            Place::Standard => {
                let mut spool = tempfile::NamedTempFile::new()?;
                io::copy(&mut io::stdin().lock(), &mut spool)?;
                (spool.path().to_owned(), Some(spool))
            }
        };
        let n_bytes = File::open(&path)?.metadata()?.len();
        Ok(Self { path, n_bytes, _spool: spool })
    }
}

fn read_sample(path: &Path, args: &Bench) -> anyhow::Result<Sample> {
    Ok(Sample::read(&mut BufReader::new(File::open(path)?), args.dtype)?)
}

fn subject(args: &Bench, common: &Common, place: &Place, input: &Input) -> anyhow::Result<Subject> {
    let sample = read_sample(&input.path, args).with_context(|| format!("{place}"))?;
    if let (Some(note), false) = (&sample.note, common.quiet) {
        eprintln!("lmgc: {place}: note: {note}");
    }
    Ok(Subject {
        name: place.to_string(),
        format: sample.format.to_string(),
        dtypes: sample.runs.iter().map(|run| run.dtype.to_string()).collect(),
        n_tensors: sample.n_tensors(),
        n_bytes: sample.n_bytes(),
        n_values: sample.n_values(),
        n_zeros: sample.n_zeros(),
        has_structure: sample.has_structure(),
        floor: Floor::of(&sample),
    })
}

/// Says beforehand how long a language model will take, and finds out early that it cannot be loaded.
fn announce(args: &Bench, common: &Common, input: &Input) -> anyhow::Result<()> {
    let (model, lm) = default_lm(&Models::new(args.model.as_deref(), common))?;
    if common.quiet || common.json {
        return Ok(());
    }
    let sample = read_sample(&input.path, args)?;
    let bytes_of_it = sample.runs.iter().map(|run| run.bytes.as_slice()).find(|bytes| !bytes.is_empty()).unwrap_or(&[]);
    let middle = &bytes_of_it[bytes_of_it.len() / 2..];
    let estimate = lm.estimate(&middle[..middle.len().min(512)], input.n_bytes)?;
    eprintln!(
        "lmgc: {} through {} and back will take about {} with all threads, longer with fewer",
        bytes(input.n_bytes),
        model.name(),
        rough_duration(estimate.encode_seconds + estimate.decode_seconds)
    );
    Ok(())
}

fn tell(args: &Bench, common: &Common, subject: &Subject, row: &Row, results: Option<&mut File>) -> anyhow::Result<()> {
    let line: Value = report::json(args, common, subject, row);
    if let (Some(file), Some(path)) = (results, &args.output) {
        file.write_all(format!("{line}\n").as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if common.json {
        Channel::Out.line(line);
    }
    Ok(())
}
