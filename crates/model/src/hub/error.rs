use std::path::PathBuf;

/// What can go wrong between here and the hub. No message holds the token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// `HF_ENDPOINT` is no address.
    #[error("HF_ENDPOINT must be an address such as https://huggingface.co, without user name, query or fragment")]
    Endpoint,
    /// `HF_TOKEN` cannot be sent.
    #[error("HF_TOKEN holds characters that no token has: set it again, without quotes or line breaks in it")]
    Token,
    /// Not the name of a repository.
    #[error(
        "'{name}' is no known model and no repository: `lmgc model list` shows the known ones; a repository is OWNER/NAME"
    )]
    Repository {
        /// What was given, escaped.
        name: String,
    },
    /// Not a revision.
    #[error("'{revision}' cannot be a revision: give a branch, a tag or a commit")]
    Revision {
        /// What was given, escaped.
        revision: String,
    },
    /// The hub could not be reached.
    #[error(
        "cannot reach the hub at {endpoint}: {problem}. Without a network, get the model's files some other way and run \
         `lmgc model import PATH`"
    )]
    Unreachable {
        /// Address of the hub, or of the host that it named.
        endpoint: String,
        /// What happened.
        problem: String,
    },
    /// The hub wants an accepted licence or another account.
    #[error("the hub refuses access to {repository} (status {status}): {}", advice(endpoint, repository, *status, *with_token))]
    Denied {
        /// Address of the hub.
        endpoint: String,
        /// The repository.
        repository: String,
        /// HTTP status: 401 or 403.
        status: u16,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// No such repository, revision or file.
    #[error("the hub at {endpoint} has no {what}, or it is private: check the spelling; a private one needs HF_TOKEN")]
    NotFound {
        /// Address of the hub.
        endpoint: String,
        /// What was asked for.
        what: String,
    },
    /// Another answer than expected.
    #[error("the hub answers status {status} for {what}: {}", if *status == 429 {
        "too many requests; try again later, or set HF_TOKEN for a higher limit"
    } else {
        "try again later"
    })]
    Status {
        /// HTTP status.
        status: u16,
        /// What was asked for.
        what: String,
    },
    /// An answer that cannot be understood.
    #[error("the hub's answer for {what} is not as it should be: {problem}")]
    Answer {
        /// What was asked for.
        what: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// The repository is there but holds no model that can be used.
    #[error("repository {repository} cannot be used: {problem}")]
    Unusable {
        /// The repository.
        repository: String,
        /// What is missing, and what to do.
        problem: String,
    },
    /// The connection broke, again and again.
    #[error(
        "the download of {file} broke off at {have} of {size} bytes: {problem}. Run the same command again to go on from there"
    )]
    Interrupted {
        /// The file.
        file: String,
        /// Bytes that are here.
        have: u64,
        /// Bytes that the file has.
        size: u64,
        /// What happened last.
        problem: String,
    },
    /// The file that came is another one than the hub's list says.
    #[error("{file} arrived damaged: {problem}. It was deleted; run the same command again to fetch it anew")]
    Damaged {
        /// The file.
        file: String,
        /// Expected and found.
        problem: String,
    },
    /// Another process is fetching this model.
    #[error("another process is fetching this model ({} is locked): wait for it", path.display())]
    Busy {
        /// The lock's file.
        path: PathBuf,
    },
}

fn advice(endpoint: &str, repository: &str, status: u16, with_token: bool) -> String {
    let page = format!("{endpoint}/{repository}");
    match (with_token, status) {
        (false, _) => format!(
            "it is gated or private. Accept its licence at {page}, make a token at {endpoint}/settings/tokens and set HF_TOKEN"
        ),
        (true, 401) => format!(
            "the token in HF_TOKEN is not valid there. Make one at {endpoint}/settings/tokens, and accept the licence at {page}"
        ),
        (true, _) => format!(
            "the account of the token in HF_TOKEN has not accepted its licence, or the token may not read gated repositories. \
             Accept the licence at {page}, and look at the token's permissions at {endpoint}/settings/tokens"
        ),
    }
}
