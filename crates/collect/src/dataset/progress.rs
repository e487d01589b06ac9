/// What a data set is being made ready with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataWork<'a> {
    /// A file comes from the network; counted in bytes.
    Download {
        /// The file's name.
        file: &'a str,
    },
    /// A file that is there already is compared with its checksum; counted in bytes.
    Check {
        /// The file's name.
        file: &'a str,
    },
    /// An archive is unpacked; counted in bytes of the archive.
    Unpack {
        /// The archive's name.
        file: &'a str,
    },
    /// Images are decoded and resized; counted in images.
    Decode {
        /// Which images, for instance `tinyimagenet`.
        what: &'a str,
    },
}

/// Is told how far downloads and decoding have come. `()` ignores it.
///
/// One piece of work follows another: [`begin`](Self::begin), any number of [`advance`](Self::advance) (from several
/// threads while images are decoded), [`end`](Self::end). A download that has to start over begins anew without an end
/// before it.
pub trait DataProgress: Send + Sync {
    /// Work of `n_total` bytes or images begins, of which `n_done` were done in an earlier run.
    fn begin(&self, work: DataWork<'_>, n_total: u64, n_done: u64);

    /// So many bytes or images more are done.
    fn advance(&self, n: u64);

    /// The work has ended, well or not.
    fn end(&self);
}

impl DataProgress for () {
    fn begin(&self, _: DataWork<'_>, _: u64, _: u64) {}

    fn advance(&self, _: u64) {}

    fn end(&self) {}
}
