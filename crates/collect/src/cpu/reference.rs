//! What the tests of the operations share: inputs from a formula, and the comparison with burn's own operations.

use burn::tensor::{Device, Tensor, TensorData};

use crate::random::{Purpose, Stream};

/// Shapes of the inputs of one comparison.
pub(super) struct Case(Vec<Vec<usize>>);

/// An input that records its gradient, flat.
pub(super) struct Input {
    values: Tensor<1>,
    shape: Vec<usize>,
}

impl Case {
    pub(super) fn new(shapes: &[&[usize]]) -> Self {
        Self(shapes.iter().map(|shape| shape.to_vec()).collect())
    }

    /// The same values at every call.
    pub(super) fn inputs<const N: usize>(&self) -> [Input; N] {
        let device = Device::flex().autodiff();
        std::array::from_fn(|index| {
            let shape = self.0[index].clone();
            let n = shape.iter().product::<usize>();
            let mut stream = Stream::new(1, Purpose::Initialization, index as u64, 0);
            let values: Vec<f32> = (0..n).map(|_| stream.bell()).collect();
            Input { values: Tensor::from_data(TensorData::new(values, [n]), &device).require_grad(), shape }
        })
    }
}

impl Input {
    pub(super) fn tensor<const D: usize>(&self) -> Tensor<D> {
        self.values.clone().reshape::<D, [usize; D]>(self.shape.as_slice().try_into().unwrap())
    }
}

/// Asserts that two results agree, and the gradients of a weighted sum of each with respect to its inputs.
pub(super) fn agree<const D: usize>(inputs: &[Input], ours: Tensor<D>, their_inputs: &[Input], theirs: Tensor<D>) {
    let values = |tensor: Tensor<1>| tensor.into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(ours.dims(), theirs.dims());
    let n = ours.dims().iter().product::<usize>();
    let mut stream = Stream::new(2, Purpose::Initialization, 0, 0);
    let weights: Vec<f32> = (0..n).map(|_| stream.bell()).collect();
    let run = |output: Tensor<D>, inputs: &[Input]| {
        let output = output.reshape([n]);
        let weights = Tensor::<1>::from_data(TensorData::new(weights.clone(), [n]), &output.device());
        let gradients = (output.clone() * weights).sum().backward();
        let of_inputs = inputs.iter().map(|input| values(input.values.grad(&gradients).unwrap()));
        (values(output), of_inputs.collect::<Vec<_>>())
    };
    let (our_output, our_gradients) = run(ours, inputs);
    let (their_output, their_gradients) = run(theirs, their_inputs);
    close(&our_output, &their_output, "output");
    for (index, (ours, theirs)) in our_gradients.iter().zip(&their_gradients).enumerate() {
        close(ours, theirs, &format!("gradient of input {index}"));
    }
}

/// Asserts that the 2-norm of the difference is below 1e-5 of the second's.
fn close(ours: &[f32], theirs: &[f32], what: &str) {
    assert_eq!(ours.len(), theirs.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut ours.iter().zip(theirs).map(|(&a, &b)| f64::from(a) - f64::from(b)));
    let size = norm(&mut theirs.iter().map(|&x| f64::from(x)));
    assert!(size > 0.0, "{what} is zero, which compares nothing");
    assert!(difference <= 1e-5 * size, "{what}: differs by {difference:e} of {size:e}");
}
