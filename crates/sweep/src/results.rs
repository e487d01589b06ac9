//! Results as lines of JSON, in a file that survives whatever ends the program.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lmgc_codec::bench::Contestant;
use serde::{Deserialize, Serialize};

use crate::{Cell, Config, Draw, Error, Method, Origin};

/// What a cell came to. The fields that `lmgc bench --json` has, too, mean the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the sweep.
    pub sweep: String,
    /// Name of the cell.
    pub cell: String,
    /// Whether there is a result.
    pub status: Status,
    /// What the sizes are.
    pub measure: Measure,
    /// Whose gradients.
    pub input: String,
    /// Codec without its level.
    pub codec: String,
    /// Everything that decides the result.
    pub settings: Settings,
    /// The gradient files that were drawn.
    #[serde(default)]
    pub files: Vec<String>,
    /// Where the sample's pieces begin in their tensors' bytes.
    #[serde(default)]
    pub offsets: Vec<u64>,
    /// Hash of the sample.
    pub sample_blake3: Option<String>,
    /// Bytes of the tensors.
    pub raw_bytes: Option<u64>,
    /// Bytes that came out; of an estimate, rounded up.
    pub compressed_bytes: Option<u64>,
    /// 100 times their ratio.
    pub rate_percent: Option<f64>,
    /// Bits of output a value.
    pub bits_per_value: Option<f64>,
    /// 10^6 bytes of tensors a second. Not of estimates.
    pub compress_mb_per_s: Option<f64>,
    /// Likewise.
    pub decompress_mb_per_s: Option<f64>,
    /// Tokens that passed through a language model.
    pub n_tokens: Option<u64>,
    /// What the bits are spent on, by the probabilities, without headers: fields in the order in which they are coded.
    #[serde(default)]
    pub bits_by_field: Vec<FieldBits>,
    /// Whether everything came back as it was; `None` for an estimate or a failure.
    pub round_trip: Option<bool>,
    /// Seconds that the cell took.
    pub seconds: f64,
    /// Why there is no result.
    pub error: Option<String>,
}

/// How a cell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// With a result.
    Ok,
    /// Without.
    Failed,
}

/// What a size is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// A `.lmgc` file's, headers included, that was decoded and compared.
    File,
    /// What codecs put out for pieces, which were decoded and compared, with the pieces' lengths.
    Payload,
    /// An ideal code length; nothing was written or decoded.
    Estimate,
}

/// What decides a result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Data set of a run.
    pub dataset: Option<String>,
    /// Architecture of a run.
    pub arch: Option<String>,
    /// Which repeat of a run.
    pub tag: Option<String>,
    /// Seed of the draw.
    pub draw: u64,
    /// Files drawn; `None`: all.
    pub num_subsample: Option<usize>,
    /// Bytes taken; `None`: all.
    pub sample_bytes: Option<u64>,
    /// From how many places they are.
    pub sample_pieces: Option<usize>,
    /// Lossy steps before.
    pub preprocess: String,
    /// Language model.
    pub model: Option<String>,
    /// How values become tokens.
    pub format: Option<String>,
    /// Bytes between separators.
    pub bytes_per_group: Option<usize>,
    /// Tokens in a window.
    pub window: Option<usize>,
    /// Which tokens get probability.
    pub mask: Option<String>,
    /// Leading bits that pass through the model.
    pub lm_bits: Option<u32>,
    /// Whether it is mixed with others.
    pub mix: Option<bool>,
    /// The codec's level.
    pub level: Option<i32>,
    /// What the codec sees at once.
    pub scope: Option<String>,
    /// Bytes of a chunk.
    pub chunk_bytes: Option<usize>,
    /// Threads.
    pub threads: Option<usize>,
    /// Versions of what decides bytes.
    pub versions: BTreeMap<String, String>,
}

/// Bits of a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldBits {
    /// Name.
    pub field: String,
    /// Bits a value.
    pub bits_per_value: f64,
}

impl Record {
    /// A failure, to be made a result.
    pub(crate) fn new(config: &Config, cell: &Cell, threads: usize) -> Self {
        let Cell { origin, draw, method, is_estimate } = cell;
        let Draw { seed, num_subsample, bytes, pieces, preprocess } = draw;
        let mut settings = Settings {
            draw: *seed,
            num_subsample: Some(*num_subsample).filter(|&n| n > 0),
            sample_bytes: Some(*bytes).filter(|&n| n > 0),
            sample_pieces: Some(*pieces).filter(|_| *bytes > 0),
            preprocess: preprocess.clone(),
            threads: Some(threads),
            versions: [("lmgc".to_owned(), env!("CARGO_PKG_VERSION").to_owned())].into(),
            ..Settings::default()
        };
        if let Origin::Run { dataset, arch, tag } = origin {
            settings.dataset = Some(dataset.clone());
            settings.arch = Some(arch.clone());
            settings.tag = Some(tag.clone());
        }
        let (codec, scope) = match method {
            Method::Lm { model, format, bytes_per_group, window, mask, lm_bits, mix } => {
                settings.model = Some(model.clone());
                settings.format = Some(format.clone());
                settings.bytes_per_group = Some(*bytes_per_group);
                settings.window = Some(*window);
                settings.mask = Some(mask.clone());
                settings.lm_bits = *lm_bits;
                settings.mix = Some(*mix);
                ("lm", "file")
            }
            Method::Codec { name, scope, chunk_bytes } => {
                settings.chunk_bytes = *chunk_bytes;
                // Of a codec without a level in its name the one at which it is compared.
                settings.level = name.parse::<Contestant>().ok().and_then(|contestant| contestant.level);
                (name.split_once(':').map_or(name.as_str(), |(codec, _)| codec), scope.as_str())
            }
        };
        settings.scope = Some(scope.to_owned());
        Self {
            sweep: config.name.clone(),
            cell: cell.to_string(),
            status: Status::Failed,
            measure: match (is_estimate, scope) {
                (true, _) => Measure::Estimate,
                (false, "file") => Measure::File,
                (false, _) => Measure::Payload,
            },
            input: origin.to_string(),
            codec: codec.to_owned(),
            settings,
            files: Vec::new(),
            offsets: Vec::new(),
            sample_blake3: None,
            raw_bytes: None,
            compressed_bytes: None,
            rate_percent: None,
            bits_per_value: None,
            compress_mb_per_s: None,
            decompress_mb_per_s: None,
            n_tokens: None,
            bits_by_field: Vec::new(),
            round_trip: None,
            seconds: 0.0,
            error: None,
        }
    }
}

/// The results of a sweep, in a directory.
#[derive(Debug)]
pub(crate) struct ResultsFile {
    path: PathBuf,
    file: File,
    /// By cell, the last one.
    records: BTreeMap<String, Record>,
}

impl ResultsFile {
    /// Opens `DIR/results.jsonl`, and keeps other processes from it. A line that a killed program wrote in part is cut off.
    pub(crate) fn open(directory: &Path, restart: bool) -> Result<Self, Error> {
        let path = directory.join("results.jsonl");
        let cannot = |source| Error::Write { path: path.clone(), source };
        std::fs::create_dir_all(directory).map_err(cannot)?;
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path }),
            Err(TryLockError::Error(source)) => return Err(cannot(source)),
        }
        if restart {
            file.set_len(0).map_err(cannot)?;
        }
        let mut bytes = Vec::new();
        let read = |source| Error::Read { path: path.clone(), source };
        file.read_to_end(&mut bytes).map_err(read)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let mut records = BTreeMap::new();
        for (at, line) in bytes[..whole].split(|&byte| byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let record: Record = serde_json::from_slice(line).map_err(|error| Error::Results {
                path: path.clone(),
                line: at + 1,
                problem: error.to_string(),
            })?;
            records.insert(record.cell.clone(), record);
        }
        file.set_len(whole as u64).map_err(cannot)?;
        file.seek(SeekFrom::End(0)).map_err(cannot)?;
        Ok(Self { path, file, records })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What an earlier run has of a cell.
    pub(crate) fn get(&self, cell: &str) -> Option<&Record> {
        self.records.get(cell)
    }

    /// Adds a line, which is on the disk when this returns.
    pub(crate) fn push(&mut self, record: &Record) -> Result<(), Error> {
        let cannot = |source| Error::Write { path: self.path.clone(), source };
        let mut line = serde_json::to_vec(record).map_err(|error| cannot(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).and_then(|()| self.file.sync_data()).map_err(cannot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let config = Config::parse("name = 'x'\n[gradients]\nfiles = ['a']\n[[codecs]]\nnames = ['zstd:3']\n").unwrap();
        Record::new(&config, &config.cells(false)[0], 2)
    }

    #[test]
    fn lines_survive_a_torn_end() {
        let directory = tempfile::tempdir().unwrap();
        let record = record();
        assert_eq!((record.codec.as_str(), record.settings.level), ("zstd", Some(3)));
        let mut results = ResultsFile::open(directory.path(), false).unwrap();
        assert!(matches!(ResultsFile::open(directory.path(), false), Err(Error::Busy { .. })));
        results.push(&record).unwrap();
        drop(results);
        let path = directory.path().join("results.jsonl");
        let whole = std::fs::read(&path).unwrap();
        for len in 0..=whole.len() {
            std::fs::write(&path, [&whole, &whole[..len]].concat()).unwrap();
            let results = ResultsFile::open(directory.path(), false).unwrap();
            assert_eq!(results.get(&record.cell), Some(&record));
            let n_lines = if len == whole.len() { 2 } else { 1 };
            assert_eq!(std::fs::metadata(&path).unwrap().len(), (n_lines * whole.len()) as u64);
        }
        assert!(ResultsFile::open(directory.path(), true).unwrap().get(&record.cell).is_none());
    }

    #[test]
    fn files_that_are_none_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results.jsonl");
        std::fs::write(&path, "\nnot json\n").unwrap();
        let error = ResultsFile::open(directory.path(), false).unwrap_err();
        assert!(matches!(error, Error::Results { line: 2, .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"\nnot json\n");
    }
}
