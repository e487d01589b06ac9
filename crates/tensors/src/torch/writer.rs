//! Writing checkpoints, as `torch.save` writes an `OrderedDict` of tensors: protocol 2, a storage a tensor.
//!
//! The pickle is put together here: crates that write pickles know Python's plain values, and neither calls nor
//! persistent ids.

use std::io::{Seek, Write};

use zip::ZipWriter;

use super::tensors::{MAX_N_DIMS, MAX_N_TENSORS, MAX_NAME_BYTES};
use super::{MAX_PICKLE_BYTES, PICKLE_NAME, storage_name};
use crate::tensor_file::{TensorInfo, WriteTensor};
use crate::{Dtype, Error, FileFormat, archive};

/// The folder of all members. PyTorch takes the file's name, or this.
const PREFIX: &str = "archive/";
/// Storages begin at a multiple of this, as with `torch.save`, so that they can be mapped into memory.
const ALIGNMENT: u16 = 64;
/// The largest integer of PyTorch's sizes and strides.
const MAX_INT: u64 = i64::MAX as u64;

/// Writes a checkpoint of tensors by name, in this order.
pub(crate) fn write_checkpoint<W: Write + Seek>(
    writer: W,
    tensors: &[TensorInfo<'_>],
    write_tensor: &mut WriteTensor<'_>,
) -> Result<W, Error> {
    let pickle = pickle(tensors)?;
    let limits = [
        ("tensors", tensors.len() as u64, MAX_N_TENSORS as u64),
        ("bytes of data.pkl", pickle.len() as u64, MAX_PICKLE_BYTES),
    ];
    if let Some((what, value, limit)) = limits.into_iter().find(|(_, value, limit)| value > limit) {
        return Err(Error::LimitExceeded { format: FileFormat::Torch, what, value, limit });
    }
    let mut archive = ZipWriter::new(writer);
    let member = |archive: &mut ZipWriter<W>, name: &str, bytes: &[u8]| -> Result<(), Error> {
        archive::new_member(archive, &format!("{PREFIX}{name}"), bytes.len() as u64, ALIGNMENT)?;
        Ok(archive.write_all(bytes)?)
    };
    member(&mut archive, PICKLE_NAME, &pickle)?;
    member(&mut archive, ".format_version", b"1")?;
    member(&mut archive, ".storage_alignment", ALIGNMENT.to_string().as_bytes())?;
    member(&mut archive, "byteorder", b"little")?;
    for (index, tensor) in tensors.iter().enumerate() {
        let name = format!("{PREFIX}{}", storage_name(&index.to_string()));
        archive::new_member(&mut archive, &name, tensor.len, ALIGNMENT)?;
        write_tensor(index, &mut archive)?;
    }
    member(&mut archive, "version", b"3\n")?;
    archive.finish().map_err(|error| Error::Io(error.into()))
}

/// The pickle that says which tensors there are.
fn pickle(tensors: &[TensorInfo<'_>]) -> Result<Vec<u8>, Error> {
    let mut pickle = PickleWriter::default();
    // PROTO 2
    pickle.bytes.extend(b"\x80\x02");
    pickle.empty_ordered_dict();
    // MARK
    pickle.bytes.push(b'(');
    for (index, tensor) in tensors.iter().enumerate() {
        if tensor.name.len() > MAX_NAME_BYTES {
            return Err(tensor.invalid(format!("its name is longer than {MAX_NAME_BYTES} bytes")));
        }
        if tensor.shape.len() > MAX_N_DIMS {
            return Err(tensor.invalid(format!("PyTorch has at most {MAX_N_DIMS} dimensions")));
        }
        if tensor.shape.iter().any(|&size| size > MAX_INT) {
            return Err(tensor.invalid("a dimension is larger than PyTorch's integers"));
        }
        pickle.text(tensor.name);
        pickle.tensor(index, tensor);
    }
    // SETITEMS, STOP
    pickle.bytes.extend(b"u.");
    Ok(pickle.bytes)
}

/// What is written once and then referred to: its number in the memo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shared {
    OrderedDict,
    RebuildV2,
    RebuildV3,
    Storage,
    Cpu,
    UntypedStorage,
}

#[derive(Default)]
struct PickleWriter {
    bytes: Vec<u8>,
    memo: Vec<Shared>,
}

impl PickleWriter {
    /// BINUNICODE. Names are checked to be short.
    fn text(&mut self, text: &str) {
        self.bytes.push(b'X');
        self.bytes.extend((text.len() as u32).to_le_bytes());
        self.bytes.extend(text.as_bytes());
    }

    /// BININT1, BININT2, BININT or LONG1.
    fn int(&mut self, n: u64) {
        if let Ok(n) = u8::try_from(n) {
            self.bytes.extend([b'K', n]);
        } else if let Ok(n) = u16::try_from(n) {
            self.bytes.push(b'M');
            self.bytes.extend(n.to_le_bytes());
        } else if let Ok(n) = i32::try_from(n) {
            self.bytes.push(b'J');
            self.bytes.extend(n.to_le_bytes());
        } else {
            // Signed: sizes are checked to be positive, and strides of empty tensors mean nothing.
            self.bytes.extend([0x8a, 8]);
            self.bytes.extend(n.min(MAX_INT).to_le_bytes());
        }
    }

    /// GLOBAL
    fn global(&mut self, module: &str, name: &str) {
        self.bytes.extend(format!("c{module}\n{name}\n").as_bytes());
    }

    /// A value that is written with BINPUT the first time, and with BINGET afterwards.
    fn shared(&mut self, shared: Shared) {
        if let Some(number) = self.memo.iter().position(|&known| known == shared) {
            self.bytes.extend([b'h', number as u8]);
            return;
        }
        match shared {
            Shared::OrderedDict => self.global("collections", "OrderedDict"),
            Shared::RebuildV2 => self.global("torch._utils", "_rebuild_tensor_v2"),
            Shared::RebuildV3 => self.global("torch._utils", "_rebuild_tensor_v3"),
            Shared::Storage => self.text("storage"),
            Shared::Cpu => self.text("cpu"),
            Shared::UntypedStorage => self.global("torch.storage", "UntypedStorage"),
        }
        self.bytes.extend([b'q', self.memo.len() as u8]);
        self.memo.push(shared);
    }

    fn empty_ordered_dict(&mut self) {
        self.shared(Shared::OrderedDict);
        // EMPTY_TUPLE, REDUCE
        self.bytes.extend(b")R");
    }

    /// MARK, elements, TUPLE
    fn tuple(&mut self, elements: &[u64]) {
        self.bytes.push(b'(');
        elements.iter().for_each(|&element| self.int(element));
        self.bytes.push(b't');
    }

    /// A call of the function that makes a tensor from a part of a storage: here the whole of its own.
    fn tensor(&mut self, index: usize, tensor: &TensorInfo<'_>) {
        let storage = typed_storage(tensor.dtype);
        self.shared(if storage.is_ok() { Shared::RebuildV2 } else { Shared::RebuildV3 });
        // MARK of the arguments, MARK of the persistent id
        self.bytes.extend(b"((");
        self.shared(Shared::Storage);
        match storage {
            Ok(name) => self.global("torch", name),
            Err(_) => self.shared(Shared::UntypedStorage),
        }
        self.text(&index.to_string());
        self.shared(Shared::Cpu);
        self.int(if storage.is_ok() { tensor.len / tensor.dtype.size_bytes() } else { tensor.len });
        // TUPLE, BINPERSID
        self.bytes.extend(b"tQ");
        self.int(0);
        self.tuple(tensor.shape);
        let mut strides: Vec<u64> = Vec::with_capacity(tensor.shape.len());
        let mut next = 1u64;
        for &size in tensor.shape.iter().rev() {
            strides.push(next);
            // As PyTorch does: of an empty dimension the stride is that of one element.
            next = next.saturating_mul(size.max(1));
        }
        strides.reverse();
        self.tuple(&strides);
        // NEWFALSE: no gradient; no hooks
        self.bytes.push(0x89);
        self.empty_ordered_dict();
        if let Err(dtype) = storage {
            self.global("torch", dtype);
        }
        // TUPLE, REDUCE
        self.bytes.extend(b"tR");
    }
}

/// The storage class of a type, or the type's name if its tensors lie in untyped storages.
fn typed_storage(dtype: Dtype) -> Result<&'static str, &'static str> {
    match dtype {
        Dtype::F64 => Ok("DoubleStorage"),
        Dtype::F32 => Ok("FloatStorage"),
        Dtype::F16 => Ok("HalfStorage"),
        Dtype::BF16 => Ok("BFloat16Storage"),
        Dtype::I64 => Ok("LongStorage"),
        Dtype::I32 => Ok("IntStorage"),
        Dtype::I16 => Ok("ShortStorage"),
        Dtype::I8 => Ok("CharStorage"),
        Dtype::U8 => Ok("ByteStorage"),
        Dtype::Bool => Ok("BoolStorage"),
        Dtype::C64 => Ok("ComplexFloatStorage"),
        Dtype::C128 => Ok("ComplexDoubleStorage"),
        Dtype::U64 => Err("uint64"),
        Dtype::U32 => Err("uint32"),
        Dtype::U16 => Err("uint16"),
        Dtype::F8E4M3 => Err("float8_e4m3fn"),
        Dtype::F8E5M2 => Err("float8_e5m2"),
        Dtype::F8E4M3Fnuz => Err("float8_e4m3fnuz"),
        Dtype::F8E5M2Fnuz => Err("float8_e5m2fnuz"),
        Dtype::F8E8M0 => Err("float8_e8m0fnu"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::pickle::{Node, Pickle};
    use super::super::tensors::{self, TensorView};
    use super::*;

    #[test]
    fn pickles_say_what_the_tensors_are() {
        for dtype in Dtype::ALL {
            let shape = [70_000, 1, 300];
            let len = 21_000_000 * dtype.size_bytes();
            let info = TensorInfo { name: "layer.weight", dtype, shape: &shape, len };
            let bytes = pickle(&[TensorInfo { name: "é", dtype, shape: &[], len: dtype.size_bytes() }, info]).unwrap();
            let (pickle, root) = Pickle::read(&bytes);
            let contents = tensors::contents(&pickle, root.unwrap());
            assert!(contents.problem.is_none() && contents.left_out.n() == 0);
            let view = |name: &str, key: &str, size: &[u64], stride: &[u64]| TensorView {
                name: name.into(),
                storage_key: key.into(),
                dtype,
                storage_offset: 0,
                size: size.into(),
                stride: stride.into(),
                is_plain: true,
            };
            let expected = [view("é", "0", &[], &[]), view("layer.weight", "1", &shape, &[300, 300, 1])];
            assert_eq!(contents.tensors, expected);
        }
    }

    #[test]
    fn integers_of_every_size() {
        let n = [0, 255, 256, 65_535, 65_536, i32::MAX as u64, 1 << 31, 1 << 40, i64::MAX as u64];
        let mut writer = PickleWriter::default();
        writer.tuple(&n);
        writer.bytes.push(b'.');
        let (pickle, root) = Pickle::read(&writer.bytes);
        let Node::Sequence(ids) = pickle.node(root.unwrap()) else { panic!("no tuple") };
        let found: Vec<u64> = ids.iter().map(|&id| pickle.unsigned(id).unwrap()).collect();
        assert_eq!(found, n);
    }

    #[test]
    fn names_have_a_limit() {
        let name = "n".repeat(MAX_NAME_BYTES + 1);
        let error = pickle(&[TensorInfo { name: &name, dtype: Dtype::F32, shape: &[], len: 4 }]).unwrap_err();
        assert!(error.to_string().contains("longer than 512"), "{error}");
    }
}
