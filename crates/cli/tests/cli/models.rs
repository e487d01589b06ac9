//! `lmgc model`: list, info, pull from a hub on this machine, import.

use lmgc_testkit::{Behaviour, COMMIT, HubServer, TinyModel, gradient_like, tiny_folder};

use crate::sandbox::{Outcome, Sandbox};

const TOKEN: &str = "hf_SecretSecret";

fn with_folder(n_shards: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, content) in tiny_folder(n_shards) {
        sandbox.write(&format!("Folder-0.1/{name}"), &content);
    }
    sandbox
}

fn pull(sandbox: &Sandbox, server: &HubServer, token: Option<&str>, args: &[&str]) -> Outcome {
    let endpoint = server.endpoint();
    let mut variables = vec![("HF_ENDPOINT", endpoint.as_str())];
    variables.extend(token.map(|token| ("HF_TOKEN", token)));
    let outcome = sandbox.pipe_with(&variables, &[&["model", "pull"], args].concat(), b"");
    assert!(
        !outcome.stderr.contains(TOKEN) && !outcome.text().contains(TOKEN),
        "the token is told: {}",
        outcome.stderr
    );
    outcome
}

#[track_caller]
fn refused(outcome: &Outcome, code: i32, said: &[&str]) {
    assert_eq!(outcome.code, Some(code), "{}", outcome.stderr);
    assert!(outcome.stdout.is_empty(), "{}", outcome.text());
    said.iter().for_each(|part| assert!(outcome.stderr.contains(part), "no {part:?} in: {}", outcome.stderr));
}

#[test]
fn list_shows_known_models_and_those_that_are_here() {
    let sandbox = Sandbox::new();
    let text = sandbox.ok(&["model", "list"]).text();
    for part in ["gpt2", "MIT", "llama3-8b", "(gated)", "1.10 B", "tiny ", "lmgc model pull"] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    let models = sandbox.ok(&["model", "list", "--json"]).json();
    let find = |name: &str| models.iter().find(|model| model["name"] == name).unwrap();
    assert_eq!((&find("tiny")["in_store"], &find("gpt2")["in_store"]), (&true.into(), &false.into()));
    assert_eq!(find("tiny")["stored_bytes"], TinyModel::default().to_gguf().len());
    assert_eq!(find("gpt2")["repository"], "openai-community/gpt2");
    assert!(models.len() >= 12);
    assert!(sandbox.ok(&["model", "list", "-q"]).stdout.is_empty());
    sandbox.forget_models();
    assert!(!sandbox.ok(&["model", "list"]).text().contains("tiny "), "a store that is not there is empty");
}

#[test]
fn info_reads_headers_by_name_and_by_path() {
    let sandbox = with_folder(2);
    let text = sandbox.ok(&["model", "info", "tiny"]).text();
    for part in ["GGUF file", "llama", "2048 tokens", "model.gguf", "of F32", "yes"] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    let report = &sandbox.ok(&["model", "info", "--json", "./Folder-0.1"]).json()[0];
    assert_eq!((&report["in_store"], &report["complete"]), (&false.into(), &true.into()));
    assert_eq!((&report["stored"]["n_layers"], &report["stored"]["n_parameters"]), (&2.into(), &2001.into()));

    let text = sandbox.ok(&["model", "info", "llama3-8b"]).text();
    for part in ["meta-llama/Meta-Llama-3-8B", "gated", "lmgc model pull llama3-8b"] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    let text = sandbox.ok(&["model", "info", "openllama3b"]).text();
    assert!(text.contains("pytorch_model.bin"), "{text}");

    sandbox.remove("Folder-0.1/tokenizer.json");
    let text = sandbox.ok(&["model", "info", "./Folder-0.1"]).text();
    assert!(text.contains("no: it has no tokenizer.json"), "{text}");
    sandbox.fails(&["model", "info", "tinylama"], 1, &["did you mean tinyllama", "lmgc model list"]);
    sandbox.fails(&["model", "info", "./missing"], 1, &["missing"]);
    sandbox.fails(&["model"], 2, &["Usage"]);
}

#[test]
fn pull_fetches_a_repository_into_the_store() {
    let (sandbox, server) = (Sandbox::new(), HubServer::start(tiny_folder(2)));
    let outcome = pull(&sandbox, &server, None, &["owner/tiny", "--name", "pulled", "--json"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let report = &outcome.json()[0];
    assert_eq!((&report["name"], &report["stored"]["origin"]["commit"]), (&"pulled".into(), &COMMIT.into()));
    assert_eq!(sandbox.stored(), ["pulled", "tiny"]);
    for (name, content) in tiny_folder(2).iter().filter(|(name, _)| name.starts_with("model-")) {
        assert_eq!(&std::fs::read(sandbox.stored_file("pulled").join(name)).unwrap(), content, "{name}");
    }
    let text = sandbox.ok(&["model", "info", "pulled"]).text();
    assert!(text.contains("owner/tiny") && text.contains(COMMIT), "{text}");

    // The store has a model `tiny` already.
    refused(&pull(&sandbox, &server, None, &["owner/tiny"]), 1, &["exists already", "-f", "--name"]);
    let outcome = pull(&sandbox, &server, None, &["owner/tiny", "-f"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.text().contains("--model tiny"), "{}", outcome.text());
    assert!(sandbox.stored_file("tiny/config.json").exists() && !sandbox.stored_file("tiny/model.gguf").exists());
    let outcome = pull(&sandbox, &server, None, &["owner/tiny", "-q", "-f"]);
    assert!(outcome.stdout.is_empty() && outcome.stderr.is_empty(), "{}", outcome.stderr);
}

#[test]
fn pull_says_what_stands_in_the_way() {
    let (sandbox, server) = (Sandbox::new(), HubServer::start(tiny_folder(1)));
    let x = &["owner/tiny", "--name", "x"][..];
    server.behave(Behaviour { token: Some(TOKEN.to_owned()), ..Behaviour::default() });
    refused(&pull(&sandbox, &server, None, x), 1, &["licence", "/owner/tiny", "HF_TOKEN"]);
    refused(&pull(&sandbox, &server, Some("hf_other"), x), 1, &["not valid", "HF_TOKEN"]);
    assert_eq!(pull(&sandbox, &server, Some(TOKEN), &["owner/tiny", "--name", "gated"]).code, Some(0));

    server.behave(Behaviour::default());
    refused(&pull(&sandbox, &server, None, &["owner/other"]), 1, &["owner/other", "spelling"]);
    refused(&pull(&sandbox, &server, None, &["llama3-8b"]), 1, &["meta-llama/Meta-Llama-3-8B"]);
    refused(&pull(&sandbox, &server, None, &[x, &["--revision", "v9"]].concat()), 1, &["revision v9"]);
    refused(&pull(&sandbox, &server, None, &["tinylama"]), 2, &["did you mean tinyllama", "OWNER/REPO"]);
    refused(&pull(&sandbox, &server, None, &["owner/tiny", "--name", "../x"]), 2, &["../x", "--name"]);
    let unreachable = ["model", "pull", "gpt2"];
    sandbox.fails(&unreachable, 1, &["cannot reach the hub at http://127.0.0.1:9", "lmgc model import"]);
    server.behave(Behaviour { damage: Some("config.json".to_owned()), ..Behaviour::default() });
    refused(&pull(&sandbox, &server, None, x), 1, &["config.json arrived damaged"]);
    assert_eq!(sandbox.stored(), ["gated", "tiny"]);

    server.behave(Behaviour { break_after: Some(99_000), give_up_after: Some(1), ..Behaviour::default() });
    refused(&pull(&sandbox, &server, None, x), 1, &["broke off at 99000 of", "again"]);
    assert_eq!(sandbox.stored(), ["gated", "tiny", "x.partial"]);
    let text = sandbox.ok(&["model", "list"]).text();
    assert!(!text.contains("x.partial"), "{text}");
    server.behave(Behaviour::default());
    assert_eq!(pull(&sandbox, &server, None, x).code, Some(0));
    assert_eq!(sandbox.stored(), ["gated", "tiny", "x"]);
}

#[test]
fn imported_models_are_used_by_name() {
    let sandbox = with_folder(2);
    let gguf = sandbox.tiny_gguf();
    sandbox.forget_models();
    let text = sandbox.ok(&["model", "import", &gguf]).text();
    assert!(text.contains("--model tiny"), "{text}");
    sandbox.write("g", &gradient_like(1, 600));
    sandbox.ok(&["compress", "g", "--codec", "lm", "--model", "tiny"]);
    sandbox.ok(&["decompress", "g.lmgc", "-o", "back"]);
    assert_eq!(sandbox.read("back"), sandbox.read("g"));

    let report = &sandbox.ok(&["model", "import", "--json", "Folder-0.1"]).json()[0];
    assert_eq!((&report["name"], &report["stored"]["kind"]), (&"folder-0.1".into(), &"hugging-face".into()));
    sandbox.fails(&["model", "import", &gguf, "--name", "folder-0.1"], 1, &["exists already", "-f"]);
    sandbox.ok(&["model", "import", &gguf, "--name", "folder-0.1", "-f"]);
    assert_eq!(sandbox.stored(), ["folder-0.1", "tiny"]);
}

#[test]
fn hugging_face_folders_are_used_by_path_and_by_name() {
    let sandbox = Sandbox::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/models/llama-sharded");
    sandbox.ok(&["model", "import", folder, "--name", "by-name"]);
    sandbox.write("g", &gradient_like(1, 600));
    for (model, packed) in [(folder, "path.lmgc"), ("by-name", "name.lmgc")] {
        // The fixture's random weights predict most formats so badly that blocks would be stored as they are.
        let settings = ["--codec", "lm", "--model", model, "--format", "hex-none"];
        let compress = [&["compress", "--json", "g", "-o", packed], &settings[..]].concat();
        assert_eq!(sandbox.ok(&compress).json()[0]["n_tokens"], 1200);
        sandbox.ok(&["tokenize", "g", "-o", &format!("{packed}.tokens"), "--model", model]);
    }
    sandbox.ok(&["decompress", "name.lmgc", "-o", "back"]);
    sandbox.ok(&["detokenize", "name.lmgc.tokens", "-o", "detokenized"]);
    // The file names a model that the store lacks; the one of another name is the same.
    sandbox.fails(&["decompress", "path.lmgc", "-o", "x"], 1, &["'llama-sharded'", "lmgc model pull"]);
    sandbox.ok(&["decompress", "path.lmgc", "-o", "back2", "--model", "by-name"]);
    for restored in ["back", "back2", "detokenized"] {
        assert!(sandbox.read(restored) == sandbox.read("g"), "{restored}");
    }
    // Complete, but its configuration lacks what running it takes.
    for (name, content) in tiny_folder(1) {
        sandbox.write(&format!("Folder-0.1/{name}"), &content);
    }
    let unusable = ["compress", "g", "-o", "x", "--codec", "lm", "--model", "./Folder-0.1"];
    sandbox.fails(&unusable, 1, &["rms_norm_eps", "missing"]);
}

#[test]
fn import_refuses_what_is_no_complete_model() {
    let sandbox = with_folder(1);
    sandbox.write("short.gguf", &TinyModel::default().to_gguf()[..5000]);
    sandbox.fails(&["model", "import", "short.gguf"], 1, &["short.gguf"]);
    sandbox.fails(&["model", "import", "missing"], 1, &["missing"]);
    sandbox.fails(&["model", "import", "Folder-0.1", "--name", ".x"], 2, &["--name"]);
    sandbox.remove("Folder-0.1/model.safetensors");
    sandbox.fails(&["model", "import", "Folder-0.1"], 1, &["pytorch_model.bin", "convert_hf_to_gguf.py"]);
    sandbox.write("empty/x", b"");
    sandbox.fails(&["model", "import", "empty"], 1, &["config.json"]);
    assert_eq!(sandbox.stored(), ["tiny"]);
}

#[test]
fn help_teaches_each_verb() {
    let sandbox = Sandbox::new();
    for (verb, says) in [
        (&["model", "--help"][..], "lmgc model import"),
        (&["model", "list", "--help"], "in the store"),
        (&["model", "info", "--help"], "lmgc model info tinyllama"),
        (&["model", "pull", "--help"], "HF_TOKEN"),
        (&["model", "import", "--help"], "convert_hf_to_gguf.py"),
    ] {
        let text = sandbox.ok(verb).text();
        assert!(text.contains(says), "no {says:?} in:\n{text}");
    }
}
