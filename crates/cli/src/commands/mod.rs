//! One module a verb.

pub(crate) mod bench;
pub(crate) mod bench_model;
pub(crate) mod collect;
pub(crate) mod compress;
pub(crate) mod convert;
mod damage;
pub(crate) mod decompress;
pub(crate) mod demo;
pub(crate) mod inspect;
pub(crate) mod model;
pub(crate) mod report;
pub(crate) mod selftest;
pub(crate) mod sweep;
pub(crate) mod tokenize;
pub(crate) mod verify;
