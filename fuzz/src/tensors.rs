//! Tensor files.

use std::io::{Cursor, Write};

use lmgc_tensors::gguf::GgufFile;
use lmgc_tensors::{Error, OutputFormat, TensorFile, find_spans, safetensors};

/// Tensors that repeat their elements may be gibibytes; here they are left alone beyond this.
const MAX_TENSOR_BYTES: u64 = 4 << 20;

/// A safetensors file.
pub fn safetensors(data: &[u8]) {
    if let Ok(layout) = safetensors::read_layout_strict(&mut Cursor::new(data)) {
        assert_eq!(find_spans(&mut Cursor::new(data)).ok(), Some(layout));
    }
    tensor_file(data);
}

/// A GGUF file.
pub fn gguf(data: &[u8]) {
    if let Ok(file) = GgufFile::parse(&mut Cursor::new(data)) {
        for tensor in &file.tensors {
            let end = tensor.offset.checked_add(tensor.len);
            assert!(end.is_some_and(|end| end <= data.len() as u64), "{tensor:?}");
            let _ = tensor.n_elements();
            assert!(file.tensor(&tensor.name).is_some());
        }
    }
    tensor_file(data);
}

/// A PyTorch pickle, with three storages beside it in the archive that PyTorch would make.
pub fn torch_pickle(data: &[u8]) {
    tensor_file(&stored_archive(&[
        ("archive/data.pkl", data),
        ("archive/byteorder", b"little"),
        ("archive/data/0", &[1; 256]),
        ("archive/data/1", &[2; 64]),
        ("archive/data/2", &[3; 7]),
        ("archive/version", b"3\n"),
    ]));
}

/// An npy file, by itself and in an npz file.
pub fn npy(data: &[u8]) {
    tensor_file(data);
    tensor_file(&stored_archive(&[("a.npy", data), ("b.npy", data)]));
}

/// A zip archive: npz, or what PyTorch saves.
pub fn archive(data: &[u8]) {
    tensor_file(data);
}

/// A file of any kind: it is tiled by spans and skeleton; its tensors are as long as they say; and written in another
/// format they are the same.
fn tensor_file(data: &[u8]) {
    let layout = find_spans(&mut Cursor::new(data)).expect("reading from memory");
    assert_eq!(layout.file_len, data.len() as u64);
    let mut ranges = layout.skeleton_ranges();
    for span in layout.spans.iter().filter(|span| span.len > 0) {
        ranges.push(span.offset..span.offset + span.len);
    }
    ranges.sort_by_key(|range| range.start);
    let end = ranges.iter().fold(0, |end, range| {
        assert!(range.start == end && range.end > end, "a file is tiled: {ranges:?}");
        range.end
    });
    assert_eq!(end, layout.file_len);
    let mut order = layout.parameter_order();
    order.sort_unstable();
    assert!(order.into_iter().eq(0..layout.spans.len()));

    match TensorFile::open(Cursor::new(data)) {
        Ok(mut file) => convert(&mut file),
        Err(error) => assert!(error.is_bad_input() || matches!(error, Error::Unsupported { .. }), "{error}"),
    }
}

fn convert(file: &mut TensorFile<Cursor<&[u8]>>) {
    let lens: Vec<u64> = file.tensors().iter().map(|tensor| tensor.len).collect();
    if lens.iter().fold(0, |sum: u64, &len| sum.saturating_add(len)) > MAX_TENSOR_BYTES {
        return;
    }
    for (index, len) in lens.into_iter().enumerate() {
        let mut bytes = Vec::new();
        file.copy_tensor(index, &mut bytes).expect("a tensor that was found");
        assert_eq!(bytes.len() as u64, len);
    }
    let has_nameless = file.tensors().iter().any(|tensor| tensor.name.is_empty());
    for format in OutputFormat::ALL {
        let _ = file.left_out(format);
        match file.write(format, Cursor::new(Vec::new())) {
            Ok(written) => {
                let mut again = TensorFile::open(written).expect("a file that was written");
                let difference = file.difference(&mut again).expect("reading from memory");
                // An empty key of a PyTorch file is no name: a conversion sees the difference and gives up.
                assert!(difference.is_none() || has_nameless, "{format}: {difference:?}");
            }
            Err(Error::InvalidTensor { .. } | Error::NoTensors | Error::LimitExceeded { .. }) => {}
            Err(error) => panic!("{format}: {error}"),
        }
    }
}

/// A zip archive whose members are not compressed.
fn stored_archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in members {
        zip.start_file(*name, stored).expect("an archive in memory");
        zip.write_all(content).expect("an archive in memory");
    }
    zip.finish().expect("an archive in memory").into_inner()
}
