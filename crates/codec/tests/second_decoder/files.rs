//! The container, and the codecs that need no document of their own.

#[test]
fn placeholder() {}
