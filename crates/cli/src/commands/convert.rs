use std::io::{BufReader, BufWriter, Write};

use anyhow::{Context, bail};
use lmgc_codec::files::{Place, open_seekable, write_atomically_with};
use lmgc_tensors::{LeftOut, OutputFormat, TensorFile};
use serde_json::json;

use crate::args::{Common, Convert};
use crate::exit::{BadTensorFile, UsageError};
use crate::terminal::{Channel, bytes, count, say_on};

/// The most names in a message.
const MAX_N_NAMES: usize = 8;

pub(crate) fn run(args: &Convert, common: &Common) -> anyhow::Result<()> {
    let Some(format) = args.to.or_else(|| OutputFormat::of_path(&args.output)) else {
        let reason = format!(
            "{} does not say which format to write: name it .safetensors, .npz, .pt, .pth or .ckpt, or give --to",
            args.output.display()
        );
        return Err(UsageError(reason).into());
    };
    let (input, output) = (Place::new(&args.input), Place::new(&args.output));
    let mut source = TensorFile::open(open_seekable(&input)?)
        .map_err(|error| match error.is_bad_input() {
            true => BadTensorFile(error).into(),
            false => anyhow::Error::from(error),
        })
        .with_context(|| format!("{input}"))?;
    let n_tensors = source.tensors().len();
    let n_bytes: u64 = source.tensors().iter().map(|tensor| tensor.len).sum();
    let left_out = source.left_out(format);

    write_atomically_with(&input, &output, args.force, |file| -> anyhow::Result<()> {
        source.write(format, BufWriter::with_capacity(1 << 20, &mut *file))?.flush()?;
        let mut written = TensorFile::open(BufReader::new(file)).context("what was written cannot be read")?;
        match source.difference(&mut written)? {
            None => Ok(()),
            Some(difference) => bail!("what was written differs from the input ({difference}): a defect of lmgc"),
        }
    })
    .with_context(|| format!("{input}"))?;

    let channel = Channel::beside(&args.output);
    if common.json {
        channel.line(json!({
            "input": input.to_string(),
            "output": output.to_string(),
            "from": source.format().as_str(),
            "to": format.as_str(),
            "n_tensors": n_tensors,
            "tensor_bytes": n_bytes,
            "left_out": left_out.names(),
            "n_left_out": left_out.n(),
        }));
    } else if left_out.n() > 0 && !common.quiet {
        eprintln!("lmgc: {input}: note: {}", describe(&left_out));
    }
    let n_tensors = count(n_tensors, "tensor");
    say_on(channel, common, format!("{input}: {n_tensors}, {} -> {output} ({format}), compared", bytes(n_bytes)));
    Ok(())
}

/// What was left out, in a line.
fn describe(left_out: &LeftOut) -> String {
    let names: Vec<String> =
        left_out.names().iter().take(MAX_N_NAMES).map(|name| name.escape_debug().to_string()).collect();
    let more = match left_out.n() - names.len() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!("left out, as not being tensors: {}{more}", names.join(", "))
}
