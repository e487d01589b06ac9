use burn::tensor::{Device, Tensor, TensorData};

use crate::random::{Purpose, Stream};

/// A named weight or bias.
#[derive(Debug, Clone)]
pub struct Parameter {
    name: String,
    shape: Vec<usize>,
    /// All values in row-major order. Flat, so that parameters of any rank have one type.
    pub(crate) values: Tensor<1>,
}

impl Parameter {
    /// PyTorch's name, for instance `features.0.weight`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// PyTorch's shape: `[out, in, height, width]` of a convolution, `[out, in]` of a linear layer.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many values it has.
    pub fn n_values(&self) -> usize {
        self.shape.iter().product()
    }

    /// The values in row-major order, on the device.
    pub fn values(&self) -> &Tensor<1> {
        &self.values
    }

    /// The values in their shape, for use in a computation.
    ///
    /// # Panics
    /// If the shape has another rank.
    pub(super) fn tensor<const D: usize>(&self) -> Tensor<D> {
        let shape: [usize; D] = self.shape.as_slice().try_into().expect("the layer that made it knows its rank");
        self.values.clone().reshape(shape)
    }
}

/// Which parameter of a [`ParameterSet`] a layer uses.
#[derive(Debug, Clone, Copy)]
pub(super) struct ParameterId(usize);

/// All parameters of a network, in PyTorch's `named_parameters()` order.
#[derive(Debug, Clone)]
pub struct ParameterSet {
    parameters: Vec<Parameter>,
    seed: u64,
    device: Device,
}

impl ParameterSet {
    pub(super) fn new(seed: u64, device: Device) -> Self {
        Self { parameters: Vec::new(), seed, device }
    }

    /// Appends a parameter drawn uniformly from `-bound..bound`, from a stream of its own.
    pub(super) fn add_uniform(&mut self, name: String, shape: &[usize], bound: f32) -> ParameterId {
        let mut stream = Stream::new(self.seed, Purpose::Initialization, self.parameters.len() as u64, 0);
        let n_values = shape.iter().product();
        let values = (0..n_values).map(|_| stream.uniform(-bound, bound)).collect();
        self.add(name, shape, values)
    }

    /// Appends a parameter of one value throughout.
    pub(super) fn add_constant(&mut self, name: String, shape: &[usize], value: f32) -> ParameterId {
        let n_values = shape.iter().product();
        self.add(name, shape, vec![value; n_values])
    }

    fn add(&mut self, name: String, shape: &[usize], values: Vec<f32>) -> ParameterId {
        let values = self.upload(values);
        self.parameters.push(Parameter { name, shape: shape.to_vec(), values });
        ParameterId(self.parameters.len() - 1)
    }

    fn upload(&self, values: Vec<f32>) -> Tensor<1> {
        let n_values = values.len();
        Tensor::from_data(TensorData::new(values, [n_values]), &self.device).require_grad()
    }

    pub(super) fn get(&self, id: ParameterId) -> &Parameter {
        &self.parameters[id.0]
    }

    /// The parameters in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Parameter> {
        self.parameters.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Parameter> {
        self.parameters.iter_mut()
    }

    /// How many parameters there are.
    pub fn len(&self) -> usize {
        self.parameters.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// Replaces all values; `values` gives each parameter's in row-major order.
    ///
    /// # Panics
    /// If a parameter gets another number of values than it has.
    pub fn set_values(&mut self, mut values: impl FnMut(&Parameter) -> Vec<f32>) {
        for index in 0..self.parameters.len() {
            let parameter = &self.parameters[index];
            let new = values(parameter);
            assert_eq!(new.len(), parameter.n_values(), "values of {}", parameter.name);
            self.parameters[index].values = self.upload(new);
        }
    }

    /// The same weights on the same device without recording of gradients, for evaluation.
    pub fn without_autodiff(&self) -> Self {
        let mut plain = self.clone();
        plain.device = plain.device.without_autodiff();
        for parameter in &mut plain.parameters {
            parameter.values = parameter.values.clone().without_autodiff();
        }
        plain
    }
}
