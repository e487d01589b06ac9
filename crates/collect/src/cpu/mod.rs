//! What burn's CPU device does slowly, as operations of our own with their gradients.
//!
//! burn records and orders the computation; these operations fill the slices. Each knows its forward and backward pass
//! ([`Operation`]) and enters burn's graph through [`apply`]. Products of matrices are the `gemm` crate's, a thread each
//! ([`matmul`]); work is split by the shapes alone and sums have one order, so that results do not depend on the number
//! of threads. On other devices the layers use burn's own operations; tests hold the two together.

mod activation;
mod attention;
mod convolution;
mod matmul;
mod normalization;
mod pooling;
#[cfg(test)]
mod reference;
mod unfold;
mod vector;

use std::fmt::Debug;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, BackendTensor, DispatchKindConversion, DispatchTensor, Flex};
use burn::tensor::{Device, Tensor, TensorData};
use burn_flex::FlexTensor;

pub(crate) use activation::{AddRelu, Gelu, ScaledResidual};
pub(crate) use attention::{Attention, relative_places};
pub(crate) use convolution::Convolution;
pub(crate) use normalization::{BatchNorm, ChannelLayerNorm, ChannelNorm};
pub(crate) use pooling::{AveragePool, MaxPool};

/// Whether tensors of this device can be given to [`apply`].
pub(crate) fn is_cpu(device: &Device) -> bool {
    device.clone().without_autodiff() == Device::flex()
}

/// An `f32` array whose values lie without gaps in row-major order.
#[derive(Debug, Clone)]
pub(crate) struct Array(FlexTensor);

impl Array {
    /// # Panics
    /// If the shape has another number of values.
    fn new(values: Vec<f32>, shape: &[usize]) -> Self {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "one value a place");
        Self(FlexTensor::from_data(TensorData::new(values, shape.to_vec())))
    }

    fn of(tensor: FlexTensor) -> Self {
        Self(if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() })
    }

    fn values(&self) -> &[f32] {
        self.0.as_slice().expect("made contiguous and f32")
    }

    fn shape(&self) -> &[usize] {
        self.0.layout().shape().as_slice()
    }

    /// # Panics
    /// If it has another rank.
    fn dims<const D: usize>(&self) -> [usize; D] {
        self.shape().try_into().expect("the layer knows the rank of what it is given")
    }
}

/// What the forward pass leaves.
pub(crate) struct Forward {
    /// The result.
    output: Array,
    /// What the backward pass needs beside inputs and output, as the operation defines it.
    saved: Vec<f32>,
}

impl Forward {
    fn new(output: Array) -> Self {
        Self { output, saved: Vec::new() }
    }
}

/// What [`Operation::backward`] is given.
pub(crate) struct Backpass<'a, const N: usize> {
    inputs: [&'a Array; N],
    output: &'a Array,
    saved: &'a [f32],
    /// The loss's gradient with respect to the output.
    gradient: &'a Array,
    /// Which inputs' gradients are asked for.
    wanted: [bool; N],
}

/// A function of `N` arrays with its gradient.
pub(crate) trait Operation<const N: usize>: Debug + Send + Sync + 'static {
    /// The result for these inputs.
    fn forward(&self, inputs: [&Array; N]) -> Forward;

    /// The loss's gradients with respect to the inputs, each of the input's shape; those not wanted may be missing.
    fn backward(&self, pass: Backpass<'_, N>) -> [Option<Array>; N];
}

/// Computes an operation and, where the inputs record gradients, enters it into burn's graph. Also returns what the
/// operation saved.
///
/// Inputs of any ranks come through [`Tensor::into_dispatch`].
///
/// # Panics
/// If the inputs do not all lie on the CPU device, all with or all without autodiff, or the result has another rank.
pub(crate) fn apply<const N: usize, const D: usize>(
    operation: impl Operation<N>,
    inputs: [DispatchTensor; N],
) -> (Tensor<D>, Arc<Vec<f32>>) {
    type Recorded = Autodiff<Flex>;
    let recorded = inputs.each_ref().map(|input| {
        match <DispatchTensor as DispatchKindConversion<Recorded>>::try_into_backend(input.clone()) {
            Ok(BackendTensor::Float(tensor)) => Some(tensor),
            _ => None,
        }
    });
    if recorded.iter().any(Option::is_none) {
        let arrays =
            inputs.map(|input| match <DispatchTensor as DispatchKindConversion<Flex>>::try_into_backend(input) {
                Ok(BackendTensor::Float(tensor)) => Array::of(tensor),
                _ => panic!("every input is a float tensor of the CPU device, none or all with autodiff"),
            });
        let Forward { output, saved } = operation.forward(arrays.each_ref());
        return (Tensor::from_primitive::<Flex>(output.0), Arc::new(saved));
    }
    let parts = recorded.map(|tensor| tensor.expect("looked at above").into_parts());
    let arrays = parts.each_ref().map(|(primitive, _)| Array::of(primitive.clone()));
    let guards = parts.map(|(_, guard)| guard);
    let Forward { output, saved } = operation.forward(arrays.each_ref());
    let saved = Arc::new(saved);
    let result = match Node.prepare::<NoCheckpointing>(guards).compute_bound().stateful() {
        OpsKind::Tracked(preparation) => {
            let state = State {
                operation: Arc::new(operation) as Arc<dyn Operation<N>>,
                inputs: arrays,
                output: output.clone(),
                saved: Arc::clone(&saved),
            };
            preparation.finish(state, output.0)
        }
        OpsKind::UnTracked(preparation) => preparation.finish(output.0),
    };
    (Tensor::from_primitive::<Recorded>(result), saved)
}

/// [`apply`] for operations that save nothing of interest.
pub(crate) fn compute<const N: usize, const D: usize>(
    operation: impl Operation<N>,
    inputs: [DispatchTensor; N],
) -> Tensor<D> {
    apply(operation, inputs).0
}

/// An operation as a node of burn's graph.
#[derive(Debug)]
struct Node;

#[derive(Debug, Clone)]
struct State<const N: usize> {
    operation: Arc<dyn Operation<N>>,
    inputs: [Array; N],
    output: Array,
    saved: Arc<Vec<f32>>,
}

impl<const N: usize> Backward<Flex, N> for Node {
    type State = State<N>;

    fn backward(self, ops: Ops<State<N>, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Array::of(gradients.consume::<Flex>(&ops.node));
        let State { operation, inputs, output, saved } = ops.state;
        let pass = Backpass {
            inputs: inputs.each_ref(),
            output: &output,
            saved: &saved,
            gradient: &gradient,
            wanted: ops.parents.each_ref().map(Option::is_some),
        };
        for (parent, gradient) in ops.parents.iter().zip(operation.backward(pass)) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<Flex>(parent.id, gradient.0);
            }
        }
    }
}
