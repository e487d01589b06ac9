//! Writes GGUF version 3 files (f32 tensors only).

/// A metadata value.
#[derive(Clone, Debug)]
pub enum GgufValue {
    /// 32-bit unsigned integer.
    U32(u32),
    /// 32-bit float.
    F32(f32),
    /// UTF-8 text.
    Text(String),
    /// Array of texts.
    Texts(Vec<String>),
    /// Array of 32-bit integers.
    I32s(Vec<i32>),
    /// Array of 32-bit floats.
    F32s(Vec<f32>),
}

/// Collects metadata and tensors of a GGUF file.
#[derive(Clone, Debug, Default)]
pub struct GgufWriter {
    metadata: Vec<(String, GgufValue)>,
    tensors: Vec<(String, Vec<u64>, Vec<f32>)>,
}

const ALIGNMENT: usize = 32;

impl GgufWriter {
    /// Adds a metadata value.
    pub fn value(&mut self, key: &str, value: GgufValue) -> &mut Self {
        self.metadata.push((key.to_owned(), value));
        self
    }

    /// Adds an f32 tensor; `dims` innermost first.
    pub fn tensor(&mut self, name: &str, dims: &[u64], values: Vec<f32>) -> &mut Self {
        assert_eq!(dims.iter().product::<u64>(), values.len() as u64, "{name}");
        self.tensors.push((name.to_owned(), dims.to_vec(), values));
        self
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            text(&mut out, key);
            match value {
                GgufValue::U32(v) => header(&mut out, 4, &v.to_le_bytes()),
                GgufValue::F32(v) => header(&mut out, 6, &v.to_le_bytes()),
                GgufValue::Text(v) => {
                    header(&mut out, 8, &[]);
                    text(&mut out, v);
                }
                GgufValue::Texts(v) => {
                    array(&mut out, 8, v.len());
                    v.iter().for_each(|v| text(&mut out, v));
                }
                GgufValue::I32s(v) => {
                    array(&mut out, 5, v.len());
                    v.iter().for_each(|v| out.extend(v.to_le_bytes()));
                }
                GgufValue::F32s(v) => {
                    array(&mut out, 6, v.len());
                    v.iter().for_each(|v| out.extend(v.to_le_bytes()));
                }
            }
        }
        let mut offset = 0usize;
        for (name, dims, values) in &self.tensors {
            text(&mut out, name);
            out.extend((dims.len() as u32).to_le_bytes());
            dims.iter().for_each(|d| out.extend(d.to_le_bytes()));
            out.extend(0u32.to_le_bytes());
            out.extend((offset as u64).to_le_bytes());
            offset = (offset + 4 * values.len()).next_multiple_of(ALIGNMENT);
        }
        for (_, _, values) in &self.tensors {
            out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
            values.iter().for_each(|v| out.extend(v.to_le_bytes()));
        }
        out
    }
}

fn header(out: &mut Vec<u8>, type_id: u32, value: &[u8]) {
    out.extend(type_id.to_le_bytes());
    out.extend(value);
}

fn array(out: &mut Vec<u8>, element_type_id: u32, len: usize) {
    header(out, 9, &element_type_id.to_le_bytes());
    out.extend((len as u64).to_le_bytes());
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
