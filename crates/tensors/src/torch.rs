//! PyTorch checkpoints: zip archives that `torch.save` writes since version 1.6.
//!
//! An archive `x` holds `x/data.pkl`, a pickle that says which tensors there are and which part of which storage each
//! one views, and the storages themselves, uncompressed, as `x/data/0`, `x/data/1` ...; `x/byteorder` says `little` or
//! `big`. Format: PyTorch's `torch/serialization.py` and `torch/_utils.py`. The pickle is read as data, never run.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek};

use crate::archive::{Member, Place};
use crate::layout::checked_len_bytes;
use crate::notes::Notes;
use crate::source::Source;
use crate::tensor_file::{LeftOut, StoredTensor};
use crate::{Dtype, Error, FileFormat, Layout, Span};

mod pickle;
mod tensors;
mod writer;

use pickle::Pickle;
use tensors::{Storage, TensorView};
pub(crate) use writer::write_checkpoint;

/// How a checkpoint of before version 1.6 begins: protocol 2, and a magic number as a ten-byte integer.
pub(crate) const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// The longest pickle read; one takes some hundred bytes a tensor.
const MAX_PICKLE_BYTES: u64 = 64 << 20;
const PICKLE_NAME: &str = "data.pkl";

/// Whether an archive is a checkpoint: the part of its members' names before `data.pkl`, with the slash.
pub(crate) fn archive_prefix(members: &[Member]) -> Option<&str> {
    members.iter().find_map(|member| {
        let prefix = member.name.strip_suffix(PICKLE_NAME)?;
        (prefix.is_empty() || prefix.ends_with('/')).then_some(prefix)
    })
}

/// What is said of a checkpoint of before version 1.6.
pub(crate) fn legacy() -> Error {
    Error::Unsupported {
        format: FileFormat::Torch,
        what: "a checkpoint as PyTorch wrote them before 1.6; torch.load and torch.save convert it".to_owned(),
    }
}

/// Members that say how a checkpoint is stored, and nothing of what.
const FORM_NAMES: [&str; 6] =
    [PICKLE_NAME, "byteorder", "version", ".format_version", ".storage_alignment", ".data/serialization_id"];

/// The tensors of a checkpoint all of whose members are stored, each under all its names; errors where one cannot be
/// had exactly.
pub(crate) fn read_tensors<R: Read + Seek>(
    source: &mut Source<'_, R>,
    members: &[Member],
    prefix: &str,
    left_out: &mut LeftOut,
) -> Result<Vec<StoredTensor>, Error> {
    let is_big_endian = is_big_endian(source, members, prefix)?;
    let mut storages = HashMap::new();
    let mut pickle_place = None;
    for member in members {
        let name = member.name.strip_prefix(prefix).unwrap_or(&member.name);
        if name == PICKLE_NAME {
            pickle_place = member.stored;
        } else if let (Some(key), Some(place)) = (name.strip_prefix("data/"), member.stored) {
            storages.insert(key, place);
        } else if !FORM_NAMES.contains(&name) {
            left_out.add(|| format!("member {name}"));
        }
    }
    let place = pickle_place.ok_or_else(|| source.corrupt(0, "data.pkl is missing"))?;
    let bytes = source.read_at("data.pkl", place.offset, place.len, MAX_PICKLE_BYTES)?;
    let (pickle, root) = Pickle::read(&bytes);
    let root = root.map_err(|reason| source.corrupt(place.offset, format!("data.pkl is not understood: {reason}")))?;
    let contents = tensors::contents(&pickle, root);
    if let Some(what) = contents.problem {
        return Err(Error::Unsupported { format: source.format(), what });
    }
    left_out.extend(contents.left_out);
    let mut tensors = Vec::with_capacity(contents.tensors.len());
    for view in contents.tensors {
        let TensorView { name, storage_key, dtype, storage_offset, size, stride, .. } = view;
        let Some(&place) = storages.get(storage_key.as_str()) else {
            return Err(
                source.corrupt(place.offset, format!("storage \"{storage_key}\" of tensor \"{name}\" is missing"))
            );
        };
        let start = storage_offset.checked_mul(dtype.size_bytes()).and_then(|start| start.checked_add(place.offset));
        if size.len() != stride.len() {
            return Err(source.corrupt(place.offset, format!("tensor \"{name}\" has {} strides", stride.len())));
        }
        let mut tensor = StoredTensor::new(name, dtype, size, start.unwrap_or(u64::MAX));
        tensor.stride = stride;
        tensor.is_big_endian = is_big_endian;
        tensor.check(source, place)?;
        tensors.push(tensor);
    }
    Ok(tensors)
}

fn is_big_endian<R: Read + Seek>(source: &mut Source<'_, R>, members: &[Member], prefix: &str) -> Result<bool, Error> {
    let member = members.iter().find(|member| member.name.strip_prefix(prefix) == Some("byteorder"));
    match member.and_then(|member| member.stored) {
        Some(place) => Ok(place.len == 3 && source.array_at::<3>("byte order", place.offset)? == *b"big"),
        None => Ok(false),
    }
}

/// The name given to bytes of a storage that no tensor accounts for.
fn storage_name(key: &str) -> String {
    format!("data/{key}")
}

pub(crate) fn read_layout<R: Read + Seek>(
    source: &mut Source<'_, R>,
    members: &[Member],
    prefix: &str,
) -> Result<Layout, Error> {
    let mut notes = Notes::default();
    let member = |name: &str| members.iter().find(|member| member.name.strip_prefix(prefix) == Some(name));

    let is_big_endian = is_big_endian(source, members, prefix)?;
    let mut views = Vec::new();
    let mut described = HashMap::new();
    match member(PICKLE_NAME).and_then(|member| member.stored) {
        None => notes.add("data.pkl is compressed, so tensors have no names"),
        Some(place) => match source.read_at("data.pkl", place.offset, place.len, MAX_PICKLE_BYTES) {
            Err(Error::Io(error)) => return Err(Error::Io(error)),
            Err(reason) => notes.add(format!("tensors have no names: {reason}")),
            Ok(bytes) => {
                let (pickle, root) = Pickle::read(&bytes);
                described = tensors::storages(&pickle);
                match root {
                    Ok(root) => views = tensors::tensors(&pickle, root),
                    Err(reason) => notes.add(format!("data.pkl is not understood, so tensors have no names: {reason}")),
                }
            }
        },
    }

    let mut cover = Cover { is_big_endian, described, storages: BTreeMap::new(), spans: Vec::new(), notes };
    for member in members {
        if let Some(key) = member.name.strip_prefix(prefix).and_then(|name| name.strip_prefix("data/"))
            && let Some(place) = member.stored
        {
            cover.storages.insert(key, StorageCover { place, covered: BTreeMap::new() });
        }
    }
    cover.add_tensors(&views);
    cover.add_leftovers();
    if is_big_endian {
        cover.notes.add("the file is big-endian: elements are given as bytes");
    }
    Layout::with_declared_order(FileFormat::Torch, source.file_len(), cover.spans, cover.notes.into_note())
}

/// A storage and the parts of it that tensors cover.
struct StorageCover {
    place: Place,
    /// By first byte, counted from the storage's start: end, and element type. Disjoint and not empty.
    covered: BTreeMap<u64, (u64, Dtype)>,
}

/// Spans as they come to cover the storages.
struct Cover<'m> {
    is_big_endian: bool,
    described: HashMap<String, Storage>,
    storages: BTreeMap<&'m str, StorageCover>,
    spans: Vec<Span>,
    notes: Notes,
}

impl Cover<'_> {
    /// Gives each tensor a span if its elements lie dense in its storage and no earlier tensor has any of them.
    fn add_tensors(&mut self, views: &[TensorView]) {
        let (mut n_missing, mut n_shared, mut n_scattered, mut n_permuted, mut n_outside) = (0, 0, 0, 0, 0);
        for view in views {
            let Some(StorageCover { place, covered }) = self.storages.get_mut(view.storage_key.as_str()) else {
                n_missing += 1;
                continue;
            };
            let Some((shape, is_permuted)) = dense_shape(&view.size, &view.stride) else {
                n_scattered += 1;
                continue;
            };
            let element_bytes = view.dtype.size_bytes();
            let bounds = checked_len_bytes(&shape, element_bytes).and_then(|len| {
                // Of an empty tensor the place is of no account.
                let start = if len == 0 { 0 } else { view.storage_offset.checked_mul(element_bytes)? };
                Some((start, start.checked_add(len).filter(|&end| end <= place.len)?))
            });
            let Some((start, end)) = bounds else {
                n_outside += 1;
                continue;
            };
            if end > start {
                let before = covered.range(..end).next_back();
                if before.is_some_and(|(_, &(before_end, _))| before_end > start) {
                    n_shared += 1;
                    continue;
                }
                covered.insert(start, (end, view.dtype));
            }
            n_permuted += usize::from(is_permuted);
            let offset = place.offset + start;
            self.spans.push(self.element_span(view.name.clone(), view.dtype, shape, offset, end - start));
        }
        let notes = &mut self.notes;
        notes.add_count(n_shared, "tensors share bytes with an earlier one, which alone is named");
        notes.add_count(n_scattered, "tensors are strided views and covered by their storages");
        notes.add_count(n_permuted, "tensors are stored permuted: their shapes are given in memory order");
        notes.add_count(n_missing, "tensors lie in storages that are compressed or missing");
        notes.add_count(n_outside, "tensors reach past the end of their storages");
    }

    /// Covers what tensors left of the storages with one-dimensional spans.
    fn add_leftovers(&mut self) {
        let mut leftovers = Vec::new();
        for (key, StorageCover { place, covered }) in &self.storages {
            // A description that does not fit the storage's size is not believed.
            let described = self.described.get(*key).and_then(|storage| {
                storage.dtype.filter(|dtype| storage.n_elements.checked_mul(dtype.size_bytes()) == Some(place.len))
            });
            // Views of an untyped storage know its elements better.
            let viewed = covered.values().next().map(|&(_, dtype)| dtype);
            let dtype = viewed.or(described).unwrap_or(Dtype::U8);

            let starts = covered.values().map(|&(end, _)| end);
            let ends = covered.keys().copied().chain([place.len]);
            for (start, end) in [0].into_iter().chain(starts).zip(ends).filter(|(start, end)| start < end) {
                let is_aligned = start % dtype.size_bytes() == 0 && end % dtype.size_bytes() == 0;
                let dtype = if is_aligned { dtype } else { Dtype::U8 };
                let (first, last) = (start / dtype.size_bytes(), end / dtype.size_bytes());
                let name = match storage_name(key) {
                    name if (start, end) == (0, place.len) => name,
                    name => format!("{name}[{first}:{last}]"),
                };
                leftovers.push(self.element_span(name, dtype, vec![last - first], place.offset + start, end - start));
            }
        }
        leftovers.sort_by_key(|span| span.offset);
        self.spans.append(&mut leftovers);
    }

    /// A span of these elements, as bytes if they are big-endian.
    fn element_span(&self, name: String, dtype: Dtype, mut shape: Vec<u64>, offset: u64, len: u64) -> Span {
        if self.is_big_endian && dtype.size_bytes() > 1 {
            shape.push(dtype.size_bytes());
            return Span { name, dtype: Dtype::U8, shape, offset, len };
        }
        Span { name, dtype, shape, offset, len }
    }
}

/// The shape in memory order, and whether that is not the tensor's own, of a tensor whose elements lie without gaps or
/// repetition; `None` for any other.
fn dense_shape(size: &[u64], stride: &[u64]) -> Option<(Vec<u64>, bool)> {
    if size.len() != stride.len() {
        return None;
    }
    if size.contains(&0) {
        return Some((size.to_vec(), false));
    }
    // A dimension of one element is never stepped along, so its stride means nothing.
    let mut dims: Vec<(u64, u64)> =
        size.iter().zip(stride).map(|(&size, &stride)| (size, stride)).filter(|&(size, _)| size > 1).collect();
    let is_permuted = !dims.is_sorted_by_key(|&(_, stride)| std::cmp::Reverse(stride));
    dims.sort_by_key(|&(_, stride)| std::cmp::Reverse(stride));
    let mut expected_stride = 1u64;
    for &(size, stride) in dims.iter().rev() {
        if stride != expected_stride {
            return None;
        }
        expected_stride = expected_stride.checked_mul(size)?;
    }
    let shape = if is_permuted { dims.iter().map(|&(size, _)| size).collect() } else { size.to_vec() };
    Some((shape, is_permuted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_tensors() {
        for (size, stride, expected) in [
            (&[][..], &[][..], Some((vec![], false))),
            (&[2, 3], &[3, 1], Some((vec![2, 3], false))),
            (&[2, 1, 3], &[3, 99, 1], Some((vec![2, 1, 3], false))),
            (&[2, 3], &[1, 2], Some((vec![3, 2], true))),
            // channels_last: N, C, H, W lies as N, H, W, C.
            (&[2, 3, 4, 5], &[60, 1, 15, 3], Some((vec![2, 4, 5, 3], true))),
            (&[0, 3], &[7, 7], Some((vec![0, 3], false))),
            (&[2, 3], &[6, 2], None),
            (&[2, 3], &[4, 1], None),
            (&[4], &[0], None),
            (&[2, 2], &[1, 1], None),
            (&[2, 3], &[3], None),
            (&[1 << 40, 1 << 40], &[1 << 40, 1], None),
        ] {
            assert_eq!(dense_shape(size, stride), expected, "{size:?} {stride:?}");
        }
    }
}
