//! Where coded blocks go: straight into the file, or, where they decide what its header says, there in the end.

use std::io::Write;

use lmgc_container::{Hashes, Header, Stream, Writer};

use crate::lm::LmSettings;
use crate::{CodecId, Encoded, Error};

/// The blocks of a file on their way into it.
pub(crate) enum BlockOutput<W: Write> {
    Streaming(Box<Writer<W>>),
    /// A file that may turn out not to need its language model.
    Held(W, Vec<HeldBlock>),
}

pub(crate) struct HeldBlock {
    stream: Stream,
    len: u64,
    encoded: Encoded,
}

impl<W: Write> BlockOutput<W> {
    /// An output for blocks of a codec.
    pub(crate) fn new(output: W, header: &Header) -> Result<Self, Error> {
        let is_held = header.settings.get(CODEC_SETTING).is_some_and(|codec| *codec == CodecId::Ensemble.to_string());
        Ok(if is_held {
            Self::Held(output, Vec::new())
        } else {
            Self::Streaming(Box::new(Writer::new(output, header)?))
        })
    }

    pub(crate) fn push(&mut self, stream: Stream, len: u64, encoded: Encoded) -> Result<(), Error> {
        match self {
            Self::Streaming(writer) => write(writer, stream, len, &encoded),
            Self::Held(_, blocks) => {
                blocks.push(HeldBlock { stream, len, encoded });
                Ok(())
            }
        }
    }

    /// Ends the file: its length, and the header that it got.
    pub(crate) fn finish(self, header: &Header, hashes: &Hashes) -> Result<(u64, Header), Error> {
        let mut header = header.clone();
        let writer = match self {
            Self::Streaming(writer) => *writer,
            Self::Held(output, blocks) => {
                if !blocks.iter().any(|block| block.encoded.codec.needs_model()) {
                    header.model = None;
                    LmSettings::remove_window_from(&mut header.settings);
                    header.settings.insert(CODEC_SETTING.to_owned(), CodecId::Structural.to_string());
                }
                let mut writer = Writer::new(output, &header)?;
                for HeldBlock { stream, len, encoded } in blocks {
                    write(&mut writer, stream, len, &encoded)?;
                }
                writer
            }
        };
        let (_, n_bytes) = writer.finish(hashes)?;
        Ok((n_bytes, header))
    }
}

/// The setting that names the codec.
pub(crate) const CODEC_SETTING: &str = "codec";

fn write<W: Write>(writer: &mut Writer<W>, stream: Stream, len: u64, encoded: &Encoded) -> Result<(), Error> {
    Ok(writer.write_block(stream, encoded.codec as u8, len, encoded.n_lanes, &encoded.payload)?)
}
