//! GGML's element and block types.

use std::fmt;

use crate::Dtype;

/// Declares the types once: variant, number in the file, name, elements a block, bytes a block.
macro_rules! ggml_types {
    ($($variant:ident = $id:literal, $name:literal, $block_len:literal, $block_bytes:literal;)*) => {
        /// How a tensor's elements are stored: plain, or quantised in blocks along the innermost dimension.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[allow(missing_docs, reason = "the variants carry ggml's own names")]
        pub enum GgmlType {
            $($variant,)*
            /// A type not known here, by its number.
            Other(u32),
        }

        impl GgmlType {
            /// Every known type.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The type that a file means by this number.
            #[must_use]
            pub const fn from_id(id: u32) -> Self {
                match id {
                    $($id => Self::$variant,)*
                    other => Self::Other(other),
                }
            }

            /// The number that stands for the type in a file.
            #[must_use]
            pub const fn id(self) -> u32 {
                match self {
                    $(Self::$variant => $id,)*
                    Self::Other(id) => id,
                }
            }

            /// Elements of a block, 1 for plain types; `None` for an unknown type.
            #[must_use]
            pub const fn block_len(self) -> Option<u64> {
                match self {
                    $(Self::$variant => Some($block_len),)*
                    Self::Other(_) => None,
                }
            }

            /// Bytes of a block; `None` for an unknown type.
            #[must_use]
            pub const fn block_bytes(self) -> Option<u64> {
                match self {
                    $(Self::$variant => Some($block_bytes),)*
                    Self::Other(_) => None,
                }
            }
        }

        impl fmt::Display for GgmlType {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.write_str($name),)*
                    Self::Other(id) => write!(f, "unknown type {id}"),
                }
            }
        }
    };
}

ggml_types! {
    F32 = 0, "F32", 1, 4;
    F16 = 1, "F16", 1, 2;
    Q4_0 = 2, "Q4_0", 32, 18;
    Q4_1 = 3, "Q4_1", 32, 20;
    Q5_0 = 6, "Q5_0", 32, 22;
    Q5_1 = 7, "Q5_1", 32, 24;
    Q8_0 = 8, "Q8_0", 32, 34;
    Q8_1 = 9, "Q8_1", 32, 40;
    Q2K = 10, "Q2_K", 256, 84;
    Q3K = 11, "Q3_K", 256, 110;
    Q4K = 12, "Q4_K", 256, 144;
    Q5K = 13, "Q5_K", 256, 176;
    Q6K = 14, "Q6_K", 256, 210;
    Q8K = 15, "Q8_K", 256, 292;
    IQ2XXS = 16, "IQ2_XXS", 256, 66;
    IQ2XS = 17, "IQ2_XS", 256, 74;
    IQ3XXS = 18, "IQ3_XXS", 256, 98;
    IQ1S = 19, "IQ1_S", 256, 50;
    IQ4NL = 20, "IQ4_NL", 32, 18;
    IQ3S = 21, "IQ3_S", 256, 110;
    IQ2S = 22, "IQ2_S", 256, 82;
    IQ4XS = 23, "IQ4_XS", 256, 136;
    I8 = 24, "I8", 1, 1;
    I16 = 25, "I16", 1, 2;
    I32 = 26, "I32", 1, 4;
    I64 = 27, "I64", 1, 8;
    F64 = 28, "F64", 1, 8;
    IQ1M = 29, "IQ1_M", 256, 56;
    BF16 = 30, "BF16", 1, 2;
    TQ1_0 = 34, "TQ1_0", 256, 54;
    TQ2_0 = 35, "TQ2_0", 256, 66;
    MXFP4 = 39, "MXFP4", 32, 17;
    NVFP4 = 40, "NVFP4", 64, 36;
    Q1_0 = 41, "Q1_0", 128, 18;
}

impl GgmlType {
    /// The element type of a plain type; `None` for quantised and unknown types.
    #[must_use]
    pub const fn dtype(self) -> Option<Dtype> {
        Some(match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::BF16 => Dtype::BF16,
            Self::F64 => Dtype::F64,
            Self::I8 => Dtype::I8,
            Self::I16 => Dtype::I16,
            Self::I32 => Dtype::I32,
            Self::I64 => Dtype::I64,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back() {
        for &ggml_type in GgmlType::ALL {
            assert_eq!(GgmlType::from_id(ggml_type.id()), ggml_type);
            assert!(!matches!(ggml_type, GgmlType::Other(_)));
        }
        assert_eq!(GgmlType::from_id(4), GgmlType::Other(4));
        assert_eq!(GgmlType::Other(4).block_bytes(), None);
    }

    #[test]
    fn plain_types_have_blocks_of_one_element() {
        for &ggml_type in GgmlType::ALL {
            match ggml_type.dtype() {
                Some(dtype) => {
                    assert_eq!(ggml_type.block_len(), Some(1));
                    assert_eq!(ggml_type.block_bytes(), Some(dtype.size_bytes()));
                    assert_eq!(ggml_type.to_string(), dtype.as_str());
                }
                None => assert!(ggml_type.block_len() > Some(1), "{ggml_type}"),
            }
        }
    }
}
