//! A reader of pickles as data: it builds a tree of what a pickle *says* and runs none of it.
//!
//! Opcodes: CPython's `Lib/pickletools.py`, those that protocols 2 to 5 write. Nothing is imported or called; an object
//! stays a record of the callable's name and its arguments.

use std::collections::HashMap;
use std::ops::Range;

/// The most values accepted in a pickle.
const MAX_N_NODES: usize = 1 << 23;
/// The most marks open at once.
const MAX_N_MARKS: usize = 1 << 16;
const MAX_PROTOCOL: u8 = 5;

/// Index of a value in [`Pickle::node`]. Values may be shared and may form cycles.
pub(super) type NodeId = u32;

/// A piece of text, as its place in the pickle.
pub(super) type Text = Range<u32>;

/// One value.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// A value that says nothing about tensors: `None`, booleans, floats, bytes, sets, very large integers.
    Opaque,
    Int(i64),
    Text(Text),
    /// A class or function, by module and name.
    Global {
        module: Text,
        name: Text,
    },
    /// A tuple or list.
    Sequence(Vec<NodeId>),
    /// Pairs of key and value, in order. `collections.OrderedDict` too.
    Dict(Vec<(NodeId, NodeId)>),
    /// What calling `callable` with the sequence `args` would give, had we called it.
    Object {
        callable: NodeId,
        args: NodeId,
        /// Elements put in afterwards, with their key if it behaves as a dictionary.
        items: Vec<(Option<NodeId>, NodeId)>,
        /// Attributes set afterwards.
        state: Option<NodeId>,
    },
    /// A reference to something outside the pickle, by its id.
    Persistent(NodeId),
}

/// A pickle that has been read.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    bytes: &'a [u8],
    nodes: Vec<Node>,
}

impl<'a> Pickle<'a> {
    /// Reads a pickle: the values, and the root, or why there is none. The values before an error are kept.
    pub(super) fn read(bytes: &'a [u8]) -> (Self, Result<NodeId, String>) {
        let mut machine = Machine {
            pickle: Pickle { bytes, nodes: Vec::new() },
            position: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        let root = machine.run().map_err(|what| format!("at byte {}: {what}", machine.position));
        (machine.pickle, root)
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id as usize).unwrap_or(&Node::Opaque)
    }

    /// All values, in order of appearance.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The bytes of a text; UTF-8 unless the pickle is odd.
    pub(super) fn text(&self, text: &Text) -> &'a [u8] {
        self.bytes.get(text.start as usize..text.end as usize).unwrap_or_default()
    }

    /// The elements of a tuple or list.
    pub(super) fn sequence(&self, id: NodeId) -> Option<&[NodeId]> {
        if let Node::Sequence(elements) = self.node(id) { Some(elements) } else { None }
    }

    /// Module and name of a class or function.
    pub(super) fn global(&self, id: NodeId) -> Option<(&'a [u8], &'a [u8])> {
        if let Node::Global { module, name } = self.node(id) {
            Some((self.text(module), self.text(name)))
        } else {
            None
        }
    }

    /// An integer that is not negative.
    pub(super) fn unsigned(&self, id: NodeId) -> Option<u64> {
        if let Node::Int(n) = *self.node(id) { n.try_into().ok() } else { None }
    }
}

/// Pickle's stack machine, with marks kept apart from values.
struct Machine<'a> {
    pickle: Pickle<'a>,
    position: usize,
    stack: Vec<NodeId>,
    /// Heights of the stack at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u32, NodeId>,
}

type Step<T> = Result<T, &'static str>;

impl Machine<'_> {
    fn run(&mut self) -> Result<NodeId, String> {
        loop {
            let [opcode] = self.array()?;
            if opcode == b'.' {
                return Ok(self.pop()?);
            }
            let known = self.step(opcode)?;
            if !known {
                return Err(format!("opcode 0x{opcode:02x} is not one that torch.save writes"));
            }
        }
    }

    /// Carries out one opcode; false if it is not known.
    fn step(&mut self, opcode: u8) -> Step<bool> {
        match opcode {
            // PROTO, FRAME
            0x80 => match self.array()? {
                [0..=MAX_PROTOCOL] => {}
                _ => return Err("the pickle protocol is newer than 5"),
            },
            0x95 => {
                self.take(8)?;
            }
            // MARK, POP, POP_MARK, DUP
            b'(' => {
                if self.marks.len() >= MAX_N_MARKS {
                    return Err("it is nested too deep");
                }
                self.marks.push(self.stack.len());
            }
            b'0' => match self.marks.pop_if(|height| *height == self.stack.len()) {
                Some(_) => {}
                None => {
                    self.pop()?;
                }
            },
            b'1' => {
                self.pop_to_mark()?;
            }
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            _ if self.step_scalar(opcode)? => {}
            _ => return self.step_structure(opcode),
        }
        Ok(true)
    }

    /// Numbers, texts, bytes and globals.
    fn step_scalar(&mut self, opcode: u8) -> Step<bool> {
        let node = match opcode {
            // NONE, NEWTRUE, NEWFALSE
            b'N' | 0x88 | 0x89 => Node::Opaque,
            // BININT, BININT1, BININT2, LONG1, LONG4
            b'J' => Node::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Node::Int(u8::from_le_bytes(self.array()?).into()),
            b'M' => Node::Int(u16::from_le_bytes(self.array()?).into()),
            0x8a => {
                let len = self.length::<1>()?;
                self.long(len)?
            }
            0x8b => {
                let len = self.length::<4>()?;
                self.long(len)?
            }
            // BINFLOAT
            b'G' => {
                self.array::<8>()?;
                Node::Opaque
            }
            // BINSTRING, SHORT_BINSTRING, BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
            b'T' | b'X' => Node::Text(self.counted::<4>()?),
            b'U' | 0x8c => Node::Text(self.counted::<1>()?),
            0x8d => Node::Text(self.counted::<8>()?),
            // BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
            b'B' => self.opaque_bytes::<4>()?,
            b'C' => self.opaque_bytes::<1>()?,
            0x8e | 0x96 => self.opaque_bytes::<8>()?,
            // GLOBAL
            b'c' => Node::Global { module: self.line()?, name: self.line()? },
            // STACK_GLOBAL
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.pickle.node(module), self.pickle.node(name)) {
                    (Node::Text(module), Node::Text(name)) => {
                        Node::Global { module: module.clone(), name: name.clone() }
                    }
                    _ => return Err("a global's name is no text"),
                }
            }
            _ => return Ok(false),
        };
        self.push(node)?;
        Ok(true)
    }

    /// Collections, objects and the memo.
    fn step_structure(&mut self, opcode: u8) -> Step<bool> {
        match opcode {
            // EMPTY_TUPLE, EMPTY_LIST, EMPTY_DICT, EMPTY_SET
            b')' | b']' => self.push(Node::Sequence(Vec::new()))?,
            b'}' => self.push(Node::Dict(Vec::new()))?,
            0x8f => self.push(Node::Opaque)?,
            // TUPLE, LIST, TUPLE1, TUPLE2, TUPLE3
            b't' | b'l' => {
                let elements = self.pop_to_mark()?;
                self.push(Node::Sequence(elements))?;
            }
            0x85..=0x87 => {
                let n_elements = usize::from(opcode - 0x84);
                let elements = self.pop_many(n_elements)?;
                self.push(Node::Sequence(elements))?;
            }
            // DICT
            b'd' => {
                let pairs = paired(&self.pop_to_mark()?)?;
                self.push(Node::Dict(pairs))?;
            }
            // FROZENSET, ADDITEMS
            0x91 => {
                self.pop_to_mark()?;
                self.push(Node::Opaque)?;
            }
            0x90 => {
                self.pop_to_mark()?;
            }
            // APPEND, APPENDS
            b'a' => {
                let element = self.pop()?;
                self.append(&[element])?;
            }
            b'e' => {
                let elements = self.pop_to_mark()?;
                self.append(&elements)?;
            }
            // SETITEM, SETITEMS
            b's' => {
                let pair = self.pop_many(2)?;
                self.set_items(&paired(&pair)?)?;
            }
            b'u' => {
                let pairs = paired(&self.pop_to_mark()?)?;
                self.set_items(&pairs)?;
            }
            // REDUCE, NEWOBJ
            b'R' | 0x81 => {
                let (args, callable) = (self.pop()?, self.pop()?);
                self.push_object(callable, args)?;
            }
            // NEWOBJ_EX: keyword arguments are dropped
            0x92 => {
                let (_, args, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.push_object(callable, args)?;
            }
            // BUILD
            b'b' => {
                let new_state = self.pop()?;
                // Attributes of dictionaries (`OrderedDict._metadata`) and the like are not tensors' owners.
                if let Node::Object { state, .. } = self.top_node()? {
                    *state = Some(new_state);
                }
            }
            // BINPERSID
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id))?;
            }
            // BINGET, LONG_BINGET
            b'h' => {
                let [key] = self.array()?;
                self.recall(key.into())?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.recall(key)?;
            }
            // BINPUT, LONG_BINPUT, MEMOIZE
            b'q' => {
                let [key] = self.array()?;
                self.memoize(key.into())?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.memoize(key)?;
            }
            0x94 => {
                let key = u32::try_from(self.memo.len()).map_err(|_| "too many memoized values")?;
                self.memoize(key)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes the next `len` bytes.
    fn take(&mut self, len: usize) -> Step<Range<usize>> {
        let end = self.position.checked_add(len).filter(|&end| end <= self.pickle.bytes.len());
        let end = end.ok_or("it ends too early")?;
        let range = self.position..end;
        self.position = end;
        Ok(range)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let range = self.take(N)?;
        self.pickle.bytes.get(range).and_then(|bytes| bytes.try_into().ok()).ok_or("it ends too early")
    }

    /// A length of `N` little-endian bytes.
    fn length<const N: usize>(&mut self) -> Step<usize> {
        let bytes: [u8; N] = self.array()?;
        let length = bytes.iter().rev().fold(0u64, |length, &byte| (length << 8) | u64::from(byte));
        usize::try_from(length).map_err(|_| "a length is too large")
    }

    /// A text behind a length of `N` bytes.
    fn counted<const N: usize>(&mut self) -> Step<Text> {
        let len = self.length::<N>()?;
        self.take(len).and_then(text_range)
    }

    fn opaque_bytes<const N: usize>(&mut self) -> Step<Node> {
        self.counted::<N>().map(|_| Node::Opaque)
    }

    /// The text up to the end of the line.
    fn line(&mut self) -> Step<Text> {
        let rest = self.pickle.bytes.get(self.position..).unwrap_or_default();
        let len = rest.iter().position(|&byte| byte == b'\n').ok_or("a line does not end")?;
        let text = self.take(len)?;
        self.take(1)?;
        text_range(text)
    }

    /// An integer of `len` little-endian bytes in two's complement.
    fn long(&mut self, len: usize) -> Step<Node> {
        let range = self.take(len)?;
        let bytes = self.pickle.bytes.get(range).unwrap_or_default();
        if bytes.len() > 8 {
            return Ok(Node::Opaque);
        }
        let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { -1 } else { 0 };
        Ok(Node::Int(bytes.iter().rev().fold(sign, |n: i64, &byte| (n << 8) | i64::from(byte))))
    }

    fn push(&mut self, node: Node) -> Step<()> {
        if self.pickle.nodes.len() >= MAX_N_NODES {
            return Err("it holds too many values");
        }
        self.stack.push(self.pickle.nodes.len() as NodeId);
        self.pickle.nodes.push(node);
        Ok(())
    }

    fn push_object(&mut self, callable: NodeId, args: NodeId) -> Step<()> {
        let is_new_ordered_dict = self.pickle.global(callable) == Some((b"collections", b"OrderedDict"))
            && self.pickle.sequence(args).is_some_and(<[_]>::is_empty);
        self.push(if is_new_ordered_dict {
            Node::Dict(Vec::new())
        } else {
            Node::Object { callable, args, items: Vec::new(), state: None }
        })
    }

    /// Height below which the innermost mark lets nothing be taken.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Step<NodeId> {
        self.stack.get(self.floor()..).and_then(<[_]>::last).copied().ok_or("its stack is empty")
    }

    fn top_node(&mut self) -> Step<&mut Node> {
        let top = self.top()?;
        self.pickle.nodes.get_mut(top as usize).ok_or("its stack is empty")
    }

    fn pop(&mut self) -> Step<NodeId> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// The top `n` values, the deepest first.
    fn pop_many(&mut self, n: usize) -> Step<Vec<NodeId>> {
        let start = self.stack.len().checked_sub(n).filter(|&start| start >= self.floor());
        Ok(self.stack.split_off(start.ok_or("its stack is empty")?))
    }

    fn pop_to_mark(&mut self) -> Step<Vec<NodeId>> {
        let height = self.marks.pop().ok_or("a mark is missing")?;
        // Nothing below a mark is ever taken while it is open.
        Ok(self.stack.split_off(height.min(self.stack.len())))
    }

    fn append(&mut self, new_elements: &[NodeId]) -> Step<()> {
        match self.top_node()? {
            Node::Sequence(elements) => elements.extend(new_elements),
            Node::Object { items, .. } => items.extend(new_elements.iter().map(|&element| (None, element))),
            _ => return Err("elements are appended to what is no list"),
        }
        Ok(())
    }

    fn set_items(&mut self, new_pairs: &[(NodeId, NodeId)]) -> Step<()> {
        match self.top_node()? {
            Node::Dict(pairs) => pairs.extend(new_pairs),
            Node::Object { items, .. } => items.extend(new_pairs.iter().map(|&(key, value)| (Some(key), value))),
            _ => return Err("items are set in what is no dictionary"),
        }
        Ok(())
    }

    fn memoize(&mut self, key: u32) -> Step<()> {
        let top = self.top()?;
        if self.memo.len() >= MAX_N_NODES {
            return Err("it memoizes too many values");
        }
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Step<()> {
        let id = *self.memo.get(&key).ok_or("it recalls a value that was not memoized")?;
        self.stack.push(id);
        Ok(())
    }
}

fn paired(ids: &[NodeId]) -> Step<Vec<(NodeId, NodeId)>> {
    let (pairs, rest) = ids.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    } else {
        Err("a key has no value")
    }
}

fn text_range(range: Range<usize>) -> Step<Text> {
    match (u32::try_from(range.start), u32::try_from(range.end)) {
        (Ok(start), Ok(end)) => Ok(start..end),
        _ => Err("it is too long"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(bytes: &[u8]) -> Result<Node, String> {
        let (pickle, root) = Pickle::read(bytes);
        root.map(|id| pickle.node(id).clone())
    }

    #[test]
    fn integers_of_every_width() {
        for (bytes, expected) in [
            (&b"\x80\x02K\xff."[..], 255),
            (b"M\xff\xff.", 65535),
            (b"J\xff\xff\xff\xff.", -1),
            (b"\x8a\x00.", 0),
            (b"\x8a\x01\xff.", -1),
            (b"\x8a\x02\x00\x80.", -32768),
            (b"\x8a\x05\x00\x00\x00\x00\x01.", 1 << 32),
            (b"\x8b\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80.", i64::MIN),
        ] {
            assert!(matches!(root(bytes), Ok(Node::Int(n)) if n == expected), "{bytes:?}");
        }
        assert!(matches!(root(b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01."), Ok(Node::Opaque)));
    }

    #[test]
    fn a_dictionary_keeps_its_order() {
        // {'b': 1, 'a': (2, 3)}
        let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00bK\x01X\x01\x00\x00\x00aK\x02K\x03\x86u.";
        let (pickle, root) = Pickle::read(bytes);
        let Node::Dict(pairs) = pickle.node(root.unwrap()) else { panic!() };
        let keys: Vec<_> = pairs
            .iter()
            .map(|&(key, _)| if let Node::Text(text) = pickle.node(key) { pickle.text(text) } else { panic!() })
            .collect();
        assert_eq!(keys, [b"b", b"a"]);
        let elements = pickle.sequence(pairs[1].1).unwrap();
        assert_eq!(elements.iter().map(|&id| pickle.unsigned(id)).collect::<Vec<_>>(), [Some(2), Some(3)]);
    }

    #[test]
    fn calls_are_recorded_and_not_made() {
        let (pickle, root) = Pickle::read(b"cos\nsystem\n(X\x04\x00\x00\x00true\x85tR.");
        let Node::Object { callable, .. } = pickle.node(root.unwrap()) else { panic!() };
        assert_eq!(pickle.global(*callable), Some((&b"os"[..], &b"system"[..])));
    }

    #[test]
    fn a_list_may_hold_itself() {
        let (pickle, root) = Pickle::read(b"]q\x00h\x00a.");
        let root = root.unwrap();
        assert_eq!(pickle.sequence(root), Some(&[root][..]));
    }

    #[test]
    fn malformed_pickles_are_refused() {
        for bytes in [
            &b""[..],
            b".",
            b"N",
            b"0",
            b"K",
            b"(.",
            b"t.",
            b"N(\x85.",
            b"Na.",
            b"NNs.",
            b"(Nd.",
            b"h\x00.",
            b"q\x00.",
            b"cos\nsystem",
            b"X\xff\xff\xff\xffa.",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffa.",
            b"NN\x93.",
            b"\x80\x06N.",
            b"\x82\x01.",
            b"I1\n.",
        ] {
            assert!(root(bytes).is_err(), "{bytes:?}");
        }
    }
}
