//! Which codec decodes a block, and the codecs that are libraries.
