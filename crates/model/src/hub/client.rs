//! Requests to the hub, and what its answers mean.

use std::path::PathBuf;
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;
use ureq::http::{HeaderMap, Uri, header};
use ureq::{Agent, Body};

use super::{HubError, is_repository};
use crate::store::is_name;

pub(super) type Response = ureq::http::Response<Body>;

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
const MAX_REDIRECTS: usize = 6;
const MAX_LISTING_BYTES: u64 = 32 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may be silent.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A hub, and the account that it is asked as.
pub struct Hub {
    endpoint: String,
    token: Option<String>,
    /// Knows the hub's addresses.
    api: Api,
    /// Follows no redirect by itself, so that the token goes to the hub alone.
    agent: Agent,
}

/// A file's hash, as the hub keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    /// Of large files (LFS, Xet), in lower-case hexadecimal.
    Sha256(String),
    /// Of small files: git's hash of a blob, SHA-1 over `blob <length>\0` and the content.
    GitBlob(String),
}

impl Hash {
    /// By its length; `None` for anything else.
    fn parse(text: &str) -> Option<Self> {
        if !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        match text.len() {
            64 => Some(Self::Sha256(text.to_owned())),
            40 => Some(Self::GitBlob(text.to_owned())),
            _ => None,
        }
    }

    pub(super) fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::GitBlob(hex) => hex,
        }
    }
}

/// What a file must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) bytes: u64,
    pub(super) hash: Hash,
}

/// A file in the top folder of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteFile {
    pub(super) name: String,
    /// `None` where the list does not say.
    pub(super) expected: Option<Expected>,
}

/// A repository at one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) licence: Option<String>,
    pub(super) files: Vec<RemoteFile>,
}

/// `/api/models/OWNER/NAME/revision/REVISION?blobs=true`.
#[derive(Deserialize)]
struct Answer {
    sha: String,
    siblings: Vec<Sibling>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

impl Sibling {
    fn expected(&self) -> Option<Expected> {
        match &self.lfs {
            Some(lfs) => {
                let hash = lfs.sha256.as_deref().and_then(Hash::parse)?;
                Some(Expected { bytes: lfs.size.or(self.size)?, hash })
            }
            None => Some(Expected { bytes: self.size?, hash: self.blob_id.as_deref().and_then(Hash::parse)? }),
        }
    }
}

impl Listing {
    fn parse(text: &[u8]) -> Result<Self, String> {
        let answer: Answer = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if !matches!(Hash::parse(&answer.sha), Some(Hash::GitBlob(_))) {
            return Err("its commit is no hash".to_owned());
        }
        // Names in folders, and names that could not stand here, are not for us.
        let files = answer.siblings.iter().filter(|file| is_name(&file.rfilename));
        Ok(Self {
            files: files.map(|file| RemoteFile { name: file.rfilename.clone(), expected: file.expected() }).collect(),
            commit: answer.sha,
            licence: answer.tags.iter().find_map(|tag| tag.strip_prefix("license:")).map(str::to_owned),
        })
    }
}

impl Hub {
    /// The hub of `HF_ENDPOINT`, <https://huggingface.co> where that is not set, with the token of `HF_TOKEN` if there is one.
    ///
    /// # Errors
    /// [`HubError::Endpoint`] or [`HubError::Token`] where these cannot be used.
    pub fn from_env() -> Result<Self, HubError> {
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        Self::new(var("HF_ENDPOINT").as_deref().unwrap_or(DEFAULT_ENDPOINT), var("HF_TOKEN").as_deref())
    }

    /// A hub at this address.
    ///
    /// # Errors
    /// As [`Hub::from_env`].
    pub fn new(endpoint: &str, token: Option<&str>) -> Result<Self, HubError> {
        let endpoint = endpoint.trim().trim_end_matches('/').to_owned();
        let uri: Uri = endpoint.parse().map_err(|_| HubError::Endpoint)?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_web || uri.host().is_none_or(str::is_empty) || endpoint.contains(['@', '?', '#']) {
            return Err(HubError::Endpoint);
        }
        let token = token.map(|token| token.trim().to_owned());
        if token.as_ref().is_some_and(|token| token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(HubError::Token);
        }
        // The cache is never used, and its place never written; the default one needs a home directory.
        let api = ApiBuilder::from_cache(Cache::new(PathBuf::from("unused/hub")))
            .with_endpoint(endpoint.clone())
            .with_token(token.clone())
            .with_user_agent("lmgc", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|_| HubError::Endpoint)?;
        let agent = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            // Ranges and hashes count the file's own bytes.
            .accept_encoding("identity")
            .user_agent(concat!("lmgc/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .build()
            .into();
        Ok(Self { endpoint, token, api, agent })
    }

    /// The files in the top folder of a repository.
    pub(super) fn list(&self, repository: &str, revision: &str) -> Result<Listing, HubError> {
        if !is_repository(repository) {
            return Err(HubError::Repository { name: repository.escape_debug().to_string() });
        }
        if !revision.split('/').all(is_name) {
            return Err(HubError::Revision { revision: revision.escape_debug().to_string() });
        }
        let what = format!("repository {repository} at revision {revision}");
        let request = self.api.repo(repo(repository, revision)).info_request().query("blobs", "true");
        let request = request
            .config()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_per_read(Some(READ_TIMEOUT))
            .build();
        let mut response = request.call().map_err(|error| self.unreachable(&self.endpoint, &error))?;
        self.check(&response, repository, &what)?;
        let text = response.body_mut().with_config().limit(MAX_LISTING_BYTES).read_to_vec();
        let text = text.map_err(|error| self.unreachable(&self.endpoint, &error))?;
        Listing::parse(&text).map_err(|problem| HubError::Answer { what, problem: self.scrub(&problem) })
    }

    /// What a file must be, from the list or else from the hub's headers for it.
    pub(super) fn expected(&self, repository: &str, commit: &str, file: &RemoteFile) -> Result<Expected, HubError> {
        if let Some(expected) = &file.expected {
            return Ok(expected.clone());
        }
        let what = format!("file {} of {repository}", file.name);
        let mut request = self.agent.head(self.address(repository, commit, &file.name));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = request.call().map_err(|error| self.unreachable(&self.endpoint, &error))?;
        // A redirect to where the bytes are has the headers that matter.
        if !response.status().is_redirection() {
            self.check(&response, repository, &what)?;
        }
        expected_of(response.headers()).ok_or_else(|| HubError::Answer {
            what,
            problem: "it gives no length and hash to check the file by".to_owned(),
        })
    }

    /// A file's bytes from `start` on. The answer's status is 200, 206 or 416.
    pub(super) fn open(&self, repository: &str, commit: &str, file: &str, start: u64) -> Result<Response, HubError> {
        let what = format!("file {file} of {repository}");
        let home = origin(&self.endpoint);
        let mut address = self.address(repository, commit, file);
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.get(&address);
            if let Some(token) = self.token.as_ref().filter(|_| origin(&address) == home) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            if start > 0 {
                request = request.header(header::RANGE, format!("bytes={start}-"));
            }
            let host = origin(&address).unwrap_or_default();
            let response = request.call().map_err(|error| self.unreachable(&host, &error))?;
            if !response.status().is_redirection() {
                if response.status().as_u16() != 416 {
                    self.check(&response, repository, &what)?;
                }
                return Ok(response);
            }
            address = redirect(&address, response.headers()).ok_or_else(|| HubError::Answer {
                what: what.clone(),
                problem: "it redirects to no address that can be used".to_owned(),
            })?;
        }
        Err(HubError::Answer { what, problem: format!("it redirects more than {MAX_REDIRECTS} times") })
    }

    fn address(&self, repository: &str, commit: &str, file: &str) -> String {
        self.api.repo(repo(repository, commit)).url(file)
    }

    /// An error for every status but success.
    fn check(&self, response: &Response, repository: &str, what: &str) -> Result<(), HubError> {
        let status = response.status().as_u16();
        let code = response.headers().get("x-error-code").and_then(|code| code.to_str().ok());
        let endpoint = self.endpoint.clone();
        match (status, code) {
            (200 | 206, _) => Ok(()),
            // Without a token the hub does not tell private from missing.
            (404, _) | (401, Some("RepoNotFound")) => Err(HubError::NotFound { endpoint, what: what.to_owned() }),
            (401 | 403, _) => Err(HubError::Denied {
                endpoint,
                repository: repository.to_owned(),
                status,
                with_token: self.token.is_some(),
            }),
            _ => Err(HubError::Status { status, what: what.to_owned() }),
        }
    }

    fn unreachable(&self, endpoint: &str, error: &ureq::Error) -> HubError {
        HubError::Unreachable { endpoint: endpoint.to_owned(), problem: self.scrub(&error.to_string()) }
    }

    /// Text that others made, without the token and on one line.
    pub(super) fn scrub(&self, text: &str) -> String {
        let text = match &self.token {
            Some(token) => text.replace(token.as_str(), "***"),
            None => text.to_owned(),
        };
        text.escape_debug().to_string()
    }
}

fn repo(repository: &str, revision: &str) -> Repo {
    Repo::with_revision(repository.to_owned(), RepoType::Model, revision.to_owned())
}

/// Scheme, host and port of an address.
fn origin(address: &str) -> Option<String> {
    let uri: Uri = address.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}

/// Where a redirect leads: an address of its own, or a path on the same host. Never from https to http.
fn redirect(from: &str, headers: &HeaderMap) -> Option<String> {
    let location = headers.get(header::LOCATION)?.to_str().ok()?;
    if location.starts_with('/') && !location.starts_with("//") {
        return Some(format!("{}{location}", origin(from)?));
    }
    let is_safe = location.starts_with("https://") || (location.starts_with("http://") && from.starts_with("http://"));
    (is_safe && origin(location).is_some()).then(|| location.to_owned())
}

/// The hub's headers for a file: those of the stored file where it lies elsewhere, else those of the answer.
fn expected_of(headers: &HeaderMap) -> Option<Expected> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let either = |linked: &str, own: &str| text(linked).or_else(|| text(own));
    let tag = either("x-linked-etag", "etag")?;
    let hash = Hash::parse(tag.trim_start_matches("W/").trim_matches('"'))?;
    Some(Expected { bytes: either("x-linked-size", "content-length")?.parse().ok()?, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn redirects_stay_on_the_web_and_do_not_lose_encryption() {
        let to = |from: &str, location: &str| redirect(from, &headers(&[("location", location)]));
        assert_eq!(to("https://a/x?y", "/z").as_deref(), Some("https://a/z"));
        assert_eq!(to("https://a/x", "https://b:8/z").as_deref(), Some("https://b:8/z"));
        assert_eq!(to("http://a/x", "http://b/z").as_deref(), Some("http://b/z"));
        for bad in ["http://b/z", "file:///etc/passwd", "//b/z", "z", "", "https://"] {
            assert_eq!(to("https://a/x", bad), None, "{bad}");
        }
        assert_eq!(redirect("https://a/x", &HeaderMap::new()), None);
    }

    #[test]
    fn hashes_come_from_either_tag() {
        let (sha256, sha1) = ("a".repeat(64), "b".repeat(40));
        let linked = [("etag", "\"x\""), ("x-linked-etag", &format!("\"{sha256}\"")), ("x-linked-size", "7")];
        assert_eq!(expected_of(&headers(&linked)), Some(Expected { bytes: 7, hash: Hash::Sha256(sha256) }));
        let own = [("etag", &*format!("W/\"{sha1}\"")), ("content-length", "3")];
        assert_eq!(expected_of(&headers(&own)), Some(Expected { bytes: 3, hash: Hash::GitBlob(sha1) }));
        for bad in [&[("etag", "\"abc\""), ("content-length", "3")][..], &[("content-length", "3")], &own[..1]] {
            assert_eq!(expected_of(&headers(bad)), None);
        }
    }

    #[test]
    fn listings_are_checked() {
        let commit = "c".repeat(40);
        let text = format!(
            r#"{{"sha": "{commit}", "tags": ["x", "license:mit"], "siblings": [
                {{"rfilename": "a", "size": 3, "blobId": "{commit}"}},
                {{"rfilename": "../b", "size": 3, "blobId": "{commit}"}}, {{"rfilename": "d/e"}},
                {{"rfilename": "f", "size": 9, "blobId": "{commit}", "lfs": {{"sha256": "short", "size": 9}}}}]}}"#
        );
        let listing = Listing::parse(text.as_bytes()).unwrap();
        let names: Vec<&str> = listing.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!((names, listing.licence.as_deref()), (vec!["a", "f"], Some("mit")));
        assert_eq!(listing.files[1].expected, None, "a pointer's hash is not the file's");
        for bad in ["", "{}", r#"{"sha": "main", "siblings": []}"#, r#"{"sha": 3, "siblings": []}"#, "<html>"] {
            assert!(Listing::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn endpoints_and_tokens_are_checked() {
        for good in ["https://huggingface.co", "http://127.0.0.1:8080/", "https://mirror.example/hub"] {
            assert!(Hub::new(good, Some(" hf_abc\n")).is_ok(), "{good}");
        }
        for bad in ["", "huggingface.co", "ftp://a", "https://user:secret@a", "https://a?b", "https://"] {
            let error = Hub::new(bad, None).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("HF_ENDPOINT") && !error.contains("secret"), "{bad}: {error}");
        }
        let error = Hub::new(DEFAULT_ENDPOINT, Some("hf_a\nb")).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("HF_TOKEN") && !error.contains("hf_a"), "{error}");
        let hub = Hub::new(DEFAULT_ENDPOINT, Some("hf_secret")).unwrap();
        assert_eq!(hub.scrub("said hf_secret\u{1b}"), "said ***\\u{1b}");
    }
}
