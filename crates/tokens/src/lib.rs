//! Tokenizers, legal alphabets and token datasets, with an exact inverse.
