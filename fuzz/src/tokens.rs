//! Tokenizers, token streams and token data sets.

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use lmgc_serialize::{BytesPerGroup, Format, Serializer};
use lmgc_tensors::gguf::GgufFile;
use lmgc_tokens::dataset::TokenDataset;
use lmgc_tokens::stream::{detokenize_bytes, tokenize_bytes};
use lmgc_tokens::{Error, Tokenizer};

/// Bytes that a stream may stand for here.
const MAX_BYTES: u64 = 4096;

const BYTE_LEVEL: &[u8] = include_bytes!("../../testdata/tokens/byte_level/tokenizer.json");
const SENTENCE_PIECE: &[u8] = include_bytes!("../../testdata/tokens/sentence_piece/tokenizer.json");

/// A `tokenizer.json`, and after a zero byte perhaps a `tokenizer_config.json`.
pub fn tokenizer_json(data: &[u8]) {
    let (definition, config) = match data.iter().position(|&byte| byte == 0) {
        Some(at) => (&data[..at], Some(&data[at + 1..])),
        None => (data, None),
    };
    if let Ok(tokenizer) = load(definition, config) {
        use_tokenizer(&tokenizer);
    }
}

/// A GGUF file with a vocabulary.
pub fn gguf_vocabulary(data: &[u8]) {
    if let Ok(file) = GgufFile::parse(&mut Cursor::new(data))
        && let Ok(tokenizer) = Tokenizer::from_gguf(&file)
    {
        use_tokenizer(&tokenizer);
    }
}

/// A byte that chooses the tokenizer (bit 0), the text format and the direction (bit 7). Decoding: a byte that chooses the group,
/// the number of bytes and of ids (u16 each), the ids (u16 each), and the rest is side information. Encoding: a byte for the
/// group, and the rest are bytes to tokenise.
pub fn token_stream(data: &[u8]) {
    let Some((&[choice, group], rest)) = data.split_first_chunk() else { return };
    let tokenizer = small_tokenizer(choice & 1 == 1);
    let format = Format::ALL[usize::from(choice >> 1 & 0x3f) % Format::ALL.len()];
    let serializer = Serializer::new(format, BytesPerGroup::ALL[usize::from(group) % BytesPerGroup::ALL.len()]);
    if choice >= 0x80 {
        round_trip(tokenizer, &serializer, rest);
        return;
    }
    let Some((&[n_bytes_0, n_bytes_1, n_ids_0, n_ids_1], rest)) = rest.split_first_chunk() else { return };
    let n_bytes = u64::from(u16::from_le_bytes([n_bytes_0, n_bytes_1])) % MAX_BYTES;
    let n_ids = usize::from(u16::from_le_bytes([n_ids_0, n_ids_1])).min(rest.len() / 2);
    let (ids, side) = rest.split_at(2 * n_ids);
    let ids: Vec<u32> = ids.as_chunks().0.iter().map(|&id| u16::from_le_bytes(id).into()).collect();
    match detokenize_bytes(tokenizer, &serializer, &ids, side, n_bytes) {
        Ok(bytes) => assert_eq!(bytes.len() as u64, n_bytes),
        Err(error) => assert!(is_corrupt(&error), "{error}"),
    }
}

/// A token data set.
pub fn token_dataset(data: &[u8]) {
    let Ok(dataset) = TokenDataset::from_safetensors_bytes(data) else { return };
    let again = dataset.to_safetensors_bytes().expect("a data set that was read");
    assert!(TokenDataset::from_safetensors_bytes(&again).is_ok_and(|again| again == dataset));
    if dataset.settings.sources.iter().any(|source| source.n_bytes > MAX_BYTES) {
        return;
    }
    for is_sentence_piece in [false, true] {
        match dataset.detokenize(small_tokenizer(is_sentence_piece)) {
            Ok(outputs) => assert_eq!(outputs.len(), dataset.settings.sources.len()),
            Err(Error::TokenizerMismatch { .. } | Error::Dataset(_)) => {}
            Err(error) => assert!(is_corrupt(&error), "{error}"),
        }
    }
}

fn is_corrupt(error: &Error) -> bool {
    matches!(error, Error::CorruptTokens { .. } | Error::CorruptSide(_))
}

/// Whatever the vocabulary is, texts come back exactly.
fn use_tokenizer(tokenizer: &Tokenizer) {
    let bytes: Vec<u8> = (0..=255).chain([0, 0, 32, 32, 10]).collect();
    for (index, format) in Format::ALL.into_iter().enumerate() {
        let group = BytesPerGroup::ALL[index % BytesPerGroup::ALL.len()];
        let serializer = Serializer::new(format, group);
        let alphabet = tokenizer.legal_alphabet(&serializer);
        assert!(alphabet.is_sorted() && alphabet.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
        round_trip(tokenizer, &serializer, &bytes);
    }
    let _ = (tokenizer.table_hash(), tokenizer.start_token());
}

fn round_trip(tokenizer: &Tokenizer, serializer: &Serializer, bytes: &[u8]) {
    match tokenize_bytes(tokenizer, serializer, bytes) {
        Ok(stream) => {
            let back = detokenize_bytes(tokenizer, serializer, &stream.ids, &stream.side, bytes.len() as u64);
            assert!(back.is_ok_and(|back| back == bytes));
        }
        Err(Error::Tokenize(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

fn small_tokenizer(is_sentence_piece: bool) -> &'static Tokenizer {
    static TOKENIZERS: OnceLock<[Tokenizer; 2]> = OnceLock::new();
    let tokenizers = TOKENIZERS.get_or_init(|| {
        [BYTE_LEVEL, SENTENCE_PIECE].map(|definition| load(definition, None).expect("a tokenizer of testdata"))
    });
    &tokenizers[usize::from(is_sentence_piece)]
}

/// Tokenizers are read from files only.
fn load(definition: &[u8], config: Option<&[u8]>) -> lmgc_tokens::Result<Tokenizer> {
    static FOLDER: OnceLock<Mutex<tempfile::TempDir>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| Mutex::new(tempfile::tempdir().expect("a folder for temporary files")));
    let folder = folder.lock().unwrap_or_else(PoisonError::into_inner);
    let path: PathBuf = folder.path().join("tokenizer.json");
    let config_path = path.with_file_name("tokenizer_config.json");
    fs::write(&path, definition).expect("a temporary file");
    match config {
        Some(config) => fs::write(&config_path, config).expect("a temporary file"),
        // It is there if the input before had one.
        None => drop(fs::remove_file(&config_path)),
    }
    Tokenizer::from_tokenizer_json(&path)
}
