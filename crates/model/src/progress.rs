/// Who is told how far copying or downloading has come.
pub trait Progress {
    /// A file of `n_bytes` begins, or begins again.
    fn begin(&self, file: &str, n_bytes: u64);
    /// So many more bytes of it are here.
    fn advance(&self, n_bytes: u64);
    /// The file is complete, or will not be.
    fn end(&self);
}

/// Tells nobody.
impl Progress for () {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
}
