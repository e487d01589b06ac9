//! Token datasets: built, written, read, turned back; and files that are none.

mod common;

use common::{byte_level, sentence_piece, serializer};
use lmgc_serialize::Format;
use lmgc_tensors::Dtype;
use lmgc_tokens::Error;
use lmgc_tokens::dataset::{Options, Source, TensorInfo, TokenDataset, draw_sources};

fn source(index: u32, n_values: u32) -> Source {
    let values = (0..n_values).map(|i| (i.wrapping_mul(2_654_435_761) ^ index) as f32 * 1e-9 - 2.0);
    Source {
        name: format!("grad_{index:08}.safetensors"),
        bytes: values.flat_map(f32::to_le_bytes).collect(),
        tensors: vec![
            TensorInfo { name: "weight".to_owned(), dtype: Dtype::F32, shape: vec![3, 2] },
            TensorInfo { name: "bias".to_owned(), dtype: Dtype::F32, shape: vec![u64::from(n_values) - 6] },
            TensorInfo { name: "empty".to_owned(), dtype: Dtype::F32, shape: vec![u64::MAX, 0] },
        ],
    }
}

fn sources() -> Vec<Source> {
    vec![source(0, 300), source(1, 7), source(2, 128)]
}

fn options(preprocess: &str) -> Options {
    Options { model: "small".to_owned(), preprocess: preprocess.parse().unwrap(), num_subsample: None, seed: 3 }
}

#[test]
fn files_come_back() {
    for (tokenizer, format) in
        [(byte_level(), Format::HexSpace), (byte_level(), Format::Iso), (sentence_piece(), Format::IsoCommaSpace)]
    {
        let dataset = TokenDataset::build(sources(), &tokenizer, &serializer(format, 4), &options("")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.tokens");
        dataset.write(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), dataset.to_safetensors_bytes().unwrap());
        let read = TokenDataset::read(&path).unwrap();
        assert_eq!(read, dataset);
        let back = read.detokenize(&tokenizer).unwrap();
        let expected: Vec<_> = sources().into_iter().map(|source| (source.name, source.bytes)).collect();
        assert_eq!(back, expected);
        let settings = &read.settings;
        assert_eq!((settings.format, settings.bytes_per_group.get(), settings.chunk_bytes), (format, 4, 512));
        assert_eq!(settings.sources[1].tensors, sources()[1].tensors);
        assert_eq!(settings.sources[1].n_bytes, 28);
    }
}

#[test]
fn no_sources_and_empty_sources() {
    let (tokenizer, serializer) = (byte_level(), serializer(Format::HexSpace, 4));
    let empty = Source { name: "empty".to_owned(), bytes: Vec::new(), tensors: Vec::new() };
    for sources in [vec![], vec![empty.clone()], vec![empty.clone(), source(1, 9), empty]] {
        let dataset = TokenDataset::build(sources.clone(), &tokenizer, &serializer, &options("")).unwrap();
        let read = TokenDataset::from_safetensors_bytes(&dataset.to_safetensors_bytes().unwrap()).unwrap();
        let back = read.detokenize(&tokenizer).unwrap();
        assert!(back.into_iter().eq(sources.into_iter().map(|source| (source.name, source.bytes))));
    }
}

#[test]
fn preprocessed_values_come_back() {
    let (tokenizer, serializer) = (byte_level(), serializer(Format::HexComma, 4));
    let build = |preprocess| TokenDataset::build(sources(), &tokenizer, &serializer, &options(preprocess)).unwrap();
    let dataset = build("sparsification50+quantization8");
    assert_eq!(dataset, build("sparsification50+quantization8"), "the seed decides");
    let back = dataset.detokenize(&tokenizer).unwrap();
    for ((_, bytes), source) in back.iter().zip(&dataset.settings.sources) {
        assert_eq!(bytes.len() as u64, source.n_bytes);
    }
    assert_eq!(dataset.settings.sources[0].n_original_bytes, 1200);
    assert!((110..190).contains(&dataset.settings.sources[0].n_bytes));
    assert_eq!(build("quantization1").settings.sources[0].n_bytes, 38);
    assert_eq!(build("quantization16").settings.sources[0].n_bytes, 600);
}

#[test]
fn subsampling() {
    let (tokenizer, serializer) = (byte_level(), serializer(Format::HexNone, 4));
    let many: Vec<Source> = (0..20).map(|index| source(index, 6)).collect();
    let build = |num_subsample, seed| {
        let options = Options { num_subsample: Some(num_subsample), seed, ..options("") };
        TokenDataset::build(many.clone(), &tokenizer, &serializer, &options)
    };
    let names = |num_subsample, seed| -> Vec<String> {
        build(num_subsample, seed).unwrap().settings.sources.into_iter().map(|source| source.name).collect()
    };
    assert_eq!(names(5, 1), names(5, 1));
    assert_ne!(names(5, 1), names(5, 2));
    assert_eq!(names(20, 1).len(), 20);
    assert!(matches!(build(21, 1), Err(Error::TooFewSources { requested: 21, available: 20 })));
    let mut n_drawn = [0; 20];
    for seed in 0..400 {
        let drawn = draw_sources(20, 5, seed).unwrap();
        assert!(drawn.len() == 5 && drawn.is_sorted_by(|a, b| a < b));
        drawn.into_iter().for_each(|index| n_drawn[index] += 1);
    }
    assert!(n_drawn.iter().all(|n| (60..140).contains(n)), "{n_drawn:?}");
}

#[test]
fn sources_that_do_not_fit() {
    let (tokenizer, serializer) = (byte_level(), serializer(Format::HexNone, 4));
    let error = |source: Source, preprocess: &str| {
        TokenDataset::build(vec![source], &tokenizer, &serializer, &options(preprocess)).unwrap_err()
    };
    let mut wrong_length = source(0, 8);
    wrong_length.bytes.pop();
    assert!(matches!(error(wrong_length, ""), Error::Dataset(_)));
    let mut overflowing = source(0, 8);
    overflowing.tensors[0].shape = vec![u64::MAX, 2];
    assert!(matches!(error(overflowing, ""), Error::Dataset(_)));
    let mut integers = source(0, 8);
    integers.tensors[1].dtype = Dtype::I32;
    assert!(matches!(error(integers, "quantization8"), Error::Preprocess { .. }));
    let raw = Source { tensors: Vec::new(), ..source(0, 8) };
    assert!(matches!(error(raw, "quantization8"), Error::Preprocess { .. }));
}

#[test]
fn another_tokenizer_is_refused() {
    let dataset = TokenDataset::build(sources(), &byte_level(), &serializer(Format::HexNone, 4), &options("")).unwrap();
    let error = dataset.detokenize(&sentence_piece()).unwrap_err();
    assert!(matches!(error, Error::TokenizerMismatch { .. }));
    assert!(error.to_string().contains("small"), "{error}");
}

#[test]
fn damaged_datasets() {
    let (tokenizer, serializer) = (byte_level(), serializer(Format::Iso, 4));
    let dataset = TokenDataset::build(sources(), &tokenizer, &serializer, &options("")).unwrap();
    let file = dataset.to_safetensors_bytes().unwrap();
    for end in 0..file.len() {
        assert!(TokenDataset::from_safetensors_bytes(&file[..end]).is_err(), "{end}");
    }
    for index in 0..file.len() {
        let mut damaged = file.clone();
        damaged[index] ^= 1 << (index % 8);
        if let Ok(read) = TokenDataset::from_safetensors_bytes(&damaged) {
            // Whatever it says, no panic.
            let _ = read.detokenize(&tokenizer);
        }
    }
    let error_with = |change: &dyn Fn(&mut TokenDataset)| {
        let mut changed = dataset.clone();
        change(&mut changed);
        let read = TokenDataset::from_safetensors_bytes(&changed.to_safetensors_bytes().unwrap());
        read.and_then(|read| read.detokenize(&tokenizer)).unwrap_err().to_string()
    };
    assert!(error_with(&|d| d.settings.chunk_bytes = 256).contains("chunks of 256"));
    assert!(error_with(&|d| d.ids.push(1)).contains("belong to no source"));
    assert!(error_with(&|d| d.settings.sources[2].n_ids = u64::MAX).contains("ends before"));
    assert!(error_with(&|d| d.settings.sources[0].n_bytes += 1).contains("corrupt"));
    assert!(error_with(&|d| d.settings.sources.clear()).contains("belong to no source"));
}

#[test]
fn other_safetensors_files_are_no_datasets() {
    use lmgc_tensors::safetensors::write_to;
    let error = |metadata: &[(&str, &str)]| {
        let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut file = Vec::new();
        write_to(&mut file, &[], &metadata).unwrap();
        TokenDataset::from_safetensors_bytes(&file).unwrap_err().to_string()
    };
    assert!(error(&[]).contains("lmgc.tokens is missing"));
    assert!(error(&[("lmgc.tokens", "2")]).contains("version"));
    assert!(error(&[("lmgc.tokens", "1")]).contains("lmgc.settings"));
    let missing = TokenDataset::read("no such file").unwrap_err();
    assert!(missing.to_string().contains("no such file"));
}
