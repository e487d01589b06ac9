//! Which crate of the workspace may use which: the architecture's table, as data.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};

use crate::{
    sources,
    workspace::{DependencyKind, Workspace, settle},
};

/// Crate, and the crates of this workspace that it may use. Directory names under `crates/`; a crate
/// that does not exist yet does no harm here.
const ALLOWED: &[(&str, &[&str])] = &[
    ("tensors", &[]),
    ("serialize", &[]),
    ("coder", &[]),
    ("container", &[]),
    ("kernels", &[]),
    ("tokens", &["serialize", "tensors"]),
    ("model", &["kernels", "tensors"]),
    ("codec", &["tensors", "serialize", "tokens", "kernels", "model", "coder", "container"]),
    ("collect", &["tensors"]),
    ("report", &[]),
    ("sweep", &["codec", "tensors", "tokens", "serialize"]),
    // The last four lend their option types only.
    ("cli", &["codec", "collect", "sweep", "report", "model", "tensors", "tokens", "serialize"]),
    ("testkit", &[]),
    ("xtask", &["model"]),
];

/// Usable by every crate's tests and by nothing else.
const DEV_ONLY: &str = "testkit";

/// Checks directions, inherited lints and the rules on source text.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let edges = edges(workspace);
    let mut complaints = wrong_edges(&edges);
    for member in &workspace.members {
        if crate_of(&member.name).is_none_or(|name| allowed(name).is_none()) {
            complaints.push(format!("package `{}` has no row in xtask/src/directions.rs; add one", member.name));
        }
        let manifest = fs::read_to_string(&member.manifest_path)
            .with_context(|| format!("cannot read {}", member.manifest_path.display()))?;
        if !inherits_lints(&manifest)? {
            complaints.push(format!(
                "package `{}` does not take the workspace's lints; add `[lints]` with `workspace = true` to its Cargo.toml",
                member.name
            ));
        }
    }
    let n_files = sources::check(workspace, &mut complaints)?;
    settle("directions and source rules", &complaints)?;
    println!(
        "directions and source rules: {} packages, {} uses of each other, {n_files} source files, no problem",
        workspace.members.len(),
        edges.len()
    );
    Ok(())
}

/// One crate of the workspace naming another in its manifest.
#[derive(Debug, PartialEq, Eq)]
struct Edge {
    from: String,
    to: String,
    dev: bool,
}

fn edges(workspace: &Workspace) -> Vec<Edge> {
    let mut edges = Vec::new();
    for member in &workspace.members {
        for dependency in member.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
            edges.push(Edge {
                from: crate_of(&member.name).unwrap_or(&member.name).to_owned(),
                to: crate_of(&dependency.name).unwrap_or(&dependency.name).to_owned(),
                dev: dependency.kind == Some(DependencyKind::Dev),
            });
        }
    }
    edges
}

/// The name the table uses for a package.
fn crate_of(package: &str) -> Option<&str> {
    match package {
        "lmgc" => Some("cli"),
        "xtask" => Some("xtask"),
        other => other.strip_prefix("lmgc-"),
    }
}

fn allowed(name: &str) -> Option<&'static [&'static str]> {
    ALLOWED.iter().find(|(from, _)| *from == name).map(|(_, to)| *to)
}

fn wrong_edges(edges: &[Edge]) -> Vec<String> {
    let mut complaints = Vec::new();
    for Edge { from, to, dev } in edges {
        let allowed = allowed(from).unwrap_or_default();
        if allowed.contains(&to.as_str()) || (*dev && to == DEV_ONLY) {
            continue;
        }
        complaints.push(if to == DEV_ONLY {
            format!("crate `{from}` uses `{to}` outside its tests; move it to [dev-dependencies]")
        } else {
            let list = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
            format!(
                "crate `{from}` must not depend on `{to}` (allowed: {list}); turn the dependency round, \
                 or change the architecture and the table in xtask/src/directions.rs"
            )
        });
    }
    complaints
}

fn inherits_lints(manifest: &str) -> Result<bool> {
    #[derive(serde::Deserialize)]
    struct Manifest {
        #[serde(default)]
        lints: BTreeMap<String, toml::Value>,
    }
    let manifest: Manifest = toml::from_str(manifest)?;
    Ok(manifest.lints.get("workspace").and_then(toml::Value::as_bool) == Some(true))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn edge(from: &str, to: &str, dev: bool) -> Edge {
        Edge { from: from.into(), to: to.into(), dev }
    }

    #[test]
    fn wrong_edges_are_named() {
        let right = edge("codec", "model", false);
        let complaints = wrong_edges(&[right, edge("coder", "model", false), edge("codec", "collect", false)]);
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert!(complaints[0].contains("`coder` must not depend on `model` (allowed: none)"), "{complaints:?}");
        assert!(complaints[1].contains("`codec` must not depend on `collect`"), "{complaints:?}");
    }

    #[test]
    fn tests_get_no_freedom_but_the_testkit() {
        assert!(wrong_edges(&[edge("tensors", "testkit", true)]).is_empty());
        assert_eq!(wrong_edges(&[edge("tensors", "testkit", false)]).len(), 1);
        assert_eq!(wrong_edges(&[edge("tensors", "codec", true)]).len(), 1);
    }

    #[test]
    fn metadata_becomes_edges() {
        let json = r#"{"workspace_root": "/w", "target_directory": "/w/target", "packages": [
            {"name": "lmgc", "manifest_path": "/w/crates/cli/Cargo.toml", "dependencies": [
                {"name": "lmgc-codec", "kind": null, "path": "/w/crates/codec"},
                {"name": "lmgc-testkit", "kind": "dev", "path": "/w/crates/testkit"},
                {"name": "serde", "kind": null}]}]}"#;
        let workspace: Workspace = serde_json::from_str(json).unwrap();
        assert_eq!(edges(&workspace), [edge("cli", "codec", false), edge("cli", "testkit", true)]);
    }

    #[test]
    fn the_table_keeps_codec_and_collect_apart() {
        fn reach(name: &str, seen: &mut BTreeSet<&'static str>) {
            for &next in allowed(name).unwrap_or_default() {
                if seen.insert(next) {
                    reach(next, seen);
                }
            }
        }
        for (from, to) in [("codec", "collect"), ("collect", "codec")] {
            let mut seen = BTreeSet::new();
            reach(from, &mut seen);
            assert!(!seen.contains(to), "{from} reaches {to}");
        }
        for (from, to) in ALLOWED {
            assert!(!to.contains(&DEV_ONLY), "{from} may use {DEV_ONLY}");
            assert!(to.iter().all(|name| allowed(name).is_some()), "{from} names a crate without a row");
            let mut seen = BTreeSet::new();
            reach(from, &mut seen);
            assert!(!seen.contains(from), "{from} reaches itself");
        }
    }

    #[test]
    fn lints_must_be_inherited() {
        assert!(inherits_lints("[package]\nname = \"a\"\n[lints]\nworkspace = true\n").unwrap());
        assert!(!inherits_lints("[package]\nname = \"a\"\n").unwrap());
        assert!(!inherits_lints("[lints.rust]\nunused = \"warn\"\n").unwrap());
    }
}
