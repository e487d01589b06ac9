//! Rules on the text of our own sources: no floats where bytes are decided, `unsafe` in one place,
//! no file too long to read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};

use crate::workspace::Workspace;

/// Crates whose product code must not know floating point at all.
const FLOAT_FREE: &[&str] = &["crates/container/src", "crates/coder/src"];
/// The only places where `unsafe` may stand, with the reason.
const UNSAFE_HOMES: &[(&str, &str)] = &[
    ("crates/kernels/src/arch", "instruction sets are called only where they have been detected"),
    ("crates/collect/src/cpu/matmul.rs", "the bounds of a matrix product are checked before the library is called"),
    ("crates/model/src/mapping.rs", "memory-mapping a file cannot be checked by the compiler"),
];
const MAX_LINES: usize = 600;

/// Adds a complaint for each breach; returns the number of files read.
pub(crate) fn check(workspace: &Workspace, complaints: &mut Vec<String>) -> Result<usize> {
    let mut files = Vec::new();
    for member in &workspace.members {
        rust_files(&member.dir(), &mut files)?;
    }
    files.sort();
    files.dedup();
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        complaints.extend(breaches(file.strip_prefix(&workspace.root).unwrap_or(file), &text));
    }
    Ok(files.len())
}

fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                rust_files(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// What is wrong with one file; `path` is relative to the workspace's root.
fn breaches(path: &Path, text: &str) -> Vec<String> {
    let shown = path.display();
    let mut complaints = Vec::new();
    let n_lines = text.lines().count();
    if n_lines > MAX_LINES {
        complaints.push(format!("{shown} has {n_lines} lines, more than {MAX_LINES}; split it by theme"));
    }
    let Ok(tokens) = text.parse::<TokenStream>() else {
        complaints.push(format!("{shown} cannot be read as Rust"));
        return complaints;
    };
    let mut found = Found::default();
    found.walk(tokens, false);
    if !UNSAFE_HOMES.iter().any(|(home, _)| path.starts_with(home)) {
        let homes: Vec<&str> = UNSAFE_HOMES.iter().map(|&(home, _)| home).collect();
        for line in found.unsafe_lines {
            complaints.push(format!("{shown}:{line}: `unsafe` may stand in {} only", homes.join(" and ")));
        }
    }
    if FLOAT_FREE.iter().any(|home| path.starts_with(home)) {
        for line in found.float_lines {
            complaints.push(format!("{shown}:{line}: floating point must not occur here; use integers"));
        }
    }
    complaints
}

#[derive(Default)]
struct Found {
    /// Line numbers of `f32`, `f64` and float literals outside `#[cfg(test)]` items.
    float_lines: Vec<usize>,
    /// Line numbers of `unsafe`, tests included.
    unsafe_lines: Vec<usize>,
}

impl Found {
    /// Looks at every token; comments and the insides of strings are none.
    fn walk(&mut self, stream: TokenStream, in_tests: bool) {
        // Inside the item that follows `#[cfg(test)]`, up to its braces or its semicolon.
        let mut tests_item = false;
        // The two tokens before this one, where they are punctuation: tells `x.0.1` from `0. .. 1.0`.
        let mut before = [None; 2];
        for token in stream {
            let line = token.span().start().line;
            let mut punctuation = None;
            match token {
                TokenTree::Group(group) => {
                    let is_attribute = before[1] == Some('#');
                    if is_attribute && without_spaces(&group.stream()) == "cfg(test)" {
                        tests_item = true;
                    }
                    self.walk(group.stream(), in_tests || tests_item);
                    if group.delimiter() == proc_macro2::Delimiter::Brace {
                        tests_item = false;
                    }
                }
                TokenTree::Ident(ident) => {
                    if ident == "unsafe" {
                        self.unsafe_lines.push(line);
                    } else if (ident == "f32" || ident == "f64") && !in_tests && !tests_item {
                        self.float_lines.push(line);
                    }
                }
                TokenTree::Literal(literal) => {
                    let is_field = before[1] == Some('.') && before[0] != Some('.');
                    if is_float(&literal.to_string()) && !is_field && !in_tests && !tests_item {
                        self.float_lines.push(line);
                    }
                }
                TokenTree::Punct(punct) => {
                    punctuation = Some(punct.as_char());
                    if punctuation == Some(';') {
                        tests_item = false;
                    }
                }
            }
            before = [before[1], punctuation];
        }
    }
}

fn without_spaces(stream: &TokenStream) -> String {
    stream.to_string().split_whitespace().collect()
}

fn is_float(literal: &str) -> bool {
    let is_decimal = literal.starts_with(|first: char| first.is_ascii_digit())
        && !["0x", "0o", "0b"].iter().any(|prefix| literal.starts_with(prefix));
    let after_digits = literal.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
    is_decimal && after_digits.starts_with(['.', 'e', 'E', 'f'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_coder(text: &str) -> Vec<String> {
        breaches(Path::new("crates/coder/src/lib.rs"), text)
    }

    #[test]
    fn floats_are_found_with_their_line() {
        for text in ["fn a(x: f32) {}", "const A: u8 = 1.5 as u8;", "type T = [f64; 2];", "fn a() { b(1f32, 2e3) }"] {
            let complaints = in_coder(&format!("// one\n\n{text}"));
            assert!(!complaints.is_empty(), "{text}");
            assert!(complaints[0].contains("lib.rs:3: floating point"), "{complaints:?}");
        }
        assert_eq!(in_coder("fn a() { for x in 0.5..1.5 {} }").len(), 2);
        assert!(breaches(Path::new("crates/model/src/lib.rs"), "fn a(x: f32) {}").is_empty());
    }

    #[test]
    fn words_about_floats_and_tests_with_floats_pass() {
        let text = r#"
            //! Frequencies from f32 probabilities are made elsewhere, 1.5 of them.
            /* f64 */
            /// An f32.
            fn a(x: ((u8, u8), u8)) -> u8 { let _ = ("f32 1.5", 'f', 0x1f32, 1usize, 1..2); x.0.1 }
            #[cfg(test)]
            mod tests { fn entropy(p: f64) -> f64 { p + 1.0 } }
            #[cfg(test)]
            use core::f64;
        "#;
        assert_eq!(in_coder(text), Vec::<String>::new());
        let complaints = in_coder("#[cfg(test)]\nmod tests {}\nfn a(x: f32) {}");
        assert_eq!(complaints.len(), 1, "what follows the tests counts again: {complaints:?}");
    }

    #[test]
    fn unsafe_has_its_homes() {
        let text = "#[cfg(test)] mod tests { fn a() { unsafe { b() } } }";
        assert_eq!(in_coder(text).len(), 1);
        assert_eq!(breaches(Path::new("crates/kernels/src/lib.rs"), text).len(), 1);
        for home in ["crates/kernels/src/arch/avx2.rs", "crates/model/src/mapping.rs"] {
            assert!(breaches(Path::new(home), text).is_empty());
        }
        assert_eq!(breaches(Path::new("crates/model/src/lib.rs"), text).len(), 1);
        assert!(in_coder("// unsafe\nconst A: &str = \"unsafe\";").is_empty());
    }

    #[test]
    fn long_and_unreadable_files_are_named() {
        assert!(in_coder(&"\n".repeat(MAX_LINES)).is_empty());
        assert!(in_coder(&"\n".repeat(MAX_LINES + 1))[0].contains("601 lines"));
        assert!(in_coder("fn a( {")[0].contains("cannot be read"));
    }
}
