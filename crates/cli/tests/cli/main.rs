//! The `lmgc` program as people run it: a process, its files, its messages and its exit codes.

mod bench;
mod collect;
mod convert;
mod errors;
mod faults;
mod files;
mod gradients;
mod lm;
mod models;
mod reference;
mod reports;
mod resume;
mod sandbox;
mod sweep;
