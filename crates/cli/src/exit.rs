//! Exit codes: 0 ok, 1 failure, 2 usage, 3 corrupt or mismatched input.

use serde_json::json;

use crate::terminal::Channel;

const FAILURE: u8 = 1;
const USAGE: u8 = 2;
const BAD_INPUT: u8 = 3;

/// Arguments that contradict each other, which clap cannot see.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// A file to be converted that breaks the rules of its own format.
#[derive(Debug)]
pub(crate) struct BadTensorFile(pub(crate) lmgc_tensors::Error);

impl std::fmt::Display for BadTensorFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for BadTensorFile {}

/// A damaged file of which not everything could be restored.
#[derive(Debug)]
pub(crate) struct NotWhole;

impl std::fmt::Display for NotWhole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("what was restored is not the whole original: lost bytes are zeros in it")
    }
}

impl std::error::Error for NotWhole {}

/// How many of several inputs failed; each was reported at once.
#[derive(Debug)]
pub(crate) struct SomeFailed {
    n_inputs: usize,
    n_failed: usize,
    code: u8,
}

impl SomeFailed {
    /// None of so many inputs, so far.
    pub(crate) fn of(n_inputs: usize) -> Self {
        Self { n_inputs, n_failed: 0, code: 0 }
    }

    /// One more, with this exit code. Bad input outweighs other failures.
    pub(crate) fn add(&mut self, code: u8) {
        self.n_failed += 1;
        self.code = self.code.max(code);
    }

    /// An error if there was any.
    pub(crate) fn into_result(self) -> anyhow::Result<()> {
        if self.n_failed == 0 { Ok(()) } else { Err(self.into()) }
    }
}

impl std::fmt::Display for SomeFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} files failed", self.n_failed, self.n_inputs)
    }
}

impl std::error::Error for SomeFailed {}

/// Prints the error and gives its exit code.
pub(crate) fn report(error: &anyhow::Error, json: bool) -> u8 {
    let (code, message) = (code(error), message(error));
    if json {
        let mut record = json!({ "error": message, "exit_code": code });
        if let Some(lmgc_codec::Error::Damaged { damage, .. }) = error.downcast_ref() {
            record["damage"] = json!(damage);
        }
        Channel::Out.line(record);
    }
    eprintln!("lmgc: {message}");
    code
}

/// The error and its causes, without those that the message before them has quoted already.
fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !message.contains(&cause) {
            let separator = if message.is_empty() { "" } else { ": " };
            message = format!("{message}{separator}{cause}");
        }
    }
    message
}

fn code(error: &anyhow::Error) -> u8 {
    use lmgc_codec::Error as Codec;
    use lmgc_collect::Error as Collect;
    use lmgc_model::Error as Model;
    use lmgc_model::hub::HubError;
    use lmgc_sweep::Error as Sweep;
    use lmgc_tokens::Error as Tokens;
    for cause in error.chain() {
        let bad_flag = |error: &Codec| {
            matches!(
                error,
                Codec::WindowTooLong { .. }
                    | Codec::WindowTooShort { .. }
                    | Codec::ModelRequired
                    | Codec::ReferenceRequired { .. }
                    | Codec::ReferenceUnrelated
                    | Codec::OutputIsInput { .. }
            )
        };
        let bad_option = |error: &Collect| {
            matches!(error, Collect::InvalidOption { .. } | Collect::DataRequired { .. } | Collect::OtherRun { .. })
        };
        let bad_name = |error: &Model| {
            matches!(error, Model::BadName { .. } | Model::Hub(HubError::Repository { .. } | HubError::Revision { .. }))
        };
        if cause.is::<UsageError>()
            || cause.downcast_ref().is_some_and(bad_name)
            || cause.downcast_ref::<Codec>().is_some_and(bad_flag)
            || cause.downcast_ref().is_some_and(bad_option)
            || matches!(cause.downcast_ref(), Some(Tokens::TooFewSources { .. }))
            || matches!(cause.downcast_ref(), Some(Sweep::Config { .. }))
        {
            return USAGE;
        }
        if let Some(SomeFailed { code, .. }) = cause.downcast_ref() {
            return *code;
        }
        if cause.is::<BadTensorFile>()
            || cause.is::<NotWhole>()
            || matches!(cause.downcast_ref(), Some(Sweep::Results { .. }))
            || matches!(cause.downcast_ref(), Some(lmgc_report::ResultsError::Malformed { .. }))
            || cause.downcast_ref::<Codec>().is_some_and(Codec::is_bad_input)
            || matches!(
                cause.downcast_ref(),
                Some(Collect::BadData { .. } | Collect::BrokenState { .. } | Collect::ReadTensors { .. })
            )
        {
            return BAD_INPUT;
        }
        let bad_tokens = |error: &Tokens| {
            matches!(
                error,
                Tokens::CorruptTokens { .. }
                    | Tokens::CorruptSide(_)
                    | Tokens::Dataset(_)
                    | Tokens::TokenizerMismatch { .. }
            ) || matches!(error, Tokens::Tensors(error) if !matches!(error, lmgc_tensors::Error::Io(_)))
        };
        if cause.downcast_ref::<Tokens>().is_some_and(bad_tokens) {
            return BAD_INPUT;
        }
    }
    FAILURE
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_are_quoted_once() {
        let io = std::io::Error::other("the disk is gone");
        let error = lmgc_codec::Error::File { action: "read", path: "x".into(), source: io };
        let error = Err::<(), _>(error).context("while trying").unwrap_err();
        assert_eq!(message(&error), "while trying: cannot read x: the disk is gone");
        assert_eq!(code(&error), FAILURE);
    }
}
