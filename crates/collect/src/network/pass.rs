use burn::tensor::{Device, Tensor, TensorData};

use super::parameters::{BatchStatistics, Parameter, ParameterId, ParameterSet, RunningStatistics, StatisticsId};
use crate::cpu;
use crate::random::{Purpose, Stream};

/// One passage of images through a network: the parameters it uses, and what depends on whether it trains.
#[derive(Debug)]
pub struct Pass<'a> {
    parameters: &'a ParameterSet,
    purpose: PassPurpose,
    /// Whether layers use the operations of [`cpu`] rather than burn's.
    ours: bool,
    found: Vec<BatchStatistics>,
}

#[derive(Debug)]
enum PassPurpose {
    /// Normalisations use the batch's statistics. With a stream dropout drops.
    Training { dropout: Option<Box<Stream>> },
    /// Normalisations use running statistics, and dropout keeps everything.
    Testing,
}

impl<'a> Pass<'a> {
    /// A pass whose loss will be differentiated.
    pub fn training(parameters: &'a ParameterSet) -> Self {
        Self::new(parameters, PassPurpose::Training { dropout: None })
    }

    /// Lets dropout drop values, by the seed and the step.
    pub(crate) fn with_dropout(mut self, seed: u64, step: u64) -> Self {
        self.purpose = PassPurpose::Training { dropout: Some(Box::new(Stream::new(seed, Purpose::Dropout, step, 0))) };
        self
    }

    /// A pass that measures.
    pub fn testing(parameters: &'a ParameterSet) -> Self {
        Self::new(parameters, PassPurpose::Testing)
    }

    fn new(parameters: &'a ParameterSet, purpose: PassPurpose) -> Self {
        Self { parameters, purpose, ours: cpu::is_cpu(parameters.device()), found: Vec::new() }
    }

    /// Lets layers use burn's operations on the CPU, too, as they do on other devices: several times slower, with the same results but
    /// for rounding.
    pub fn with_operations_of_burn(mut self) -> Self {
        self.ours = false;
        self
    }

    pub(super) fn uses_ours(&self) -> bool {
        self.ours
    }

    pub(super) fn get(&self, id: ParameterId) -> &'a Parameter {
        self.parameters.get(id)
    }

    pub(super) fn is_training(&self) -> bool {
        matches!(self.purpose, PassPurpose::Training { .. })
    }

    pub(super) fn running_statistics(&self, id: StatisticsId) -> &'a RunningStatistics {
        self.parameters.running_statistics(id)
    }

    pub(super) fn found(&mut self, statistics: BatchStatistics) {
        self.found.push(statistics);
    }

    /// What the batch normalisations found, for [`ParameterSet::follow`].
    pub(crate) fn into_statistics(self) -> Vec<BatchStatistics> {
        self.found
    }

    /// Zeroes each value with the given probability and scales up what is left, so that the expectation stays.
    pub(super) fn dropout(&mut self, x: Tensor<2>, probability: f32) -> Tensor<2> {
        let PassPurpose::Training { dropout: Some(stream) } = &mut self.purpose else { return x };
        let shape = x.dims();
        let kept = 1.0 / (1.0 - probability);
        let draw = |_| if stream.unit() < probability { 0.0 } else { kept };
        let factors: Vec<f32> = (0..shape[0] * shape[1]).map(draw).collect();
        let device: Device = x.device();
        x * Tensor::from_data(TensorData::new(factors, shape), &device)
    }
}
