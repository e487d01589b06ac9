//! Exit codes: 0 ok, 1 failure, 2 usage, 3 corrupt or mismatched input.

use std::process::ExitCode;

use serde_json::json;

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

/// Prints the error and gives its exit code.
pub(crate) fn report(error: &anyhow::Error, json: bool) -> ExitCode {
    let code = code(error);
    if json {
        println!("{}", json!({ "error": format!("{error:#}"), "exit_code": code }));
    }
    eprintln!("lmgc: {error:#}");
    ExitCode::from(code)
}

fn code(error: &anyhow::Error) -> u8 {
    use lmgc_tokens::Error as Tokens;
    for cause in error.chain() {
        if cause.is::<UsageError>() {
            return USAGE;
        }
        if cause.downcast_ref::<lmgc_codec::Error>().is_some_and(lmgc_codec::Error::is_bad_input) {
            return BAD_INPUT;
        }
        let bad_tokens = |error: &Tokens| {
            matches!(
                error,
                Tokens::CorruptTokens { .. }
                    | Tokens::CorruptSide(_)
                    | Tokens::Dataset(_)
                    | Tokens::TokenizerMismatch { .. }
                    | Tokens::Tensors(_)
            )
        };
        if cause.downcast_ref::<Tokens>().is_some_and(bad_tokens) {
            return BAD_INPUT;
        }
    }
    FAILURE
}
