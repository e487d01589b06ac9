//! Licences, bans and sources of all dependencies, checked against deny.toml.
//!
//! The file is cargo-deny's, so the standard tool reads the same rules. It is not required
//! here: a bare machine lacks it, and building it compiles two hundred crates.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

use crate::workspace::{Workspace, settle, stdout_of};

/// The part of deny.toml that is checked; anything else in it is refused rather than passed over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    licenses: LicenceRules,
    bans: BanRules,
    sources: SourceRules,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LicenceRules {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<LicenceException>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LicenceException {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BanRules {
    multiple_versions: Level,
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

/// Only the default registry and the workspace itself may be sources; these two lines say so to cargo-deny.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SourceRules {
    unknown_registry: Level,
    unknown_git: Level,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Allow,
    Warn,
    Deny,
}

/// One package of the dependency graph.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    /// The manifest's licence expression; empty if it has none.
    licence: String,
    /// Where it comes from, unless from the default registry or this workspace.
    foreign_source: Option<String>,
}

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let path = workspace.root.join("deny.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let rules: Rules = toml::from_str(&text).context("deny.toml holds something that this check does not know")?;
    let packages = packages(workspace)?;
    let complaints = complaints(&rules, &packages)?;
    settle("licences, bans and sources", &complaints)?;
    let repeated = repeated(&packages);
    if rules.bans.multiple_versions == Level::Warn && !repeated.is_empty() {
        println!("warning: in several versions: {}", repeated.join("; "));
    }
    println!("licences, bans and sources: {} packages, no problem", packages.len());
    Ok(())
}

/// Everything that any target's build, tests included, uses with default features.
///
/// `cargo tree` knows which features are really on; `cargo metadata` lists more than twice as much.
fn packages(workspace: &Workspace) -> Result<BTreeSet<Package>> {
    let mut command = workspace.cargo();
    command.args(["tree", "--workspace", "--target", "all", "--edges", "normal,build,dev", "--prefix", "none"]);
    command.args(["--no-dedupe", "--format", "{p}|{l}"]);
    let tree = stdout_of(&mut command)?;
    let root = workspace.root.to_string_lossy();
    let lines = tree.lines().filter(|line| !line.is_empty());
    lines.map(|line| package(line, &root)).collect()
}

/// Reads `name vVERSION (SOURCE) (proc-macro)|LICENCE`; either parenthesis may be missing.
fn package(line: &str, root: &str) -> Result<Package> {
    let (package, licence) = line.rsplit_once('|').with_context(|| format!("unexpected line of cargo tree: {line}"))?;
    let mut words = package.splitn(3, ' ');
    let name = words.next().unwrap_or_default().to_owned();
    let version = words.next().and_then(|word| word.strip_prefix('v'));
    let version = version.with_context(|| format!("unexpected line of cargo tree: {line}"))?.to_owned();
    let rest = words.next().unwrap_or_default().replace("(proc-macro)", "");
    let source = rest.trim().trim_start_matches('(').trim_end_matches(')');
    let foreign_source = (!source.is_empty() && !source.starts_with(root)).then(|| source.to_owned());
    Ok(Package { name, version, licence: licence.to_owned(), foreign_source })
}

fn complaints(rules: &Rules, packages: &BTreeSet<Package>) -> Result<Vec<String>> {
    let SourceRules { unknown_registry, unknown_git } = rules.sources;
    ensure!(
        unknown_registry == Level::Deny && unknown_git == Level::Deny,
        "deny.toml must deny unknown registries and git sources"
    );
    let allowed = licensees(&rules.licenses.allow)?;
    let mut complaints = Vec::new();
    for package in packages {
        let Package { name, version, licence, foreign_source } = package;
        if let Some(source) = foreign_source {
            complaints.push(format!("{name} {version} comes from {source}, not from the default registry"));
        }
        if let Some(ban) = rules.bans.deny.iter().find(|ban| ban.name == *name) {
            complaints.push(format!("{name} {version} is banned: {}", ban.reason));
        }
        let mut allowed = allowed.clone();
        for exception in rules.licenses.exceptions.iter().filter(|exception| exception.name == *name) {
            allowed.extend(licensees(&exception.allow)?);
        }
        // LAX also reads the old `MIT/Apache-2.0`.
        match Expression::parse_mode(licence, ParseMode::LAX) {
            Ok(expression) => {
                if !expression.evaluate(|needed| allowed.iter().any(|licensee| licensee.satisfies(needed))) {
                    complaints.push(format!("{name} {version} has licence {licence}, which deny.toml does not allow"));
                }
            }
            Err(_) if licence.is_empty() => complaints.push(format!("{name} {version} names no licence")),
            Err(error) => complaints.push(format!("{name} {version} has an unreadable licence `{licence}`: {error}")),
        }
    }
    for exception in &rules.licenses.exceptions {
        if !packages.iter().any(|package| package.name == exception.name) {
            complaints.push(format!("deny.toml excepts {}, which is not used any more; remove it", exception.name));
        }
    }
    Ok(complaints)
}

fn licensees(names: &[String]) -> Result<Vec<Licensee>> {
    names
        .iter()
        .map(|name| {
            Licensee::parse(name).with_context(|| format!("deny.toml allows `{name}`, which is no SPDX licence"))
        })
        .collect()
}

/// Crates that occur in more than one version, as `name 1.0.0, 2.0.0`.
fn repeated(packages: &BTreeSet<Package>) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    let several = versions.into_iter().filter(|(_, versions)| versions.len() > 1);
    several.map(|(name, versions)| format!("{name} {}", Vec::from_iter(versions).join(", "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        toml::from_str(
            r#"
            [licenses]
            allow = ["MIT", "Apache-2.0", "BSD-3-Clause"]
            exceptions = [{ crate = "colored", allow = ["MPL-2.0"] }]
            [bans]
            multiple-versions = "warn"
            deny = [{ crate = "openssl", reason = "not on a bare machine" }]
            [sources]
            unknown-registry = "deny"
            unknown-git = "deny"
            "#,
        )
        .unwrap()
    }

    fn complaints_about(lines: &[&str]) -> Vec<String> {
        let excepted = ["colored v3.0.0|MPL-2.0"];
        let lines = lines.iter().chain(&excepted);
        complaints(&rules(), &lines.map(|line| package(line, "/w").unwrap()).collect()).unwrap()
    }

    #[test]
    fn good_packages_pass() {
        let lines = [
            "a v1.0.0|MIT/Apache-2.0",
            "b v1.0.0 (proc-macro)|GPL-3.0 OR (MIT AND BSD-3-Clause)",
            "lmgc v0.1.0 (/w/crates/cli)|MIT OR Apache-2.0",
        ];
        assert_eq!(complaints_about(&lines), Vec::<String>::new());
    }

    #[test]
    fn each_breach_is_named() {
        for (line, expected) in [
            ("a v1.0.0|MPL-2.0", "a 1.0.0 has licence MPL-2.0, which"),
            ("a v1.0.0|MIT AND GPL-3.0", "has licence MIT AND GPL-3.0"),
            ("a v1.0.0|Apache-2.0 WITH LLVM-exception", "has licence"),
            ("a v1.0.0|", "names no licence"),
            ("a v1.0.0|Beerware please", "unreadable licence"),
            ("openssl v0.10.0|Apache-2.0", "openssl 0.10.0 is banned: not on a bare machine"),
            ("a v1.0.0 (https://example.org/a#1234)|MIT", "comes from https://example.org/a#1234"),
            ("a v1.0.0 (/elsewhere/a) (proc-macro)|MIT", "comes from /elsewhere/a,"),
        ] {
            let complaints = complaints_about(&[line]);
            assert_eq!(complaints.len(), 1, "{line}: {complaints:?}");
            assert!(complaints[0].contains(expected), "{line}: {complaints:?}");
        }
    }

    #[test]
    fn stale_exceptions_are_named() {
        let complaints = complaints(&rules(), &BTreeSet::new()).unwrap();
        assert!(complaints[0].contains("excepts colored"), "{complaints:?}");
    }

    #[test]
    fn several_versions_are_listed() {
        let packages = ["a v1.0.0|MIT", "a v2.0.0|MIT", "b v1.0.0|MIT"].map(|line| package(line, "/w").unwrap());
        assert_eq!(repeated(&packages.into()), ["a 1.0.0, 2.0.0"]);
    }

    #[test]
    fn unknown_rules_are_refused() {
        assert!(toml::from_str::<Rules>("[licenses]\nallow = []\nconfidence = 1\n").is_err());
    }
}
