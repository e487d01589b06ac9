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

    /// Whether AdamW's weight decay is meant for it: weights of convolutions and linear layers, but no biases, scales or
    /// positions.
    pub fn is_weight(&self) -> bool {
        self.name.ends_with("weight") && self.shape.len() > 1
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

/// How initial values are drawn.
#[derive(Debug, Clone, Copy)]
pub(super) enum Initial {
    /// Uniform in `-bound..bound`.
    Uniform { bound: f32 },
    /// Normal around 0.
    Normal { deviation: f32 },
}

/// What a batch normalisation found in a batch.
#[derive(Debug)]
pub(crate) struct BatchStatistics {
    pub(super) id: StatisticsId,
    /// `[channels]`, without autodiff.
    pub(super) mean: Tensor<1>,
    /// `[channels]`, unbiased.
    pub(super) variance: Tensor<1>,
}

/// What a batch normalisation remembers of the batches it saw, for images to come: PyTorch's `running_mean` and
/// `running_var`.
#[derive(Debug, Clone)]
pub struct RunningStatistics {
    /// The layer, for instance `features.1`.
    name: String,
    /// `[channels]`, on the device, without autodiff.
    pub(crate) mean: Tensor<1>,
    /// `[channels]`, unbiased.
    pub(crate) variance: Tensor<1>,
}

impl RunningStatistics {
    /// The layer's name, for instance `features.1`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Which statistics of a [`ParameterSet`] a layer uses.
#[derive(Debug, Clone, Copy)]
pub(super) struct StatisticsId(usize);

/// All parameters of a network, in PyTorch's `named_parameters()` order, and the running statistics of its batch
/// normalisations.
#[derive(Debug, Clone)]
pub struct ParameterSet {
    parameters: Vec<Parameter>,
    statistics: Vec<RunningStatistics>,
    seed: u64,
    device: Device,
}

impl ParameterSet {
    pub(super) fn new(seed: u64, device: Device) -> Self {
        Self { parameters: Vec::new(), statistics: Vec::new(), seed, device }
    }

    /// Appends a parameter drawn as `initial` says, from a stream of its own.
    pub(super) fn add_drawn(&mut self, name: String, shape: &[usize], initial: Initial) -> ParameterId {
        let mut stream = Stream::new(self.seed, Purpose::Initialization, self.parameters.len() as u64, 0);
        let mut draw = || match initial {
            Initial::Uniform { bound } => stream.uniform(-bound, bound),
            Initial::Normal { deviation } => deviation * stream.normal(),
        };
        let n_values = shape.iter().product();
        let values = (0..n_values).map(|_| draw()).collect();
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

    /// Appends the statistics of a batch normalisation that has seen nothing: means of 0 and variances of 1.
    pub(super) fn add_statistics(&mut self, name: String, n_channels: usize) -> StatisticsId {
        let device = self.device.clone().without_autodiff();
        let (mean, variance) = (Tensor::zeros([n_channels], &device), Tensor::ones([n_channels], &device));
        self.statistics.push(RunningStatistics { name, mean, variance });
        StatisticsId(self.statistics.len() - 1)
    }

    pub(super) fn running_statistics(&self, id: StatisticsId) -> &RunningStatistics {
        &self.statistics[id.0]
    }

    /// The running statistics, in the order of the layers.
    pub fn statistics(&self) -> &[RunningStatistics] {
        &self.statistics
    }

    pub(crate) fn statistics_mut(&mut self) -> &mut [RunningStatistics] {
        &mut self.statistics
    }

    /// Lets the running statistics move a tenth of the way to those of a batch, as PyTorch's `BatchNorm2d` does.
    pub(crate) fn follow(&mut self, batches: Vec<BatchStatistics>) {
        const MOMENTUM: f64 = 0.1;
        for BatchStatistics { id, mean, variance } in batches {
            let running = &mut self.statistics[id.0];
            let step =
                |old: &Tensor<1>, new: Tensor<1>| old.clone().mul_scalar(1.0 - MOMENTUM) + new.mul_scalar(MOMENTUM);
            running.mean = step(&running.mean, mean);
            running.variance = step(&running.variance, variance);
        }
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

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// How many values all parameters have together.
    pub fn n_values(&self) -> usize {
        self.parameters.iter().map(Parameter::n_values).sum()
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
