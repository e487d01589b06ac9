//! Canonical weights kept on disk, so that a large model is converted once.
//!
//! A file is 8 bytes that name the format, the BLAKE3 hash of the configuration, the canonical bytes as they are hashed
//! ([`crate::ModelBuilder`]), and their hash. It is only ever a shortcut: whatever is wrong with it, the model is
//! converted again.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use lmgc_kernels::{BLOCK, NUMERICS_REVISION, QuantMatrix};

use crate::families::WeightSource;
use crate::mapping::map;
use crate::{
    Error, FeedForward, LayerWeights, LinearWeights, Model, ModelBuilder, ModelConfig, NormKind, NormWeights, Positions,
};

const MAGIC: [u8; 8] = *b"lmgcw\0\0\x01";
const HASH_BYTES: usize = 32;

/// Identifies a source without its path or most of its bytes.
pub(crate) struct Key(blake3::Hasher);

impl Key {
    pub(crate) fn new(kind: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"lmgc canonical weights");
        hasher.update(&NUMERICS_REVISION.to_le_bytes());
        let mut key = Self(hasher);
        key.add(kind.as_bytes());
        key
    }

    /// Adds something of the source's content, such as a file's header.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Adds a file's length and time of change.
    pub(crate) fn add_file(&mut self, path: &Path) -> Result<(), Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let metadata = fs::metadata(path).map_err(io)?;
        let since_1970 = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        self.add(&metadata.len().to_le_bytes());
        self.add(&since_1970.unwrap_or_default().as_nanos().to_le_bytes());
        Ok(())
    }

    /// The file in the cache's folder.
    pub(crate) fn path_in(self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.lmgcw", self.0.finalize().to_hex()))
    }
}

/// Builds a model from a source, copying the canonical bytes to `copy`. Also says why copying failed, if it did.
pub(crate) fn build(
    config: &ModelConfig,
    source: &mut impl WeightSource,
    copy: Option<&mut dyn Write>,
) -> Result<(Model, Option<std::io::Error>), Error> {
    let (embedding, positions) = (source.embedding()?, source.positions()?);
    let mut builder = ModelBuilder::copying(config.clone(), embedding, positions, copy)?;
    for i in 0..config.n_layers {
        builder.push_layer(source.layer(i)?)?;
    }
    let (final_norm, output) = (source.final_norm()?, source.output()?);
    source.finish()?;
    builder.finish_copying(final_norm, output)
}

/// The model of a cache file, or `None` where there is none that is whole.
pub(crate) fn read(path: &Path, config: &ModelConfig) -> Option<Model> {
    let mapping = map(path).ok()?;
    let (magic, rest) = mapping.split_first_chunk::<8>()?;
    let (config_hash, rest) = rest.split_first_chunk::<HASH_BYTES>()?;
    let (body, weights_hash) = rest.split_last_chunk::<HASH_BYTES>()?;
    if *magic != MAGIC || blake3::hash(&config.canonical_bytes()) != *config_hash {
        return None;
    }
    let (model, _) = build(config, &mut Body { config, bytes: body }, None).ok()?;
    (model.weights_hash == *weights_hash).then_some(model)
}

/// Builds a model from its source and writes the cache file on the way. Failing to write is no error.
pub(crate) fn build_and_write(
    path: &Path,
    config: &ModelConfig,
    source: &mut impl WeightSource,
) -> Result<Model, Error> {
    let Some(mut file) = temporary_file(path) else { return Ok(build(config, source, None)?.0) };
    let mut writer = BufWriter::with_capacity(1 << 20, file.as_file_mut());
    let started =
        writer.write_all(&MAGIC).and_then(|()| writer.write_all(blake3::hash(&config.canonical_bytes()).as_bytes()));
    let (model, failure) = build(config, source, Some(&mut writer))?;
    let written = writer.write_all(model.weights_hash.as_bytes()).and_then(|()| writer.flush());
    drop(writer);
    if started.is_ok() && failure.is_none() && written.is_ok() {
        // A file that cannot get its name is removed, and the next load converts again.
        let _ = file.persist(path);
    }
    Ok(model)
}

/// Beside the file to be, so that it can be renamed.
fn temporary_file(path: &Path) -> Option<tempfile::NamedTempFile> {
    let folder = path.parent()?;
    fs::create_dir_all(folder).ok()?;
    tempfile::Builder::new().prefix(".lmgc-").suffix(".tmp").tempfile_in(folder).ok()
}

/// The canonical bytes, read in the order in which they were written.
struct Body<'a> {
    config: &'a ModelConfig,
    bytes: &'a [u8],
}

/// Why a cache file is not used; nobody sees it.
fn damaged() -> Error {
    Error::Tensor { name: "cached weights".to_owned(), problem: "are damaged".to_owned() }
}

impl Body<'_> {
    fn take(&mut self, n_bytes: Option<usize>) -> Result<&[u8], Error> {
        let (taken, rest) = n_bytes.and_then(|n| self.bytes.split_at_checked(n)).ok_or_else(damaged)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn is_present(&mut self) -> Result<bool, Error> {
        match self.take(Some(1))? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(damaged()),
        }
    }

    fn floats(&mut self, n: usize) -> Result<Vec<f32>, Error> {
        let bytes = self.take(n.checked_mul(4))?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
    }

    fn optional(&mut self, n: usize) -> Result<Option<Vec<f32>>, Error> {
        if self.is_present()? { self.floats(n).map(Some) } else { Ok(None) }
    }

    fn matrix(&mut self, rows: usize, cols: usize) -> Result<QuantMatrix, Error> {
        let n_blocks = rows.checked_mul(cols.div_ceil(BLOCK)).ok_or_else(damaged)?;
        let q = self.take(n_blocks.checked_mul(BLOCK))?.iter().map(|&q| q as i8).collect();
        let scales = self.floats(n_blocks)?;
        QuantMatrix::from_parts(rows, cols, q, scales).ok_or_else(damaged)
    }

    fn linear(&mut self, rows: usize, cols: usize) -> Result<LinearWeights, Error> {
        Ok(LinearWeights { matrix: self.matrix(rows, cols)?, bias: self.optional(rows)? })
    }

    fn norm(&mut self) -> Result<NormWeights, Error> {
        let d = self.config.d_model;
        let (weight, bias) = (self.floats(d)?, self.optional(d)?);
        if bias.is_some() == (self.config.norm.kind == NormKind::Layer) {
            Ok(NormWeights { weight, bias })
        } else {
            Err(damaged())
        }
    }
}

impl WeightSource for Body<'_> {
    fn embedding(&mut self) -> Result<QuantMatrix, Error> {
        self.matrix(self.config.vocab_size, self.config.d_model)
    }

    fn positions(&mut self) -> Result<Option<Vec<f32>>, Error> {
        let positions =
            self.optional(self.config.max_positions.checked_mul(self.config.d_model).ok_or_else(damaged)?)?;
        if positions.is_some() == (self.config.positions == Positions::Learned) {
            Ok(positions)
        } else {
            Err(damaged())
        }
    }

    fn layer(&mut self, _: usize) -> Result<LayerWeights, Error> {
        let (d, d_ffn, attention) = (self.config.d_model, self.config.d_ffn, self.config.attention);
        let (q_len, kv_len) = (attention.q_len(), attention.kv_len());
        Ok(LayerWeights {
            attention_norm: self.norm()?,
            q: self.linear(q_len, d)?,
            k: self.linear(kv_len, d)?,
            v: self.linear(kv_len, d)?,
            q_norm: self.optional(attention.head_dim)?,
            k_norm: self.optional(attention.head_dim)?,
            attention_out: self.linear(d, q_len)?,
            ffn_norm: self.norm()?,
            gate: match (self.is_present()?, self.config.feed_forward) {
                (true, FeedForward::SwiGlu) => Some(self.linear(d_ffn, d)?),
                (false, FeedForward::Gelu) => None,
                _ => return Err(damaged()),
            },
            up: self.linear(d_ffn, d)?,
            down: self.linear(d, d_ffn)?,
        })
    }

    fn final_norm(&mut self) -> Result<NormWeights, Error> {
        self.norm()
    }

    fn output(&mut self) -> Result<Option<QuantMatrix>, Error> {
        if self.is_present()? { self.embedding().map(Some) } else { Ok(None) }
    }

    fn finish(&mut self) -> Result<(), Error> {
        if self.bytes.is_empty() { Ok(()) } else { Err(damaged()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use lmgc_tensors::gguf::GgufFile;
    use lmgc_testkit::{TinyFamily, TinyModel};

    use super::*;
    use crate::gguf;

    /// Builds a tiny model by way of the cache file at `path`.
    fn build_at(path: &Path, tiny: &TinyModel) -> (ModelConfig, Model) {
        let bytes = tiny.to_gguf();
        let header = GgufFile::parse(&mut Cursor::new(&bytes)).unwrap();
        let (family, config) = gguf::read_config(&header, &bytes).unwrap();
        let model = build_and_write(path, &config, &mut gguf::weights(&header, &bytes, family, &config).unwrap());
        (config.clone(), model.unwrap())
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let untied = TinyModel { tied: false, biases: true, ..TinyModel::default() };
        for (i, tiny) in TinyFamily::ALL.map(TinyModel::of).into_iter().chain([untied]).enumerate() {
            let path = folder.path().join(format!("new/{i}.lmgcw"));
            let (config, written) = build_at(&path, &tiny);
            let found = read(&path, &config).unwrap();
            assert_eq!((found.weights_hash, &found.config), (written.weights_hash, &config));
            assert_eq!((found.positions, found.final_norm), (written.positions, written.final_norm));
            let other = ModelConfig { max_positions: config.max_positions - 1, ..config };
            assert!(read(&path, &other).is_none(), "of another configuration");
        }
        let names: Vec<_> = fs::read_dir(folder.path().join("new")).unwrap().collect();
        assert_eq!(names.len(), 5, "no temporary file stays");
    }

    #[test]
    fn damage_is_noticed_everywhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lmgcw");
        let tiny = TinyModel { n_layers: 1, n_heads: 1, n_kv_heads: 1, head_dim: 8, d_ffn: 16, ..TinyModel::default() };
        let (config, _) = build_at(&path, &tiny);
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(97).chain(whole.len() - 40..whole.len()) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(&path, damaged).unwrap();
            assert!(read(&path, &config).is_none(), "{at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(read(&path, &config).is_none(), "cut at {at}");
        }
        fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
        assert!(read(&path, &config).is_none());
        // What is damaged is written anew.
        build_at(&path, &tiny);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let (config, _) = build_at(&file.join("a.lmgcw"), &TinyModel::default());
        assert!(read(&file.join("a.lmgcw"), &config).is_none());
    }

    #[test]
    fn keys_tell_contents_apart() {
        let path = |parts: &[&[u8]]| {
            let mut key = Key::new("gguf");
            parts.iter().for_each(|part| key.add(part));
            key.path_in(Path::new("x"))
        };
        assert_eq!(path(&[b"ab", b"c"]), path(&[b"ab", b"c"]));
        assert_ne!(path(&[b"ab", b"c"]), path(&[b"a", b"bc"]));
        assert_ne!(path(&[b"a"]), path(&[b"b"]));
    }
}
