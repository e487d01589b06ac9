//! The .lmgc file: header, blocks, index, checksums and limits.
