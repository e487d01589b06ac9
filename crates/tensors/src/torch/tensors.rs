//! The tensors and storages that a checkpoint's pickle speaks of.

use std::collections::HashMap;

use super::pickle::{Node, NodeId, Pickle};
use crate::Dtype;
use crate::tensor_file::LeftOut;

/// How deep values are followed.
const MAX_DEPTH: u32 = 256;
/// The longest name given to a tensor; one that would be longer is named by its storage.
pub(super) const MAX_NAME_BYTES: usize = 512;
/// The longest name of a storage; PyTorch counts them.
const MAX_KEY_BYTES: usize = 64;
/// The most tensors listed; further ones are covered by their storages.
pub(super) const MAX_N_TENSORS: usize = 1 << 18;
/// How many calls may lie around a tensor that is met again.
const MAX_N_WRAPPERS: usize = 4;
/// The most dimensions of a tensor, as in PyTorch.
pub(super) const MAX_N_DIMS: usize = 64;

/// A tensor as a view of a storage. Nothing here is checked against the storage's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorView {
    /// Where it was found: dictionary keys and list positions joined with dots.
    pub(super) name: String,
    /// Name of the storage: the member `data/<key>`.
    pub(super) storage_key: String,
    pub(super) dtype: Dtype,
    /// First element, counted from the storage's start.
    pub(super) storage_offset: u64,
    pub(super) size: Vec<u64>,
    /// In elements, one a dimension.
    pub(super) stride: Vec<u64>,
    /// Whether the elements are what the storage says, without a conjugation or negation still to be done.
    pub(super) is_plain: bool,
}

/// What the pickle says of a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Storage {
    /// `None` if the type is not known here, or said differently in different places.
    pub(super) dtype: Option<Dtype>,
    pub(super) n_elements: u64,
}

/// All tensors, in the order in which they were pickled: the order of the state dict. One that stands in several places
/// is listed once.
pub(super) fn tensors(pickle: &Pickle<'_>, root: NodeId) -> Vec<TensorView> {
    let mut walk = Walk::new(pickle, false);
    walk.visit(root, 0);
    walk.contents.tensors
}

/// All that a checkpoint holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// All tensors, in the order in which they were pickled, each under all its names.
    pub(super) tensors: Vec<TensorView>,
    /// Where values lie that are not tensors.
    pub(super) left_out: LeftOut,
    /// Why some tensor is not among these.
    pub(super) problem: Option<String>,
}

/// All tensors, and what else there is.
pub(super) fn contents(pickle: &Pickle<'_>, root: NodeId) -> Contents {
    let mut walk = Walk::new(pickle, true);
    walk.visit(root, 0);
    walk.contents
}

/// All storages referred to, by key.
pub(super) fn storages(pickle: &Pickle<'_>) -> HashMap<String, Storage> {
    let mut storages: HashMap<String, Storage> = HashMap::new();
    for node in pickle.nodes() {
        let Some((key, storage)) = storage(pickle, node) else { continue };
        storages
            .entry(key)
            .and_modify(|known| {
                if *known != storage {
                    known.dtype = None;
                }
            })
            .or_insert(storage);
    }
    storages
}

/// `('storage', torch.FloatStorage, '0', 'cpu', 12)` as a persistent id: key and description.
fn storage(pickle: &Pickle<'_>, node: &Node) -> Option<(String, Storage)> {
    let Node::Persistent(id) = node else { return None };
    let &[tag, storage_type, key, _location, n_elements] = pickle.sequence(*id)? else { return None };
    let (Node::Text(tag), Node::Text(key)) = (pickle.node(tag), pickle.node(key)) else { return None };
    if pickle.text(tag) != b"storage" {
        return None;
    }
    let (_module, type_name) = pickle.global(storage_type)?;
    let key = pickle.text(key);
    if key.len() > MAX_KEY_BYTES {
        return None;
    }
    let key = std::str::from_utf8(key).ok()?.to_owned();
    Some((key, Storage { dtype: storage_dtype(type_name), n_elements: pickle.unsigned(n_elements)? }))
}

/// Element types of `torch.*Storage`.
fn storage_dtype(type_name: &[u8]) -> Option<Dtype> {
    Some(match type_name {
        b"DoubleStorage" => Dtype::F64,
        b"FloatStorage" => Dtype::F32,
        b"HalfStorage" => Dtype::F16,
        b"BFloat16Storage" => Dtype::BF16,
        b"LongStorage" => Dtype::I64,
        b"IntStorage" | b"QInt32Storage" => Dtype::I32,
        b"ShortStorage" => Dtype::I16,
        b"CharStorage" | b"QInt8Storage" => Dtype::I8,
        b"ByteStorage" | b"QUInt8Storage" | b"UntypedStorage" => Dtype::U8,
        b"BoolStorage" => Dtype::Bool,
        b"ComplexFloatStorage" => Dtype::C64,
        b"ComplexDoubleStorage" => Dtype::C128,
        _ => return None,
    })
}

/// Element types of `torch.<name>`, which tensors of untyped storages carry themselves.
fn torch_dtype(name: &[u8]) -> Option<Dtype> {
    Some(match name {
        b"float64" => Dtype::F64,
        b"float32" => Dtype::F32,
        b"float16" => Dtype::F16,
        b"bfloat16" => Dtype::BF16,
        b"float8_e4m3fn" => Dtype::F8E4M3,
        b"float8_e5m2" => Dtype::F8E5M2,
        b"float8_e4m3fnuz" => Dtype::F8E4M3Fnuz,
        b"float8_e5m2fnuz" => Dtype::F8E5M2Fnuz,
        b"float8_e8m0fnu" => Dtype::F8E8M0,
        b"int64" => Dtype::I64,
        b"int32" => Dtype::I32,
        b"int16" => Dtype::I16,
        b"int8" => Dtype::I8,
        b"uint64" => Dtype::U64,
        b"uint32" => Dtype::U32,
        b"uint16" => Dtype::U16,
        b"uint8" => Dtype::U8,
        b"bool" => Dtype::Bool,
        b"complex64" => Dtype::C64,
        b"complex128" => Dtype::C128,
        _ => return None,
    })
}

/// A walk over all values, each once, depth first.
struct Walk<'p, 'a> {
    pickle: &'p Pickle<'a>,
    is_visited: Vec<bool>,
    path: String,
    contents: Contents,
    /// Whether everything is to be accounted for, or just what tensors there are.
    is_strict: bool,
    /// Whether values here are arguments, which are not listed.
    is_in_arguments: bool,
}

impl<'p, 'a> Walk<'p, 'a> {
    fn new(pickle: &'p Pickle<'a>, is_strict: bool) -> Self {
        let is_visited = vec![false; pickle.nodes().len()];
        let contents = Contents::default();
        Self { pickle, is_visited, path: String::new(), contents, is_strict, is_in_arguments: false }
    }

    fn visit(&mut self, id: NodeId, depth: u32) {
        if depth == MAX_DEPTH || self.contents.tensors.len() >= MAX_N_TENSORS {
            self.fail("it is nested too deep or has too many tensors; save its tensors alone");
            return;
        }
        match self.is_visited.get_mut(id as usize) {
            Some(is_visited) if !*is_visited => *is_visited = true,
            _ => return self.visit_again(id),
        }
        match self.pickle.node(id) {
            Node::Sequence(elements) => self.visit_elements(elements.iter().copied(), depth),
            Node::Dict(pairs) => {
                self.visit_items(pairs.iter().map(|&(key, value)| (Some(key), value)), depth);
            }
            Node::Object { callable, args, items, state } => {
                self.visit_object(*callable, *args, depth);
                self.visit_items(items.iter().copied(), depth);
                if let Some(state) = *state {
                    self.visit(state, depth + 1);
                }
            }
            Node::Opaque | Node::Int(_) | Node::Text(_) | Node::Global { .. } | Node::Persistent(_) => {}
        }
    }

    /// Lists a tensor that has been met before under its new name.
    fn visit_again(&mut self, id: NodeId) {
        if !self.is_strict {
            return;
        }
        let mut id = id;
        for _ in 0..MAX_N_WRAPPERS {
            let Node::Object { callable, args, .. } = self.pickle.node(id) else { break };
            let args = self.pickle.sequence(*args).unwrap_or_default();
            match (self.pickle.global(*callable), args) {
                (Some((b"torch._utils", b"_rebuild_parameter" | b"_rebuild_parameter_with_state")), &[data, ..]) => {
                    id = data;
                }
                (Some((b"torch._tensor", b"_rebuild_from_type_v2")), &[function, _class, inner_args, ..]) => {
                    return self.push(self.tensor(function, self.pickle.sequence(inner_args).unwrap_or_default()));
                }
                _ => return self.push(self.tensor(*callable, args)),
            }
        }
    }

    fn push(&mut self, tensor: Option<TensorView>) {
        if let Some(tensor) = &tensor {
            if !tensor.is_plain {
                self.fail(format!(
                    "tensor \"{}\" is yet to be conjugated or negated; call resolve_conj() and resolve_neg()",
                    tensor.name
                ));
            }
            if self.path.len() > MAX_NAME_BYTES {
                self.fail(format!("a tensor's name is longer than {MAX_NAME_BYTES} bytes"));
            }
        }
        self.contents.tensors.extend(tensor);
    }

    /// Remembers why not all tensors are listed.
    fn fail(&mut self, reason: impl Into<String>) {
        if self.contents.problem.is_none() {
            self.contents.problem = Some(reason.into());
        }
    }

    fn visit_elements(&mut self, elements: impl Iterator<Item = NodeId>, depth: u32) {
        self.visit_items(elements.map(|element| (None, element)), depth);
    }

    /// Visits values under their keys, or their positions if they have none or one that is no text or integer.
    fn visit_items(&mut self, items: impl Iterator<Item = (Option<NodeId>, NodeId)>, depth: u32) {
        let parent_len = self.path.len();
        for (position, (key, value)) in items.enumerate() {
            let (holds_values, is_empty) = match self.pickle.node(value) {
                Node::Sequence(elements) => (true, elements.is_empty()),
                Node::Dict(pairs) => (true, pairs.is_empty()),
                Node::Object { .. } => (true, false),
                _ => (false, false),
            };
            let is_listed = self.is_strict && !self.is_in_arguments;
            if !holds_values && !is_listed {
                continue;
            }
            let key = key.map(|key| self.pickle.node(key));
            let step = match key {
                Some(Node::Text(text)) if text.len() <= MAX_NAME_BYTES => {
                    String::from_utf8_lossy(self.pickle.text(text)).into_owned()
                }
                Some(Node::Int(n)) => n.to_string(),
                _ => position.to_string(),
            };
            // Past the limit the path stays as it is, and tensors below it get no name.
            if self.path.len() <= MAX_NAME_BYTES {
                if !self.path.is_empty() {
                    self.path.push('.');
                }
                self.path.push_str(&step);
            }
            let (n_tensors, n_left_out) = (self.contents.tensors.len(), self.contents.left_out.n());
            if holds_values {
                self.visit(value, depth + 1);
            }
            // Of what holds no tensor at all, the whole is listed.
            if is_listed && !is_empty && self.contents.tensors.len() == n_tensors {
                self.contents.left_out.truncate(n_left_out);
                self.contents.left_out.add(|| self.path.clone());
            }
            self.path.truncate(parent_len);
        }
    }

    /// Visits what stands for a call: a tensor's rebuilding, or anything with tensors among its arguments.
    fn visit_object(&mut self, callable: NodeId, args: NodeId, depth: u32) {
        if depth == MAX_DEPTH {
            self.fail("it is nested too deep; save its tensors alone");
            return;
        }
        let elements: &'p [NodeId] = self.pickle.sequence(args).unwrap_or_default();
        match (self.pickle.global(callable), elements) {
            (Some((b"torch._utils", b"_rebuild_parameter" | b"_rebuild_parameter_with_state")), &[data, ..]) => {
                self.visit(data, depth + 1);
            }
            // A tensor with attributes: function, class, the function's arguments, attributes.
            (Some((b"torch._tensor", b"_rebuild_from_type_v2")), &[function, _class, inner_args, state, ..]) => {
                self.visit_object(function, inner_args, depth + 1);
                self.visit(state, depth + 1);
            }
            (global, _) => match self.tensor(callable, elements) {
                Some(tensor) => self.push(Some(tensor)),
                None => {
                    if let Some((b"torch._utils", function)) = global
                        && function.starts_with(b"_rebuild_")
                    {
                        self.fail(format!(
                            "tensor \"{}\" is sparse, quantized or of another kind that is not plain ({}); save it as \
                             to_dense() or dequantize() gives it",
                            self.path,
                            String::from_utf8_lossy(function)
                        ));
                    }
                    let was_in_arguments = std::mem::replace(&mut self.is_in_arguments, true);
                    self.visit(args, depth + 1);
                    self.is_in_arguments = was_in_arguments;
                }
            },
        }
    }

    /// Reads the arguments of the functions that make a tensor from storage, offset, size and stride.
    fn tensor(&self, callable: NodeId, args: &[NodeId]) -> Option<TensorView> {
        let (b"torch._utils", function) = self.pickle.global(callable)? else { return None };
        let &[storage_id, storage_offset, size, stride, ref rest @ ..] = args else { return None };
        let (storage_key, storage) = storage(self.pickle, self.pickle.node(storage_id))?;
        let (dtype, metadata) = match function {
            b"_rebuild_tensor" | b"_rebuild_tensor_v2" => (storage.dtype?, rest.get(2)),
            // Its scale lies elsewhere.
            b"_rebuild_qtensor" if !self.is_strict => (storage.dtype?, None),
            b"_rebuild_tensor_v3" => {
                let &[_requires_grad, _hooks, dtype, ..] = rest else { return None };
                (torch_dtype(self.pickle.global(dtype)?.1)?, rest.get(3))
            }
            _ => return None,
        };
        let is_plain = metadata.is_none_or(|&id| match self.pickle.node(id) {
            Node::Dict(pairs) => pairs.is_empty(),
            Node::Object { items, .. } => items.is_empty(),
            _ => true,
        });
        let numbers = |id| {
            let ids = self.pickle.sequence(id).filter(|ids| ids.len() <= MAX_N_DIMS)?;
            ids.iter().map(|&number| self.pickle.unsigned(number)).collect::<Option<Vec<u64>>>()
        };
        let is_named = !self.path.is_empty() && self.path.len() <= MAX_NAME_BYTES;
        Some(TensorView {
            name: if is_named { self.path.clone() } else { super::storage_name(&storage_key) },
            storage_key,
            dtype,
            storage_offset: self.pickle.unsigned(storage_offset)?,
            size: numbers(size)?,
            stride: numbers(stride)?,
            is_plain,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(bytes: &[u8]) -> Vec<String> {
        let (pickle, root) = Pickle::read(bytes);
        tensors(&pickle, root.unwrap()).into_iter().map(|tensor| tensor.name).collect()
    }

    /// A tensor of one float in storage 0.
    const TENSOR: &[u8] = b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\n\
        U\x010U\x03cpuK\x01tQK\x00K\x01\x85K\x01\x85\x89NtR";

    #[test]
    fn what_a_tensor_says_of_itself() {
        let bytes = [b"]", TENSOR, b"a."].concat();
        let (pickle, root) = Pickle::read(&bytes);
        let expected = TensorView {
            name: "0".to_owned(),
            storage_key: "0".to_owned(),
            dtype: Dtype::F32,
            storage_offset: 0,
            size: vec![1],
            stride: vec![1],
            is_plain: true,
        };
        assert_eq!(tensors(&pickle, root.unwrap()), [expected]);
        let expected = Storage { dtype: Some(Dtype::F32), n_elements: 1 };
        assert_eq!(storages(&pickle), HashMap::from([("0".to_owned(), expected)]));
    }

    #[test]
    fn a_tensor_reached_twice_is_listed_once() {
        let bytes = [b"}(U\x01a", TENSOR, b"q\x00U\x01bh\x00u."].concat();
        assert_eq!(names(&bytes), ["a"]);
    }

    #[test]
    fn a_tensor_alone_or_of_a_long_name_is_named_by_its_storage() {
        assert_eq!(names(&[TENSOR, b"."].concat()), ["data/0"]);
        let long = [&b"}X\x01\x02\0\0"[..], &[b'n'; 513], TENSOR, b"s."].concat();
        assert_eq!(names(&long), ["0"]);
        let long = [&b"}X\x00\x02\0\0"[..], &[b'n'; 512], b"]", TENSOR, b"as."].concat();
        assert_eq!(names(&long), ["data/0"]);
    }

    #[test]
    fn what_lies_too_deep_is_not_followed() {
        let nested = |depth: usize| names(&[&b"]".repeat(depth)[..], TENSOR, &b"a".repeat(depth), b"."].concat()).len();
        assert_eq!(nested(200), 1);
        assert_eq!(nested(1000), 0);
        assert_eq!(nested(1_000_000), 0);
    }

    #[test]
    fn cycles_end() {
        assert_eq!(names(&[b"]q\x00h\x00a", TENSOR, b"a."].concat()), ["1"]);
        // A call whose arguments hold the call itself.
        let function = b"ctorch._tensor\n_rebuild_from_type_v2\nq\x01";
        assert_eq!(names(&[&b"]q\x00("[..], function, b"Nh\x00Ne0h\x01h\x00R."].concat()), [""; 0]);
    }
}
