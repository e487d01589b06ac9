//! A model hub on this machine, with what a real one does wrong on demand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::safetensors::counting_tensor;

/// The commit of everything that a [`HubServer`] has.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What a [`HubServer`] does beside serving files.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// Sends so many bytes of a large file for each request, then closes the connection.
    pub break_after: Option<usize>,
    /// Answers no more requests for large files once it has broken off so many; the connection is closed instead.
    pub give_up_after: Option<usize>,
    /// Sends whole files whatever range is asked for.
    pub ignore_ranges: bool,
    /// Flips a bit of this file on its way.
    pub damage: Option<String>,
    /// Lets nobody have files without this token.
    pub token: Option<String>,
    /// Lets not even the token's owner have files.
    pub not_accepted: bool,
    /// Says nothing of lengths and hashes in the list of files.
    pub bare_list: bool,
}

/// A request that a [`HubServer`] got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Method and path.
    pub what: String,
    /// Header `Range`.
    pub range: Option<String>,
    /// Header `Authorization`.
    pub authorization: Option<String>,
    /// Whether it came to the host that has the bytes of large files.
    pub at_storage: bool,
}

/// Serves one repository, `owner/tiny`, in the way of the Hugging Face hub: a list of files, addresses that resolve to small
/// files, and redirects to another host for safetensors files.
pub struct HubServer {
    shared: Arc<Shared>,
    hub: SocketAddr,
    storage: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    files: BTreeMap<String, Vec<u8>>,
    behaviour: Mutex<Behaviour>,
    seen: Mutex<Vec<Seen>>,
    n_broken: Mutex<usize>,
    stopped: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HubServer {
    /// Starts one with these files, on two free ports.
    pub fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listen = || TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (hub, storage) = (listen(), listen());
        let address = |listener: &TcpListener| listener.local_addr().expect("an address");
        let (hub_address, storage_address) = (address(&hub), address(&storage));
        let shared = Arc::new(Shared {
            files,
            behaviour: Mutex::default(),
            seen: Mutex::default(),
            n_broken: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let serve = |listener: TcpListener, at_storage: bool| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                for stream in listener.incoming() {
                    if shared.stopped.load(Ordering::SeqCst) {
                        break;
                    }
                    // A client that goes away is no matter.
                    let _ = stream.and_then(|stream| shared.answer(stream, at_storage, storage_address));
                }
            })
        };
        let threads = vec![serve(hub, false), serve(storage, true)];
        Self { shared, hub: hub_address, storage: storage_address, threads }
    }

    /// For `HF_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.hub)
    }

    /// Changes what it does from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *lock(&self.shared.n_broken) = 0;
        *lock(&self.shared.behaviour) = behaviour;
    }

    /// The requests since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *lock(&self.shared.seen))
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the listeners.
        let _ = (TcpStream::connect(self.hub), TcpStream::connect(self.storage));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_large(name: &str) -> bool {
    name.ends_with(".safetensors")
}

/// The hash that the hub knows a file by.
fn hash(name: &str, content: &[u8]) -> String {
    if is_large(name) {
        return hex(&Sha256::digest(content));
    }
    hex(&Sha1::new_with_prefix(format!("blob {}\0", content.len())).chain_update(content).finalize())
}

impl Shared {
    fn answer(&self, mut stream: TcpStream, at_storage: bool, storage: SocketAddr) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut headers = BTreeMap::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let seen = Seen {
            what: format!("{method} {target}"),
            range: headers.get("range").cloned(),
            authorization: headers.get("authorization").cloned(),
            at_storage,
        };
        lock(&self.seen).push(seen.clone());
        let behaviour = lock(&self.behaviour).clone();
        let mut error = |status: &str, code: &str| {
            write!(
                stream,
                "HTTP/1.1 {status}\r\nX-Error-Code: {code}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
        };
        let path = target.split('?').next().unwrap_or_default();
        if at_storage {
            let name = path.trim_start_matches("/bytes/");
            let Some(content) = self.files.get(name) else { return error("404 Not Found", "EntryNotFound") };
            return self.send(&mut stream, name, content, &seen, &behaviour);
        }
        if path == "/api/models/owner/tiny/revision/main" {
            let list = self.list(behaviour.bare_list);
            return write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{list}",
                list.len()
            );
        }
        if path.starts_with("/api/models/owner/tiny/") {
            return error("404 Not Found", "RevisionNotFound");
        }
        let Some(name) = path.strip_prefix(&format!("/owner/tiny/resolve/{COMMIT}/")) else {
            return error("401 Unauthorized", "RepoNotFound");
        };
        if let Some(token) = &behaviour.token {
            match &seen.authorization {
                None => return error("401 Unauthorized", "GatedRepo"),
                Some(given) if *given != format!("Bearer {token}") => return error("401 Unauthorized", ""),
                Some(_) if behaviour.not_accepted => return error("403 Forbidden", "GatedRepo"),
                Some(_) => {}
            }
        }
        let Some(content) = self.files.get(name) else { return error("404 Not Found", "EntryNotFound") };
        let tag = hash(name, content);
        if is_large(name) {
            return write!(
                stream,
                "HTTP/1.1 302 Found\r\nLocation: http://{storage}/bytes/{name}?signature=secret\r\nX-Repo-Commit: {COMMIT}\r\n\
                 X-Linked-Etag: \"{tag}\"\r\nX-Linked-Size: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                content.len()
            );
        }
        if method == "HEAD" {
            return write!(
                stream,
                "HTTP/1.1 200 OK\r\nETag: \"{tag}\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                content.len()
            );
        }
        self.send(&mut stream, name, content, &seen, &behaviour)
    }

    fn send(
        &self,
        stream: &mut TcpStream,
        name: &str,
        content: &[u8],
        seen: &Seen,
        behaviour: &Behaviour,
    ) -> std::io::Result<()> {
        let mut n_broken = lock(&self.n_broken);
        if is_large(name) && behaviour.give_up_after.is_some_and(|n| *n_broken >= n) {
            return Ok(());
        }
        let asked = seen.range.as_ref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let start: usize = asked.filter(|_| !behaviour.ignore_ranges).unwrap_or(0);
        let len = content.len();
        if start >= len && start > 0 {
            return write!(
                stream,
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        let mut body = content.to_vec();
        if behaviour.damage.as_deref() == Some(name) {
            body[len / 2] ^= 1;
        }
        let status = if start == 0 {
            "200 OK".to_owned()
        } else {
            format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{len}", len - 1)
        };
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", len - start)?;
        let end = match behaviour.break_after {
            Some(n) if is_large(name) && start + n < len => {
                *n_broken += 1;
                start + n
            }
            _ => len,
        };
        stream.write_all(&body[start..end])
    }

    fn list(&self, bare: bool) -> String {
        let files: Vec<String> = self
            .files
            .iter()
            .map(|(name, content)| {
                let (len, hash) = (content.len(), hash(name, content));
                if bare {
                    format!(r#"{{"rfilename": "{name}"}}"#)
                } else if is_large(name) {
                    format!(
                        r#"{{"rfilename": "{name}", "size": {len}, "blobId": "{COMMIT}", "lfs": {{"sha256": "{hash}", "size": {len}, "pointerSize": 135}}}}"#
                    )
                } else {
                    format!(r#"{{"rfilename": "{name}", "size": {len}, "blobId": "{hash}"}}"#)
                }
            })
            .collect();
        format!(
            r#"{{"id": "owner/tiny", "sha": "{COMMIT}", "tags": ["license:mit"], "siblings": [{}]}}"#,
            files.join(", ")
        )
    }
}

/// The files of a Hugging Face folder with zeros for weights: complete, but of no use. `n_shards` of 1 gives
/// `model.safetensors`, more give an index.
pub fn tiny_folder(n_shards: usize) -> BTreeMap<String, Vec<u8>> {
    let config = r#"{"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 96, "vocab_size": 300, "max_position_embeddings": 2048}"#;
    let mut files = BTreeMap::new();
    let mut add = |name: &str, content: Vec<u8>| files.insert(name.to_owned(), content);
    add("config.json", config.into());
    add("tokenizer.json", r#"{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}}"#.into());
    add("tokenizer_config.json", "{}".into());
    add("README.md", "# Tiny".into());
    add("pytorch_model.bin", b"a pickle".to_vec());
    if n_shards == 1 {
        add("model.safetensors", counting_tensor("w", 50_000));
        return files;
    }
    let shard = |i: usize| format!("model-{:05}-of-{n_shards:05}.safetensors", i + 1);
    let map: Vec<String> = (0..n_shards).map(|i| format!(r#""w{i}": "{}""#, shard(i))).collect();
    add("model.safetensors.index.json", format!(r#"{{"weight_map": {{{}}}}}"#, map.join(", ")).into());
    for i in 0..n_shards {
        add(&shard(i), counting_tensor(&format!("w{i}"), 1000 + i));
    }
    // As some repositories have: the same weights once more.
    add("consolidated.safetensors", counting_tensor("w", 3000));
    files
}
