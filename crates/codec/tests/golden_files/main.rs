//! What is promised about files: every version reads those of every version before it ([`files`]), and they do not become larger
//! unnoticed ([`sizes`]).

#[path = "../common/cases.rs"]
mod cases;
#[path = "../common/mod.rs"]
mod common;
mod files;
#[path = "../common/originals.rs"]
mod originals;
mod sizes;
