use std::path::Path;

use anyhow::Context;
use lmgc_model::hub::{self, Hub, HubError, Request};
use lmgc_model::registry::{self, KnownModel};
use lmgc_model::{Error, Kind, Progress, default_name, describe, import, store};
use serde_json::{Value, json};

use crate::args::{Common, Model, ModelImport, ModelInfo, ModelPull, ModelVerb};
use crate::exit::UsageError;
use crate::table;
use crate::terminal::{ByteBar, Channel, bytes, count, say};

pub(crate) fn run(args: &Model, common: &Common) -> anyhow::Result<()> {
    match &args.verb {
        ModelVerb::List => list(common),
        ModelVerb::Info(verb) => info(verb, common),
        ModelVerb::Pull(verb) => pull(verb, common),
        ModelVerb::Import(verb) => import_model(verb, common),
    }
}

fn list(common: &Common) -> anyhow::Result<()> {
    let models = store::models()?;
    let stored = store::names()?;
    let others = stored.iter().filter(|name| registry::find(name).is_none());
    let names: Vec<&str> = registry::MODELS.iter().map(|model| model.name).chain(others.map(String::as_str)).collect();
    let mut rows = Vec::new();
    for name in names {
        let known = registry::find(name);
        let in_store = stored.iter().any(|other| other == name);
        // A damaged model is still in the store; `info` says what is wrong with it.
        let found = if in_store { store::resolve_name(name).ok().and_then(|path| describe(&path).ok()) } else { None };
        let n_bytes = found.as_ref().map(lmgc_model::ModelInfo::n_bytes);
        if common.json {
            let mut value = known.map_or_else(|| json!({ "name": name }), known_json);
            value["in_store"] = in_store.into();
            value["stored_bytes"] = json!(n_bytes);
            Channel::Out.line(value);
        }
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        rows.push(vec![
            name.to_owned(),
            or_dash(known.map(|model| parameters(model.n_parameters))),
            or_dash(known.map(|model| model.context_tokens.to_string())),
            or_dash(known.map(|model| bytes(model.download_bytes))),
            or_dash(known.map(licence).or_else(|| found.and_then(|info| info.licence).map(|text| plain(&text)))),
            match (in_store, n_bytes) {
                (false, _) => "-".to_owned(),
                (true, Some(n_bytes)) => bytes(n_bytes),
                (true, None) => "damaged".to_owned(),
            },
        ]);
    }
    for line in table::lines(&["model", "parameters", "context", "download", "licence", "in store"], &rows) {
        say(common, line);
    }
    say(common, format!("\nThe store is {}.", models.display()));
    say(
        common,
        "`lmgc model pull NAME` fetches a model; for a gated one, set HF_TOKEN. `lmgc model info NAME` says more.",
    );
    Ok(())
}

/// "135 M", "1.10 B".
fn parameters(n: u64) -> String {
    let millions = n as f64 / 1e6;
    if millions < 1000.0 { format!("{millions:.0} M") } else { format!("{:.2} B", millions / 1000.0) }
}

fn licence(model: &KnownModel) -> String {
    if model.gated { format!("{} (gated)", model.licence) } else { model.licence.to_owned() }
}

/// Text from a file, on one line and without control characters.
fn plain(text: &str) -> String {
    text.escape_debug().to_string()
}

fn known_json(model: &KnownModel) -> Value {
    json!({
        "name": model.name,
        "title": model.title,
        "repository": model.repository,
        "revision": model.revision,
        "family": model.family,
        "n_parameters": model.n_parameters,
        "context_tokens": model.context_tokens,
        "download_bytes": model.download_bytes,
        "licence": model.licence,
        "gated": model.gated,
        "note": model.note,
    })
}

fn info(args: &ModelInfo, common: &Common) -> anyhow::Result<()> {
    let known = if store::is_path(&args.model) { None } else { registry::find(&args.model) };
    let found = match store::resolve(&args.model) {
        Ok(path) => Some((describe(&path)?, path)),
        Err(Error::NotFound { .. }) if known.is_some() => None,
        Err(error) => return Err(error.into()),
    };
    if common.json {
        let mut value = json!({ "model": args.model, "known": known.map(known_json), "in_store": false });
        if let Some((info, path)) = &found {
            value["in_store"] = (!store::is_path(&args.model)).into();
            value["path"] = json!(path);
            value["stored"] = json!(info);
            value["complete"] = info.problems.is_empty().into();
        }
        Channel::Out.line(value);
    }
    say(common, plain(&args.model));
    let field = |name: &str, text: String| say(common, format!("  {name:<13} {text}"));
    if let Some(model) = known {
        field("title", model.title.to_owned());
        field("repository", format!("{} ({})", model.repository, model.revision));
        field("licence", licence(model));
        if let Some(note) = model.note {
            field("note", note.to_owned());
        }
    }
    match (&found, known) {
        (Some((info, path)), _) => fields(info, path).into_iter().for_each(|(name, text)| field(name, text)),
        (None, Some(model)) => {
            field("parameters", parameters(model.n_parameters));
            field("context", format!("{} tokens", model.context_tokens));
            let size = bytes(model.download_bytes);
            field("in store", format!("no: `lmgc model pull {}` fetches it (about {size})", model.name));
        }
        (None, None) => {}
    }
    Ok(())
}

/// What the files say.
fn fields(info: &lmgc_model::ModelInfo, path: &Path) -> Vec<(&'static str, String)> {
    let number = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let types: Vec<String> = info.tensor_types.iter().map(|(name, n)| format!("{n} of {name}")).collect();
    let kv_heads = info.n_kv_heads.map_or_else(String::new, |n| format!(" ({n} for keys and values)"));
    let kind = match info.kind {
        Kind::Gguf => "GGUF file",
        Kind::HuggingFace => "Hugging Face folder",
    };
    let mut fields = vec![
        ("path", path.display().to_string()),
        ("stored as", format!("{kind}, {}", bytes(info.n_bytes()))),
        ("architecture", info.architecture.as_deref().map_or_else(|| "?".to_owned(), plain)),
        ("layers", number(info.n_layers)),
        ("width", format!("{}, feed-forward {}", number(info.d_model), number(info.d_ffn))),
        ("heads", format!("{}{kv_heads}", number(info.n_heads))),
        ("vocabulary", number(info.vocab_size)),
        ("context", format!("{} tokens", number(info.context_tokens))),
        ("parameters", format!("{} (tensors: {})", info.n_parameters, types.join(", "))),
    ];
    if let Some(licence) = &info.licence {
        fields.push(("licence says", plain(licence)));
    }
    if let Some(origin) = &info.origin {
        fields.push(("from", format!("{} at {}", plain(&origin.repository), plain(&origin.commit))));
    }
    for (i, file) in info.files.iter().enumerate() {
        let name = if i == 0 { "files" } else { "" };
        fields.push((name, format!("{}, {}", plain(&file.name), bytes(file.bytes))));
    }
    let complete =
        if info.problems.is_empty() { "yes".to_owned() } else { format!("no: {}", info.problems.join("; ")) };
    fields.push(("complete", complete));
    fields
}

pub(super) fn pull(args: &ModelPull, common: &Common) -> anyhow::Result<()> {
    let known = registry::find(&args.model);
    let repository = known.map_or(args.model.as_str(), |model| model.repository);
    let Some((_, last)) = repository.split_once('/') else {
        return Err(UsageError(unknown(&args.model)).into());
    };
    let name = args.name.clone().unwrap_or_else(|| known.map_or_else(|| last.to_lowercase(), |m| m.name.to_owned()));
    let models = store::models()?;
    let request = Request {
        repository,
        revision: args.revision.as_deref().or(known.map(|model| model.revision)).unwrap_or("main"),
        files: known.map_or(registry::FILES, |model| model.files),
        models: &models,
        name: &name,
        force: args.force,
    };
    let hub = Hub::from_env().map_err(Error::from)?;
    let pulled = hub::pull(&hub, &request, &Copying::new(common, "fetching"));
    let note = known.and_then(|model| model.note);
    let info = match (pulled, note) {
        (Err(error @ Error::Hub(HubError::Unusable { .. })), Some(note)) => {
            return Err(error).with_context(|| format!("{name}: {note}"));
        }
        (pulled, _) => pulled?,
    };
    report(&name, repository, &models, &info, common);
    Ok(())
}

fn unknown(model: &str) -> String {
    format!(
        "'{}' is no known model: {}`lmgc model list` shows the known ones; for others give OWNER/REPO",
        plain(model),
        registry::did_you_mean(model)
    )
}

fn import_model(args: &ModelImport, common: &Common) -> anyhow::Result<()> {
    let name = args.name.clone().unwrap_or_else(|| default_name(&args.path));
    let models = store::models()?;
    let info = import(&args.path, &models, &name, args.force, &Copying::new(common, "copying"))?;
    report(&name, &args.path.display().to_string(), &models, &info, common);
    Ok(())
}

fn report(name: &str, source: &str, models: &Path, info: &lmgc_model::ModelInfo, common: &Common) {
    let place = models.join(name);
    if common.json {
        Channel::Out.line(json!({ "name": name, "source": source, "path": place, "stored": info }));
    }
    let files = count(info.files.len(), "file");
    say(common, format!("{source}: {files}, {} -> {}", bytes(info.n_bytes()), place.display()));
    say(common, format!("Use it with --model {name}"));
}

/// A progress bar for each file.
struct Copying {
    verb: &'static str,
    bar: ByteBar,
}

impl Copying {
    fn new(common: &Common, verb: &'static str) -> Self {
        Self { verb, bar: ByteBar::new(common) }
    }
}

impl Progress for Copying {
    fn begin(&self, file: &str, n_bytes: u64) {
        self.bar.begin(self.verb, file, n_bytes, 0);
    }

    fn advance(&self, n_bytes: u64) {
        self.bar.advance(n_bytes);
    }

    fn end(&self) {
        self.bar.end();
    }
}
