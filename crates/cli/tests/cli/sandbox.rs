//! A working directory and a model store of its own, in which the program runs.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lmgc_testkit::TinyModel;
use serde_json::Value;
use tempfile::TempDir;

/// Every run starts in `work`; the store has a model called `tiny`.
pub(crate) struct Sandbox {
    work: TempDir,
    store: TempDir,
}

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }

    /// Standard output as JSON, one value a line.
    pub(crate) fn json(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let sandbox = Self { work: tempfile::tempdir().unwrap(), store: tempfile::tempdir().unwrap() };
        let model = sandbox.store.path().join("models/tiny/model.gguf");
        std::fs::create_dir_all(model.parent().unwrap()).unwrap();
        std::fs::write(model, TinyModel::default().to_gguf()).unwrap();
        sandbox
    }

    /// A copy of the model `tiny` as a file outside the store's layout.
    pub(crate) fn tiny_gguf(&self) -> String {
        self.model_file("tiny.gguf", &TinyModel::default())
    }

    /// A model file beside the store, not in the working directory, which tests compare.
    pub(crate) fn model_file(&self, name: &str, model: &TinyModel) -> String {
        let path = self.store.path().join(name);
        std::fs::write(&path, model.to_gguf()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The store's models, unfinished and hidden ones too.
    pub(crate) fn stored(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.store.path().join("models")).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A file of a model in the store.
    pub(crate) fn stored_file(&self, name: &str) -> PathBuf {
        self.store.path().join("models").join(name)
    }

    /// Empties the model store.
    pub(crate) fn forget_models(&self) {
        std::fs::remove_dir_all(self.store.path().join("models")).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }

    /// All files, hidden ones too, with their bytes.
    pub(crate) fn snapshot(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect_files(self.work.path(), &mut files);
        files
    }

    pub(crate) fn run(&self, args: &[&str]) -> Outcome {
        self.pipe(args, b"")
    }

    /// Starts the program.
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        self.start_with(&[], args)
    }

    /// As [`Sandbox::start`], with these variables in the environment.
    fn start_with(&self, variables: &[(&str, &str)], args: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lmgc"));
        // Port 9 discards: a test that forgets to name its hub fails at once, and never leaves this machine.
        command.env("HF_ENDPOINT", "http://127.0.0.1:9").env_remove("HF_TOKEN");
        for proxy in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"] {
            command.env_remove(proxy).env_remove(proxy.to_lowercase());
        }
        command
            .args(args)
            .envs(variables.iter().copied())
            .current_dir(self.work.path())
            .env("LMGC_HOME", self.store.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs with these bytes on standard input.
    pub(crate) fn pipe(&self, args: &[&str], stdin: &[u8]) -> Outcome {
        self.pipe_with(&[], args, stdin)
    }

    /// As [`Sandbox::pipe`], with these variables in the environment.
    pub(crate) fn pipe_with(&self, variables: &[(&str, &str)], args: &[&str], stdin: &[u8]) -> Outcome {
        let mut child = self.start_with(variables, args);
        // The program may end without having read its input.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let output = child.wait_with_output().unwrap();
        Outcome {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) fn ok(&self, args: &[&str]) -> Outcome {
        self.ok_pipe(args, b"")
    }

    pub(crate) fn ok_pipe(&self, args: &[&str], stdin: &[u8]) -> Outcome {
        let outcome = self.pipe(args, stdin);
        assert_eq!(outcome.code, Some(0), "{args:?}: {}", outcome.stderr);
        outcome
    }

    /// Runs what must fail with this code and a message that holds all of `said`, and must leave every file as it was.
    #[track_caller]
    pub(crate) fn fails(&self, args: &[&str], code: i32, said: &[&str]) {
        self.fails_pipe(args, b"", code, said);
    }

    #[track_caller]
    pub(crate) fn fails_pipe(&self, args: &[&str], stdin: &[u8], code: i32, said: &[&str]) {
        let before = self.snapshot();
        let outcome = self.pipe(args, stdin);
        assert_eq!(outcome.code, Some(code), "{args:?}: {}", outcome.stderr);
        // clap wraps its messages.
        let message = outcome.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in said {
            assert!(message.contains(part), "{args:?} does not say {part:?}: {message}");
        }
        assert!(!message.contains("panicked"), "{args:?}: {message}");
        assert!(outcome.stdout.is_empty(), "{args:?} wrote to standard output");
        let after = self.snapshot();
        let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&after), names(&before), "{args:?} left files or took some");
        assert!(after == before, "{args:?} changed a file");
    }
}

fn collect_files(directory: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, files);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            files.insert(path, bytes);
        }
    }
}

/// The tensor files of `testdata/tensors`, by name.
pub(crate) fn tensor_fixtures() -> BTreeMap<String, Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tensors");
    let mut files = BTreeMap::new();
    collect_files(&directory, &mut files);
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let fixtures: BTreeMap<_, _> = files.into_iter().map(|(path, bytes)| (name(path), bytes)).collect();
    for format in [".npy", ".npz", ".pt", ".ckpt", ".safetensors", ".gguf"] {
        assert!(fixtures.keys().any(|name| name.ends_with(format)), "no {format} among the fixtures");
    }
    fixtures
}
