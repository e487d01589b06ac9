//! Bytes to text and back: LM-GC's hexadecimal and Latin-1 formats.
