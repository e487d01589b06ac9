//! Taking numbers and strings from bytes.
