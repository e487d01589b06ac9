//! Whole files: written, read, damaged, compared with the specification.

mod damage;
mod files;
mod golden;
mod round_trip;
mod salvage;
