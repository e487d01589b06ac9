//! Pulling from a hub on this machine that misbehaves, and importing.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lmgc_model::hub::{Hub, HubError, Request, pull};
use lmgc_model::{Error, Kind, ModelInfo, import, registry};
use lmgc_testkit::{Behaviour, COMMIT, HubServer, TinyModel, tiny_folder};
use tempfile::TempDir;

const TOKEN: &str = "hf_SecretSecret";
const WEIGHTS: &str = "model.safetensors";

struct Bench {
    server: HubServer,
    models: TempDir,
}

impl Bench {
    fn new(n_shards: usize) -> Self {
        Self::with_files(tiny_folder(n_shards))
    }

    fn with_files(files: BTreeMap<String, Vec<u8>>) -> Self {
        Self { server: HubServer::start(files), models: tempfile::tempdir().unwrap() }
    }

    fn pull_as(&self, token: Option<&str>, repository: &str, revision: &str, force: bool) -> Result<ModelInfo, Error> {
        let hub = Hub::new(&self.server.endpoint(), token).unwrap();
        let models = self.models.path();
        pull(&hub, &Request { repository, revision, files: registry::FILES, models, name: "tiny", force }, &())
    }

    fn pull(&self) -> Result<ModelInfo, Error> {
        self.pull_as(None, "owner/tiny", "main", false)
    }

    /// Names in the store's directory, hidden ones too.
    fn left(&self) -> Vec<String> {
        names(self.models.path())
    }

    fn pulled(&self) -> Vec<String> {
        names(&self.models.path().join("tiny"))
    }

    #[track_caller]
    fn assert_same(&self, file: &str, expected: &[u8]) {
        let found = fs::read(self.models.path().join("tiny").join(file)).unwrap();
        assert!(found == expected, "{file} differs");
    }

    /// What a pull that must fail says; nothing may be left after it.
    #[track_caller]
    fn refused(&self, token: Option<&str>, repository: &str, revision: &str) -> String {
        let error = self.pull_as(token, repository, revision, false).unwrap_err().to_string();
        assert!(!error.contains(TOKEN), "{error}");
        assert_eq!(self.left(), [""; 0], "{error}");
        error
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

#[test]
fn a_fresh_pull_has_what_a_model_needs_and_no_more() {
    let bench = Bench::new(1);
    let info = bench.pull().unwrap();
    assert_eq!(bench.left(), ["tiny"]);
    assert_eq!(
        bench.pulled(),
        ["config.json", "lmgc-source.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    );
    let files = tiny_folder(1);
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", WEIGHTS] {
        bench.assert_same(file, &files[file]);
    }
    assert_eq!((info.kind, info.architecture.as_deref()), (Kind::HuggingFace, Some("llama")));
    assert_eq!((info.n_layers, info.n_kv_heads, info.n_parameters), (Some(2), Some(2), 50_000));
    assert_eq!(info.problems, [""; 0]);
    let origin = info.origin.unwrap();
    assert_eq!((origin.repository.as_str(), origin.commit.as_str()), ("owner/tiny", COMMIT));
    assert_eq!(origin.licence.as_deref(), Some("mit"));
}

#[test]
fn of_a_sharded_repository_the_shards_of_the_index_come() {
    let bench = Bench::new(3);
    let info = bench.pull().unwrap();
    let pulled = bench.pulled();
    assert_eq!(pulled.iter().filter(|file| file.ends_with(".safetensors")).count(), 3, "{pulled:?}");
    assert!(!pulled.contains(&"consolidated.safetensors".to_owned()));
    assert_eq!(info.n_parameters, 3003);
    let files = tiny_folder(3);
    pulled.iter().filter(|file| *file != "lmgc-source.json").for_each(|file| bench.assert_same(file, &files[file]));
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let bench = Bench::new(1);
    bench.server.behave(Behaviour { break_after: Some(90_000), ..Behaviour::default() });
    bench.pull().unwrap();
    bench.assert_same(WEIGHTS, &tiny_folder(1)[WEIGHTS]);
    let ranges: Vec<_> =
        bench.server.seen().into_iter().filter(|seen| seen.at_storage).map(|seen| seen.range).collect();
    assert_eq!(ranges, [None, Some("bytes=90000-".to_owned()), Some("bytes=180000-".to_owned())]);
}

#[test]
fn a_stopped_pull_goes_on_with_the_next() {
    let bench = Bench::new(1);
    bench.server.behave(Behaviour { break_after: Some(120_000), give_up_after: Some(1), ..Behaviour::default() });
    let error = bench.pull().unwrap_err();
    assert!(matches!(error, Error::Hub(HubError::Interrupted { have: 120_000, .. })), "{error}");
    assert_says(&error.to_string(), &[WEIGHTS, "120000", "again"]);
    assert_eq!(bench.left(), ["tiny.partial"]);

    bench.server.seen();
    bench.server.behave(Behaviour::default());
    bench.pull().unwrap();
    assert_eq!(bench.left(), ["tiny"]);
    assert!(bench.pulled().iter().all(|file| !file.ends_with(".part")));
    bench.assert_same(WEIGHTS, &tiny_folder(1)[WEIGHTS]);
    let seen = bench.server.seen();
    let ranges: Vec<_> = seen.iter().filter(|seen| seen.at_storage).map(|seen| seen.range.as_deref()).collect();
    assert_eq!(ranges, [Some("bytes=120000-")]);
    assert!(
        !seen.iter().any(|seen| seen.what.contains("tokenizer.json")),
        "what is there is not fetched again: {seen:?}"
    );
}

#[test]
fn a_server_without_ranges_gets_asked_for_all_of_it() {
    let bench = Bench::new(1);
    bench.server.behave(Behaviour { break_after: Some(120_000), give_up_after: Some(1), ..Behaviour::default() });
    bench.pull().unwrap_err();
    bench.server.behave(Behaviour { ignore_ranges: true, ..Behaviour::default() });
    bench.pull().unwrap();
    bench.assert_same(WEIGHTS, &tiny_folder(1)[WEIGHTS]);
}

#[test]
fn damaged_leftovers_are_found_out() {
    let bench = Bench::new(1);
    bench.server.behave(Behaviour { break_after: Some(120_000), give_up_after: Some(1), ..Behaviour::default() });
    bench.pull().unwrap_err();
    let partial = bench.models.path().join("tiny.partial");
    fs::write(partial.join("config.json"), "{}").unwrap();
    fs::write(partial.join("stray.json"), "{}").unwrap();
    let part = names(&partial).into_iter().find(|file| file.ends_with(".part")).unwrap();
    let mut bytes = fs::read(partial.join(&part)).unwrap();
    bytes[1000] ^= 1;
    fs::write(partial.join(&part), bytes).unwrap();

    bench.server.behave(Behaviour::default());
    let error = bench.pull().unwrap_err();
    assert!(matches!(error, Error::Hub(HubError::Damaged { .. })), "{error}");
    bench.pull().unwrap();
    bench.assert_same(WEIGHTS, &tiny_folder(1)[WEIGHTS]);
    bench.assert_same("config.json", &tiny_folder(1)["config.json"]);
    assert!(!bench.pulled().contains(&"stray.json".to_owned()));
}

#[test]
fn a_wrong_hash_is_reported_and_the_file_deleted() {
    for damaged in [WEIGHTS, "tokenizer.json"] {
        let bench = Bench::new(1);
        bench.server.behave(Behaviour { damage: Some(damaged.to_owned()), ..Behaviour::default() });
        let error = bench.pull().unwrap_err();
        assert!(matches!(error, Error::Hub(HubError::Damaged { .. })), "{error}");
        assert_says(&error.to_string(), &[damaged, "hash", "deleted"]);
        let kept = names(&bench.models.path().join("tiny.partial"));
        assert!(!kept.iter().any(|file| file.contains(damaged)), "{kept:?}");
        bench.server.behave(Behaviour::default());
        bench.pull().unwrap();
    }
}

#[test]
fn without_hashes_in_the_list_those_of_the_headers_count() {
    let bench = Bench::new(1);
    bench.server.behave(Behaviour { bare_list: true, ..Behaviour::default() });
    bench.pull().unwrap();
    bench.assert_same(WEIGHTS, &tiny_folder(1)[WEIGHTS]);

    let bench = Bench::new(1);
    let damage = Some(WEIGHTS.to_owned());
    bench.server.behave(Behaviour { bare_list: true, damage, ..Behaviour::default() });
    assert_says(&bench.pull().unwrap_err().to_string(), &[WEIGHTS, "hash"]);
}

#[test]
fn gated_models_need_a_token_that_only_the_hub_sees() {
    let bench = Bench::new(1);
    let gated = Behaviour { token: Some(TOKEN.to_owned()), ..Behaviour::default() };
    bench.server.behave(gated.clone());
    let page = format!("{}/owner/tiny", bench.server.endpoint());
    assert_says(&bench.refused(None, "owner/tiny", "main"), &["401", "licence", &page, "HF_TOKEN"]);
    assert_says(&bench.refused(Some("hf_other"), "owner/tiny", "main"), &["401", "not valid", "HF_TOKEN"]);
    bench.server.behave(Behaviour { not_accepted: true, ..gated.clone() });
    assert_says(&bench.refused(Some(TOKEN), "owner/tiny", "main"), &["403", "not accepted", &page, "HF_TOKEN"]);

    bench.server.behave(gated);
    bench.server.seen();
    bench.pull_as(Some(TOKEN), "owner/tiny", "main", false).unwrap();
    let seen = bench.server.seen();
    assert!(seen.iter().any(|seen| seen.at_storage));
    for request in seen {
        assert_eq!(request.authorization.is_some(), !request.at_storage, "{request:?}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let bench = Bench::new(1);
    assert_says(&bench.refused(None, "owner/other", "main"), &["owner/other", "spelling"]);
    assert_says(&bench.refused(Some(TOKEN), "owner/tiny", "v2"), &["owner/tiny", "revision v2"]);
    for bad in ["tiny", "a/b/c", "../x", "a/..", "a b/c", "/x"] {
        assert_says(&bench.refused(None, bad, "main"), &["no known model", "OWNER/NAME"]);
    }
    assert_says(&bench.refused(None, "owner/tiny", "../../x"), &["revision"]);
}

#[test]
fn no_network_points_to_import() {
    let bench = Bench::new(1);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hub = Hub::new(&format!("http://{port}"), Some(TOKEN)).unwrap();
    let (models, files) = (bench.models.path(), registry::FILES);
    let request = Request { repository: "owner/tiny", revision: "main", files, models, name: "tiny", force: false };
    let error = pull(&hub, &request, &()).unwrap_err();
    assert!(matches!(error, Error::Hub(HubError::Unreachable { .. })), "{error}");
    assert_says(&error.to_string(), &[&port.to_string(), "lmgc model import"]);
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn repositories_that_are_no_model_are_refused_before_the_download() {
    let without = |removed: &str| {
        let mut files = tiny_folder(1);
        files.remove(removed);
        Bench::with_files(files)
    };
    for (removed, says) in [
        (WEIGHTS, &["pytorch_model.bin", "convert", "lmgc model import"][..]),
        ("tokenizer.json", &["tokenizer.json"]),
        ("config.json", &["config.json"]),
    ] {
        let bench = without(removed);
        assert_says(&bench.refused(None, "owner/tiny", "main"), says);
        assert_eq!(bench.server.seen().len(), 1, "only the list is asked for");
    }
    let mut files = tiny_folder(2);
    files.remove("model-00002-of-00002.safetensors");
    let bench = Bench::with_files(files);
    assert_says(&bench.refused(None, "owner/tiny", "main"), &["model-00002-of-00002.safetensors", "missing"]);
    let mut files = tiny_folder(1);
    files.insert("config.json".to_owned(), b"not JSON".to_vec());
    assert_says(&Bench::with_files(files).refused(None, "owner/tiny", "main"), &["config.json"]);
}

#[test]
fn a_model_that_is_there_is_replaced_only_by_force() {
    let bench = Bench::new(1);
    bench.pull().unwrap();
    bench.server.seen();
    assert!(matches!(bench.pull(), Err(Error::Exists { .. })));
    assert!(bench.server.seen().is_empty(), "the hub is not even asked");
    fs::write(bench.models.path().join("tiny/config.json"), "{}").unwrap();
    bench.pull_as(None, "owner/tiny", "main", true).unwrap();
    bench.assert_same("config.json", &tiny_folder(1)["config.json"]);
    assert_eq!(bench.left(), ["tiny"]);
}

#[test]
fn two_pulls_of_one_model_keep_apart() {
    let bench = Bench::new(1);
    let lock = fs::File::create(bench.models.path().join(".tiny.lock")).unwrap();
    lock.lock().unwrap();
    assert!(matches!(bench.pull(), Err(Error::Hub(HubError::Busy { .. }))));
    drop(lock);
    bench.pull().unwrap();
}

fn write_folder(directory: &Path, files: &BTreeMap<String, Vec<u8>>) {
    fs::create_dir_all(directory).unwrap();
    files.iter().for_each(|(name, content)| fs::write(directory.join(name), content).unwrap());
}

#[test]
fn folders_and_gguf_files_are_imported() {
    let (source, models) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = source.path().join("Qwen2.5-Tiny");
    write_folder(&folder, &tiny_folder(2));
    assert_eq!(lmgc_model::default_name(&folder), "qwen2.5-tiny");
    let info = import(&folder, models.path(), "qwen2.5-tiny", false, &()).unwrap();
    assert_eq!((info.kind, info.n_parameters), (Kind::HuggingFace, 2001));
    let imported = names(&models.path().join("qwen2.5-tiny"));
    assert_eq!(imported.len(), 6, "{imported:?}");
    for file in imported {
        assert_eq!(fs::read(models.path().join("qwen2.5-tiny").join(&file)).unwrap(), tiny_folder(2)[&file], "{file}");
    }

    let gguf = source.path().join("Tiny.Q8.gguf");
    fs::write(&gguf, TinyModel::default().to_gguf()).unwrap();
    assert_eq!(lmgc_model::default_name(&gguf), "tiny.q8");
    let info = import(&gguf, models.path(), "tiny.q8", false, &()).unwrap();
    assert_eq!((info.kind, info.architecture.as_deref(), info.n_layers), (Kind::Gguf, Some("llama"), Some(2)));
    assert_eq!(fs::read(models.path().join("tiny.q8/model.gguf")).unwrap(), TinyModel::default().to_gguf());

    let again = |force| import(&gguf, models.path(), "qwen2.5-tiny", force, &());
    assert!(matches!(again(false), Err(Error::Exists { .. })));
    again(true).unwrap();
    assert_eq!(names(&models.path().join("qwen2.5-tiny")), ["model.gguf"]);
    assert!(matches!(import(&gguf, models.path(), "../x", true, &()), Err(Error::BadName { .. })));
    assert_eq!(names(models.path()), ["qwen2.5-tiny", "tiny.q8"]);
}

#[test]
fn what_is_no_complete_model_is_not_imported() {
    let (source, models) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let refused = |path: &Path, says: &[&str]| {
        let error = import(path, models.path(), "x", false, &()).unwrap_err().to_string();
        assert_says(&error, says);
        assert_eq!(names(models.path()), [""; 0], "{error}");
    };
    type Files = BTreeMap<String, Vec<u8>>;
    let broken = |name: &str, change: &dyn Fn(&mut Files)| {
        let mut files = tiny_folder(1);
        change(&mut files);
        let folder = source.path().join(name);
        write_folder(&folder, &files);
        folder
    };
    refused(&source.path().join("missing"), &["missing"]);
    for (name, says) in [("config.json", "config.json"), ("tokenizer.json", "tokenizer.json"), (WEIGHTS, "convert")] {
        refused(&broken(&format!("without-{name}"), &|files| drop(files.remove(name))), &[says]);
    }
    for text in ["", "[]", "{", "{}"] {
        let config = |files: &mut BTreeMap<_, _>| drop(files.insert("config.json".to_owned(), text.into()));
        refused(&broken("bad-config", &config), &["config.json"]);
    }
    for len in [0, 4, 100, 100_000] {
        let truncate = |files: &mut Files| files.get_mut(WEIGHTS).unwrap().truncate(len);
        refused(&broken("short", &truncate), &[WEIGHTS]);
    }
    let gguf = TinyModel::default().to_gguf();
    for len in [0, 10, 1000, gguf.len() - 1] {
        let path = source.path().join("short.gguf");
        fs::write(&path, &gguf[..len]).unwrap();
        refused(&path, &["short.gguf"]);
    }
}
