//! Codecs for gradient files: the language-model prior, baselines, and the file pipeline.
