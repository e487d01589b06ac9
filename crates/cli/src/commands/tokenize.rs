use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lmgc_codec::files::write_atomically;
use lmgc_model::store;
use lmgc_serialize::Serializer;
use lmgc_tensors::gguf::GgufFile;
use lmgc_tensors::{FileFormat, find_spans};
use lmgc_tokens::Tokenizer;
use lmgc_tokens::dataset::{Options, Source, TensorInfo, TokenDataset, draw_sources};
use serde_json::json;

use crate::args::{Common, Detokenize, Tokenize};
use crate::models::model_name;
use crate::terminal::{Channel, bar, bytes, count, say_on};

/// The tokenizer of a model: from a tokenizer.json, a GGUF file or a Hugging Face folder, by path or by name.
fn load_tokenizer(model: &str) -> anyhow::Result<Tokenizer> {
    if Path::new(model).extension().is_some_and(|extension| extension == "json") {
        return Tokenizer::from_tokenizer_json(model).with_context(|| format!("tokenizer {model}"));
    }
    let path = store::resolve(model)?;
    if path.is_dir() {
        let json = path.join("tokenizer.json");
        return Tokenizer::from_tokenizer_json(&json).with_context(|| format!("tokenizer {}", json.display()));
    }
    let file = File::open(&path).with_context(|| format!("cannot read model {}", path.display()))?;
    let gguf = GgufFile::parse(&mut BufReader::new(file)).with_context(|| format!("model {}", path.display()))?;
    Ok(Tokenizer::from_gguf(&gguf)?)
}

/// The files of the inputs: files as given, directories' gradient files by name.
fn list_files(inputs: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for input in inputs {
        if !input.is_dir() {
            files.push(input.clone());
            continue;
        }
        let read = || format!("cannot read directory {}", input.display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir(input).with_context(read)? {
            let path = entry.with_context(read)?.path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_file() && !hidden {
                found.push(path);
            }
        }
        if found.is_empty() {
            bail!("{} holds no files: give gradient files, or a directory of them", input.display());
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

/// A file's tensors, flattened and concatenated in parameter order.
fn read_source(path: &Path, common: &Common) -> anyhow::Result<Source> {
    let mut file = BufReader::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?);
    let layout = find_spans(&mut file)?;
    if let (Some(note), false) = (&layout.note, common.quiet) {
        eprintln!("lmgc: {}: note: {note}", path.display());
    }
    let mut source = Source {
        name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        bytes: Vec::new(),
        tensors: Vec::new(),
    };
    for index in layout.parameter_order() {
        let Some(span) = layout.spans.get(index) else { continue };
        file.seek(SeekFrom::Start(span.offset))?;
        let n_read = file.by_ref().take(span.len).read_to_end(&mut source.bytes)?;
        if n_read as u64 != span.len {
            bail!("{} changed while it was read: try again once nothing writes to it", path.display());
        }
        if layout.format != FileFormat::Raw {
            source.tensors.push(TensorInfo { name: span.name.clone(), dtype: span.dtype, shape: span.shape.clone() });
        }
    }
    Ok(source)
}

pub(crate) fn run(args: &Tokenize, common: &Common) -> anyhow::Result<()> {
    let serializer = Serializer::new(args.text.format, args.text.bytes_per_group);
    let tokenizer = load_tokenizer(&args.model)?;
    let mut files = list_files(&args.inputs)?;
    if let Some(n) = args.num_subsample {
        files = draw_sources(files.len(), n, args.seed)?.into_iter().map(|i| files[i].clone()).collect();
    }
    let bar = bar(!common.quiet && !common.json, files.len() as u64, "      reading {wide_bar} {pos}/{len} files");
    let mut sources = Vec::new();
    for file in &files {
        sources.push(read_source(file, common)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let n_original_bytes: u64 = sources.iter().map(|source| source.bytes.len() as u64).sum();
    let options = Options {
        model: model_name(&args.model),
        preprocess: args.preprocess.clone().unwrap_or_default(),
        num_subsample: args.num_subsample,
        seed: args.seed,
    };
    if !options.preprocess.is_empty() && !common.quiet {
        eprintln!("lmgc: --preprocess {} is lossy: the original values do not come back", options.preprocess);
    }
    let dataset = TokenDataset::build(sources, &tokenizer, &serializer, &options)?;
    let file = dataset.to_safetensors_bytes()?;
    let channel = Channel::beside(&args.output);
    write_atomically(&args.output, &file, args.force)?;
    if common.json {
        channel.line(json!({
            "output": args.output,
            "n_sources": files.len(),
            "raw_bytes": n_original_bytes,
            "n_tokens": dataset.ids.len(),
            "n_side_bytes": dataset.side.len(),
            "settings": dataset.settings,
        }));
    }
    let tokens_a_byte = dataset.ids.len() as f64 / n_original_bytes.max(1) as f64;
    say_on(
        channel,
        common,
        format!(
            "{}, {} -> {} tokens ({tokens_a_byte:.2} a byte) -> {}",
            count(files.len(), "file"),
            bytes(n_original_bytes),
            dataset.ids.len(),
            args.output.display()
        ),
    );
    Ok(())
}

pub(crate) fn run_inverse(args: &Detokenize, common: &Common) -> anyhow::Result<()> {
    let dataset = TokenDataset::read(&args.input).with_context(|| args.input.display().to_string())?;
    let model = match &args.model {
        Some(model) => model.clone(),
        None => {
            // The name comes from the file: only the store is searched for it.
            let name = &dataset.settings.model;
            store::resolve_name(name).with_context(|| format!("the data set was made with model '{name}'"))?;
            name.clone()
        }
    };
    let sources = dataset.detokenize(&load_tokenizer(&model)?)?;
    let channel = Channel::beside(&args.output);
    let file: Vec<u8> = sources.iter().flat_map(|(_, bytes)| bytes).copied().collect();
    write_atomically(&args.output, &file, args.force)?;
    if common.json {
        let names: Vec<&String> = sources.iter().map(|(name, _)| name).collect();
        channel.line(json!({ "output": args.output, "sources": names, "raw_bytes": file.len() }));
    }
    let sources = count(sources.len(), "source");
    say_on(channel, common, format!("{sources}, {} -> {}", bytes(file.len() as u64), args.output.display()));
    Ok(())
}
