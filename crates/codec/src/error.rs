use std::path::PathBuf;

use lmgc_container::Error as ContainerError;

/// What can go wrong in compressing or decompressing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened, read, written or renamed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Reading or writing a stream failed.
    #[error("reading or writing failed: {0}")]
    Io(#[from] std::io::Error),
    /// The output is there already.
    #[error("{} exists already: give another name with -o, or -f to replace it", path.display())]
    OutputExists {
        /// The output.
        path: PathBuf,
    },
    /// The output is the input.
    #[error("{} is the input itself, and inputs are kept: give another name with -o", path.display())]
    OutputIsInput {
        /// The file.
        path: PathBuf,
    },
    /// Another process is making the same output.
    #[error("another lmgc is compressing to {} at this moment: wait for it, or give another name with -o", path.display())]
    OutputBusy {
        /// The output.
        path: PathBuf,
    },
    /// A file lies where an interrupted compression would have left its progress.
    #[error(
        "{} is in the way: lmgc keeps its progress under this name, and this is no such file; move it away, or replace it \
         with --restart",
        path.display()
    )]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// The name of an input does not say what to call the output.
    #[error("{} does not end in .lmgc: name the output with -o", path.display())]
    NoOutputName {
        /// The input.
        path: PathBuf,
    },
    /// The container is damaged, or not one.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A tensor file could not be read.
    #[error(transparent)]
    Tensors(#[from] lmgc_tensors::Error),
    /// Loading or running the model failed.
    #[error(transparent)]
    Model(#[from] lmgc_model::Error),
    /// Tokenising failed.
    #[error(transparent)]
    Tokens(#[from] lmgc_tokens::Error),
    /// A codec that was left out when this program was built.
    #[error(
        "this lmgc was built without the codec {codec}: build it with the cargo feature '{codec}', or take another codec"
    )]
    CodecNotBuilt {
        /// The codec.
        codec: crate::CodecId,
    },
    /// A codec of a later version.
    #[error("unsupported codec number {number}: the file was written by a newer lmgc; use that")]
    UnknownCodec {
        /// The number in the file.
        number: u8,
    },
    /// A codec that is not made for the bytes at hand.
    #[error("codec {codec} refuses: {reason}; take another codec for this")]
    CodecRefuses {
        /// The codec.
        codec: crate::CodecId,
        /// What it cannot code.
        reason: String,
    },
    /// The file needs another model than the one at hand.
    #[error(
        "the file was compressed with model '{name}' of fingerprint {expected}, but {found_name} has {found}: \
         give the model it was compressed with, by --model"
    )]
    ModelMismatch {
        /// The model's name in the file.
        name: String,
        /// Its fingerprint in the file, shortened.
        expected: String,
        /// The model given.
        found_name: String,
        /// Its fingerprint, shortened.
        found: String,
    },
    /// The file was written under numeric rules that this program does not implement.
    #[error(
        "the file was compressed under numerics revision {found}, this program implements {supported}: \
         use the version of lmgc that wrote it"
    )]
    NumericsRevision {
        /// The file's revision.
        found: u32,
        /// The program's.
        supported: u32,
    },
    /// A language model is needed but none was given.
    #[error("the codec needs a language model: name one with --model, such as --model smollm2-135m")]
    ModelRequired,
    /// An array's shape does not go with its values.
    #[error("shape {shape:?} is not that of {n_values} values")]
    ShapeMismatch {
        /// The shape.
        shape: Vec<u64>,
        /// Number of values.
        n_values: usize,
    },
    /// A file that holds something else than the array that is wanted.
    #[error("an array of {expected} is wanted, but this is {found}")]
    NotThisArray {
        /// The wanted type.
        expected: lmgc_tensors::Dtype,
        /// What there is.
        found: String,
    },
    /// The file was coded against another one, which was not given.
    #[error("the file was compressed against a reference with BLAKE3 hash {expected}: name that file with --reference")]
    ReferenceRequired {
        /// The reference's hash, in hexadecimal.
        expected: String,
    },
    /// The reference is another file than the one that was compressed against.
    #[error(
        "the file was compressed against a reference with BLAKE3 hash {expected}, but the one given has {found}: \
         name the right file with --reference"
    )]
    ReferenceMismatch {
        /// The hash in the file, in hexadecimal.
        expected: String,
        /// The hash of the reference given.
        found: String,
    },
    /// The reference has nothing to refer to.
    #[error(
        "no tensor has a namesake of the same type and shape in the reference: name an earlier version of the same file \
         with --reference, or leave it out"
    )]
    ReferenceUnrelated,
    /// The reference was changed while it was read.
    #[error("the reference got shorter while it was read: leave it alone until the job is done")]
    ReferenceChanged,
    /// The window does not fit the model.
    #[error("a window of {window} tokens is beyond the {limit} of model '{model}': use --window {limit} or less")]
    WindowTooLong {
        /// Tokens asked for.
        window: usize,
        /// Tokens that the model can attend to.
        limit: usize,
        /// The model's name.
        model: String,
    },
    /// The window is too short to hold anything.
    #[error("a window of {window} tokens is too short: use --window {min} or more")]
    WindowTooShort {
        /// Tokens asked for.
        window: usize,
        /// The shortest.
        min: usize,
    },
    /// Settings of the language-model codec that do not go together.
    #[error("{problem}")]
    LmSettings {
        /// Which, and what to do.
        problem: String,
    },
    /// The model has too few tokens for a format.
    #[error("model '{model}' has too few tokens for {format}: use a text format, or another model")]
    VocabularyTooSmall {
        /// The model's name.
        model: String,
        /// The format.
        format: crate::lm::LmFormat,
    },
    /// The model defines no token to start a window with.
    #[error("model '{model}' defines no start token (BOS): windows cannot begin; use another model")]
    NoStartToken {
        /// The model's name.
        model: String,
    },
    /// A token data set was made with another vocabulary than the model's.
    #[error(
        "the token data set was made with another vocabulary than that of model '{model}': tokenize again with \
         --model {model}, or give the model it was made with"
    )]
    VocabularyMismatch {
        /// The model's name.
        model: String,
    },
    /// A name that is not among the known ones.
    #[error("unknown {what} '{name}': use one of {known}")]
    UnknownName {
        /// What it should name.
        what: &'static str,
        /// What was given.
        name: String,
        /// The known names, separated by commas.
        known: String,
    },
    /// A level that a codec does not have.
    #[error("codec {codec} has no level '{level}': {known}")]
    NoSuchLevel {
        /// The codec.
        codec: crate::CodecName,
        /// The level asked for.
        level: String,
        /// Which it has, as half a sentence.
        known: String,
    },
    /// A block's payload contradicts itself or its settings, though its checksum is right.
    #[error("corrupt block: {what}; the file is damaged or was written by a faulty program")]
    CorruptBlock {
        /// What is wrong.
        what: String,
    },
    /// What was decoded is not what was encoded.
    #[error(
        "verification failed at byte {offset} of the original: the compressed file does not decode to its input; nothing \
         was kept. This is a defect of lmgc: please report it with the input"
    )]
    VerificationFailed {
        /// First differing byte.
        offset: u64,
    },
    /// The decoded file's hash is not the one in the file.
    #[error("the decoded bytes do not have the hash that the file records: the file is damaged; nothing was kept")]
    HashMismatch,
    /// A decoded tensor's hash is not the one in the file.
    #[error("the decoded bytes of tensor '{name}' do not have the hash that the file records: the file is damaged")]
    TensorHashMismatch {
        /// The tensor.
        name: String,
    },
    /// A file that does not decode, and what could be restored of it.
    #[error("{source}")]
    Damaged {
        /// The first fault.
        source: Box<Error>,
        /// What is lost.
        damage: Box<crate::SalvageReport>,
    },
    /// The input changed while it was being read.
    #[error("the input changed while it was compressed: try again once nothing writes to it")]
    InputChanged,
    /// No tensor of this name is in the file.
    #[error("there is no tensor '{name}' in the file: `lmgc inspect` lists its tensors")]
    NoSuchTensor {
        /// The name asked for.
        name: String,
    },
    /// Threads could not be started.
    #[error("cannot start threads: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

impl Error {
    /// A block whose content contradicts itself.
    pub(crate) fn corrupt_block(what: impl Into<String>) -> Self {
        Self::CorruptBlock { what: what.into() }
    }

    /// Whether blocks that were coded before this error are as good as ever: the fault lies with a disk, a name or the
    /// system's resources, not with the input or the blocks.
    pub(crate) fn leaves_coded_blocks_good(&self) -> bool {
        matches!(
            self,
            Self::File { .. }
                | Self::Io(_)
                | Self::OutputExists { .. }
                | Self::Threads(_)
                | Self::Container(ContainerError::Io(_))
                | Self::Model(lmgc_model::Error::Io { .. })
        )
    }

    /// Whether the fault lies in the compressed file, or in a model that does not match it (exit code 3).
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::ModelMismatch { .. }
            | Self::NumericsRevision { .. }
            | Self::ReferenceMismatch { .. }
            | Self::VocabularyMismatch { .. }
            | Self::Damaged { .. } => true,
            Self::Container(error) => error.is_bad_input(),
            error => error.is_damage(),
        }
    }

    /// Whether the fault lies in the bytes of a `.lmgc` file of this version or an earlier one, so that some of it may be
    /// whole.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Container(error) => {
                error.is_bad_input()
                    && !matches!(error, ContainerError::NotLmgc | ContainerError::UnsupportedVersion { .. })
            }
            Self::UnknownCodec { .. }
            | Self::CorruptBlock { .. }
            | Self::HashMismatch
            | Self::TensorHashMismatch { .. } => true,
            _ => false,
        }
    }
}

impl From<lmgc_coder::Error> for Error {
    fn from(error: lmgc_coder::Error) -> Self {
        Self::corrupt_block(error.to_string())
    }
}
