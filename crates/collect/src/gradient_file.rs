use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lmgc_tensors::{Dtype, PARAMETER_ORDER_KEY, safetensors};

use crate::network::ParameterSet;
use crate::{CollectOptions, Error};

/// Where the gradients of a step go: `OUT/<dataset>-<arch>/<tag>/grads/grad_<step, 8 digits>.safetensors`.
pub fn gradient_file_path(options: &CollectOptions, step: u64) -> PathBuf {
    gradient_directory(options).join(format!("grad_{step:08}.safetensors"))
}

fn gradient_directory(options: &CollectOptions) -> PathBuf {
    options.out.join(format!("{}-{}", options.dataset, options.arch)).join(&options.tag).join("grads")
}

/// Makes the directory that all gradient files of a run go to.
pub(crate) fn create_gradient_directory(options: &CollectOptions) -> Result<(), Error> {
    let path = gradient_directory(options);
    std::fs::create_dir_all(&path).map_err(|source| Error::CreateDirectory { path, source })
}

/// Writes a gradient file: one `f32` tensor a parameter under its name and shape, and `metadata` plus the names in
/// parameter order (safetensors itself sorts by name). The file appears whole or not at all.
///
/// `gradients` holds each parameter's values in row-major order.
pub(crate) fn write(
    path: &Path,
    parameters: &ParameterSet,
    gradients: &[Vec<f32>],
    mut metadata: BTreeMap<String, String>,
) -> Result<(), Error> {
    let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name()).collect();
    metadata.insert(PARAMETER_ORDER_KEY.to_owned(), serde_json::Value::from(names).to_string());

    let as_bytes = |values: &Vec<f32>| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let bytes: Vec<Vec<u8>> = gradients.iter().map(as_bytes).collect();
    let tensors: Vec<_> = parameters
        .iter()
        .zip(&bytes)
        .map(|(parameter, bytes)| {
            let shape = parameter.shape().iter().map(|&n| n as u64).collect();
            (parameter.name().to_owned(), Dtype::F32, shape, bytes.as_slice())
        })
        .collect();
    safetensors::write(path, &tensors, &metadata)
        .map_err(|source| Error::WriteGradients { path: path.to_owned(), source })
}
