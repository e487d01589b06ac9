//! Tensor files as *spans and skeleton*: where each tensor's bytes lie, and everything else.
//!
//! [`find_spans`] looks at a file's content (never at its name) and says where the tensors lie that are stored
//! contiguous and uncompressed: safetensors, npy, npz, PyTorch zip checkpoints and GGUF. What no span covers is the
//! skeleton ([`Layout::skeleton_ranges`]); both together tile the file exactly, so any file can be rebuilt byte for
//! byte. A file of no known format, or a damaged one, is a single raw span.
//!
//! The parsers read only headers, never tensor data, check every number they meet, and execute nothing: a PyTorch
//! pickle is read as data.
//!
//! [`safetensors`] and [`gguf`] also offer strict readers for callers who need the tensors themselves, and [`TensorFile`]
//! carries the tensors of one file over to a file of another format.
//!
//! ```
//! use std::io::Cursor;
//! let npy = b"\x93NUMPY\x01\x00\x38\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}\nABCDEFGH";
//! let layout = lmgc_tensors::find_spans(&mut Cursor::new(npy)).unwrap();
//! assert_eq!(layout.format, lmgc_tensors::FileFormat::Npy);
//! assert_eq!((layout.spans[0].offset, layout.spans[0].len), (66, 8));
//! assert_eq!(layout.skeleton_ranges(), [0..66]);
//! ```

mod archive;
mod dtype;
mod error;
mod find;
pub mod gguf;
mod layout;
mod notes;
mod npy;
pub mod safetensors;
mod source;
mod tensor_file;
mod torch;

pub use dtype::Dtype;
pub use error::Error;
pub use find::find_spans;
pub use layout::{FileFormat, Layout, PARAMETER_ORDER_KEY, Span};
pub use tensor_file::{LeftOut, OutputFormat, TensorFile, TensorInfo};
