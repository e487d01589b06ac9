use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::Context;
use lmgc_codec::files::write_atomically;
use lmgc_model::store;
use lmgc_serialize::Serializer;
use lmgc_tensors::gguf::GgufFile;
use lmgc_tokens::Tokenizer;
use lmgc_tokens::dataset::{Options, Source, TokenDataset, draw_sources, files_in};
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
        if input.is_dir() { files.extend(files_in(input)?) } else { files.push(input.clone()) }
    }
    Ok(files)
}

fn read_source(path: &Path, common: &Common) -> anyhow::Result<Source> {
    let (source, note) = Source::read(path)?;
    if let (Some(note), false) = (note, common.quiet) {
        eprintln!("lmgc: {}: note: {note}", path.display());
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
