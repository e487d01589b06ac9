//! Spans and skeleton.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::{Dtype, Error};

/// Metadata key under which a file keeps its parameter order: a JSON array of all tensor names.
pub const PARAMETER_ORDER_KEY: &str = "lmgc.parameter_order";

/// One tensor's bytes: contiguous, uncompressed, little-endian.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Span {
    /// The tensor's name in the file; empty for a raw file.
    pub name: String,
    /// Element type. [`Dtype::U8`] also for elements that are big-endian or of a type not listed there; such a
    /// span's shape has one more dimension at the end, the bytes of an element, or is one-dimensional.
    pub dtype: Dtype,
    /// Number of elements along each dimension *in memory order*, the slowest first. Equal to the tensor's own shape
    /// unless the file stores it permuted (Fortran order, `channels_last`). Empty for a 0-d tensor, of one element.
    pub shape: Vec<u64>,
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Bytes: the shape's product times the element size. May be 0.
    pub len: u64,
}

impl Span {
    /// One past the last byte.
    pub(crate) fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.len)
    }

    /// Untyped bytes.
    pub(crate) fn bytes(name: impl Into<String>, offset: u64, len: u64) -> Self {
        Self { name: name.into(), dtype: Dtype::U8, shape: vec![len], offset, len }
    }
}

/// Bytes of a tensor of this shape; `None` when that overflows.
pub(crate) fn checked_len_bytes(shape: &[u64], element_bytes: u64) -> Option<u64> {
    // A zero anywhere makes the tensor empty, however large the other dimensions are.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(element_bytes, |len, &dim| len.checked_mul(dim))
}

/// The kinds of file told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FileFormat {
    /// Hugging Face safetensors.
    Safetensors,
    /// NumPy `.npy`, one array.
    Npy,
    /// NumPy `.npz`, a zip of arrays.
    Npz,
    /// PyTorch zip checkpoint (`torch.save` since 1.6).
    Torch,
    /// GGML's GGUF.
    Gguf,
    /// Anything else.
    Raw,
}

impl FileFormat {
    /// Every format, in declaration order.
    pub const ALL: [Self; 6] = [Self::Safetensors, Self::Npy, Self::Npz, Self::Torch, Self::Gguf, Self::Raw];

    /// The format's name, in lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Npy => "npy",
            Self::Npz => "npz",
            Self::Torch => "torch",
            Self::Gguf => "gguf",
            Self::Raw => "raw",
        }
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FileFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|format| format.as_str() == name)
            .ok_or_else(|| Error::UnknownFormat(name.to_owned()))
    }
}

/// Where the tensors of a file lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What the file is.
    pub format: FileFormat,
    /// The whole file's bytes.
    pub file_len: u64,
    /// Tensors by ascending offset, disjoint and in bounds. Names need not be unique (a zip may repeat one).
    pub spans: Vec<Span>,
    /// What the file says about itself, as text: safetensors' `__metadata__`, GGUF's scalar values; else empty.
    pub metadata: BTreeMap<String, String>,
    /// Why a file that looked like some format is treated as raw, or why part of it has less structure than it seems.
    pub note: Option<String>,
    /// Span indices in the order in which the file itself lists its tensors, where that is known and not the byte
    /// order: PyTorch's state-dict order. A permutation of all indices.
    pub declared_order: Option<Vec<usize>>,
}

impl Layout {
    /// The layout of a file without structure: one span, or none when the file is empty.
    #[must_use]
    pub fn raw(file_len: u64, note: Option<String>) -> Self {
        let spans = if file_len == 0 { Vec::new() } else { vec![Span::bytes("", 0, file_len)] };
        Self { format: FileFormat::Raw, file_len, spans, metadata: BTreeMap::new(), note, declared_order: None }
    }

    /// Sorts `spans` by place and checks that they are disjoint, in bounds and as long as their shapes say.
    pub(crate) fn new(
        format: FileFormat,
        file_len: u64,
        mut spans: Vec<Span>,
        metadata: BTreeMap<String, String>,
        note: Option<String>,
    ) -> Result<Self, Error> {
        // Empty spans first, so that each span ends where the next begins or before.
        spans.sort_by_key(|span| (span.offset, span.len));
        let mut covered_to = 0;
        for span in &spans {
            let corrupt = |what| Error::Corrupt { format, what, offset: span.offset };
            if span.offset < covered_to {
                return Err(corrupt(format!("tensor \"{}\" overlaps another", span.name)));
            }
            covered_to = span
                .end()
                .filter(|&end| end <= file_len)
                .ok_or_else(|| corrupt(format!("tensor \"{}\" reaches past the end of the file", span.name)))?;
            if checked_len_bytes(&span.shape, span.dtype.size_bytes()) != Some(span.len) {
                return Err(corrupt(format!("tensor \"{}\" is not as long as its shape says", span.name)));
            }
        }
        Ok(Self { format, file_len, spans, metadata, note, declared_order: None })
    }

    /// Like [`Layout::new`] for spans given in the order that the file declares.
    pub(crate) fn with_declared_order(
        format: FileFormat,
        file_len: u64,
        spans: Vec<Span>,
        note: Option<String>,
    ) -> Result<Self, Error> {
        let mut by_place: Vec<usize> = (0..spans.len()).collect();
        by_place.sort_by_key(|&declared| spans.get(declared).map(|span| (span.offset, span.len)));
        let mut order = vec![0; spans.len()];
        for (index, &declared) in by_place.iter().enumerate() {
            order[declared] = index;
        }
        let mut layout = Self::new(format, file_len, spans, BTreeMap::new(), note)?;
        layout.declared_order = Some(order).filter(|order| !order.is_sorted());
        Ok(layout)
    }

    /// The bytes of the file that no span covers, ascending, disjoint, none empty and none adjacent. Together with the
    /// spans they tile the file exactly.
    #[must_use]
    pub fn skeleton_ranges(&self) -> Vec<Range<u64>> {
        let mut ranges = Vec::new();
        let mut covered_to = 0;
        // An empty span covers nothing and divides nothing.
        for span in self.spans.iter().filter(|span| span.len > 0) {
            if span.offset > covered_to {
                ranges.push(covered_to..span.offset);
            }
            covered_to = span.offset.saturating_add(span.len);
        }
        if covered_to < self.file_len {
            ranges.push(covered_to..self.file_len);
        }
        ranges
    }

    /// Indices of all spans in parameter order: that of the metadata key [`PARAMETER_ORDER_KEY`] when it is a JSON
    /// array that names every span exactly once, else [`Layout::declared_order`], else the order of the bytes.
    #[must_use]
    pub fn parameter_order(&self) -> Vec<usize> {
        self.metadata
            .get(PARAMETER_ORDER_KEY)
            .and_then(|json| self.order_of_names(json))
            .or_else(|| self.declared_order.clone())
            .unwrap_or_else(|| (0..self.spans.len()).collect())
    }

    fn order_of_names(&self, json: &str) -> Option<Vec<usize>> {
        let names: Vec<String> = serde_json::from_str(json).ok()?;
        let mut index_of: HashMap<&str, usize> =
            self.spans.iter().enumerate().map(|(index, span)| (span.name.as_str(), index)).collect();
        if names.len() != self.spans.len() || index_of.len() != self.spans.len() {
            return None;
        }
        names.iter().map(|name| index_of.remove(name.as_str())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(name: &str, offset: u64, len: u64) -> Span {
        Span::bytes(name, offset, len)
    }

    fn layout(file_len: u64, spans: Vec<Span>) -> Result<Layout, Error> {
        Layout::new(FileFormat::Npz, file_len, spans, BTreeMap::new(), None)
    }

    #[test]
    fn format_names_come_back() {
        for format in FileFormat::ALL {
            assert_eq!(format.as_str().parse::<FileFormat>().unwrap(), format);
        }
        assert!(matches!("NPY".parse::<FileFormat>(), Err(Error::UnknownFormat(_))));
    }

    #[test]
    fn the_skeleton_is_what_spans_leave() {
        let made = layout(20, vec![span("b", 8, 4), span("a", 2, 3), span("e", 6, 0), span("c", 12, 4)]).unwrap();
        let names: Vec<_> = made.spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["a", "e", "b", "c"]);
        assert_eq!(made.skeleton_ranges(), [0..2, 5..8, 16..20]);
        let only_skeleton = layout(3, vec![span("e", 1, 0)]).unwrap().skeleton_ranges();
        assert!(matches!(only_skeleton.as_slice(), [Range { start: 0, end: 3 }]));
        assert_eq!(layout(0, Vec::new()).unwrap().skeleton_ranges(), []);
        assert_eq!(Layout::raw(7, None).skeleton_ranges(), []);
        assert_eq!(Layout::raw(0, None).spans, []);
    }

    #[test]
    fn an_empty_span_goes_before_the_full_one_at_its_place() {
        let made = layout(8, vec![span("full", 4, 4), span("empty", 4, 0), span("last", 8, 0)]).unwrap();
        let names: Vec<_> = made.spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["empty", "full", "last"]);
    }

    #[test]
    fn bad_spans_are_refused() {
        for spans in [
            vec![span("a", 0, 5), span("b", 4, 2)],
            vec![span("a", 0, 5), span("b", 4, 0)],
            vec![span("a", 0, 5), span("b", 0, 5)],
            vec![span("a", 9, 2)],
            vec![span("a", u64::MAX, 2)],
            vec![Span { shape: vec![u64::MAX, 3], ..span("a", 0, 5) }],
            vec![Span { shape: vec![4], ..span("a", 0, 5) }],
        ] {
            assert!(matches!(layout(10, spans.clone()), Err(Error::Corrupt { .. })), "{spans:?}");
        }
    }

    #[test]
    fn parameter_order_comes_from_the_metadata_if_it_names_all_once() {
        let mut made = layout(9, vec![span("a", 0, 3), span("b", 3, 3), span("c", 6, 3)]).unwrap();
        assert_eq!(made.parameter_order(), [0, 1, 2]);
        made.declared_order = Some(vec![1, 0, 2]);
        assert_eq!(made.parameter_order(), [1, 0, 2]);
        let mut order_for = |json: &str| {
            made.metadata.insert(PARAMETER_ORDER_KEY.to_owned(), json.to_owned());
            made.parameter_order()
        };
        assert_eq!(order_for(r#"["c","a","b"]"#), [2, 0, 1]);
        for invalid in [r#"["c","a"]"#, r#"["c","a","a"]"#, r#"["c","a","x"]"#, r#"["c","a","b","b"]"#, "c", "{}"] {
            assert_eq!(order_for(invalid), [1, 0, 2], "{invalid}");
        }
    }

    #[test]
    fn declared_order_survives_sorting() {
        let spans = vec![span("late", 6, 3), span("early", 0, 3), span("middle", 3, 3)];
        let made = Layout::with_declared_order(FileFormat::Torch, 9, spans, None).unwrap();
        let order: Vec<_> = made.parameter_order().iter().map(|&index| made.spans[index].name.as_str()).collect();
        assert_eq!(order, ["late", "early", "middle"]);
        let sorted = vec![span("a", 0, 3), span("b", 3, 3)];
        let made = Layout::with_declared_order(FileFormat::Torch, 9, sorted, None).unwrap();
        assert_eq!(made.declared_order, None);
    }
}
