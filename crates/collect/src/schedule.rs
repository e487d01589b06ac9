//! How long a run is, and which rates each of its steps has.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use crate::optimizer::{AdamW, OptimizerName, Rates, Sgd};
use crate::{CollectOptions, Error};

/// Over how many epochs the reference's learning rate runs its course, and how many it trains.
const N_SCHEDULE_EPOCHS: u64 = 200;

/// What is done where the reference's schedule slips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ScheduleName {
    /// What the reference means: AdamW's one-cycle moves on with every step.
    #[default]
    Intended,
    /// What the reference does: AdamW's one-cycle moves on with every epoch, though it is sized in steps, so that its rate
    /// hardly leaves its beginning.
    Reference,
}

impl ScheduleName {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Intended, Self::Reference];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Reference => "reference",
        }
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ScheduleName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|known| known.as_str() == name).ok_or_else(|| Error::UnknownName {
            what: "schedule",
            name: name.to_owned(),
            valid: Self::ALL.map(Self::as_str).join(", "),
        })
    }
}

/// The course of a run.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) n_steps: u64,
    pub(crate) n_steps_per_epoch: u64,
    /// Epochs that the learning rate takes for its course: 200, or those of the run if it is longer.
    n_epochs: u64,
    optimizer: OptimizerName,
    name: ScheduleName,
}

impl Schedule {
    pub(crate) fn new(options: &CollectOptions, n_train: usize) -> Result<Self, Error> {
        let n_steps_per_epoch = n_train.div_ceil(options.batch_size) as u64;
        let n_steps = match (options.steps, options.epochs) {
            (Some(n_steps), _) => n_steps,
            (None, n_epochs) => n_epochs.unwrap_or(N_SCHEDULE_EPOCHS).saturating_mul(n_steps_per_epoch),
        };
        if options.grad_interval > n_steps {
            return Err(Error::InvalidOption {
                option: "--grad-interval",
                value: options.grad_interval.to_string(),
                problem: format!("a run of {n_steps} steps would write no gradients; use {n_steps} or less"),
            });
        }
        let n_epochs = n_steps.div_ceil(n_steps_per_epoch).max(N_SCHEDULE_EPOCHS);
        Ok(Self { n_steps, n_steps_per_epoch, n_epochs, optimizer: options.optimizer(), name: options.schedule })
    }

    /// The epoch (from 0) of a step (from 1), and the batch within it (from 0).
    pub(crate) fn place(&self, step: u64) -> (u64, u64) {
        ((step - 1) / self.n_steps_per_epoch, (step - 1) % self.n_steps_per_epoch)
    }

    /// Whether an epoch ends with this step.
    pub(crate) fn ends_epoch(&self, step: u64) -> bool {
        step.is_multiple_of(self.n_steps_per_epoch)
    }

    /// The rates of a step's update.
    pub(crate) fn rates(&self, step: u64) -> Rates {
        let (epoch, _) = self.place(step);
        match self.optimizer {
            OptimizerName::Sgd => {
                let learning_rate = cosine_learning_rate(Sgd::LEARNING_RATE, epoch, self.n_epochs);
                Rates { learning_rate, momentum: Sgd::MOMENTUM }
            }
            OptimizerName::AdamW => {
                let moves = match self.name {
                    ScheduleName::Intended => step - 1,
                    ScheduleName::Reference => epoch,
                };
                one_cycle_rates(AdamW::LEARNING_RATE, moves, self.n_epochs.saturating_mul(self.n_steps_per_epoch))
            }
        }
    }

    /// In words, for metadata: all that decides the rates.
    pub(crate) fn describe(&self) -> String {
        let n = self.n_epochs;
        match (self.optimizer, self.name) {
            (OptimizerName::Sgd, _) => format!("cosine over {n} epochs"),
            (OptimizerName::AdamW, ScheduleName::Intended) => format!("one cycle over {n} epochs, moved every step"),
            (OptimizerName::AdamW, ScheduleName::Reference) => format!("one cycle over {n} epochs, moved every epoch"),
        }
    }
}

/// The learning rate in an epoch (from 0) of a schedule that falls along half a cosine from `initial` to 0 over
/// `n_epochs`: `initial * (1 + cos(pi * epoch / n_epochs)) / 2`, as PyTorch's `CosineAnnealingLR` stepped once an epoch.
pub fn cosine_learning_rate(initial: f64, epoch: u64, n_epochs: u64) -> f64 {
    initial * 0.5 * (1.0 + (PI * epoch as f64 / n_epochs as f64).cos())
}

/// The rates after `moves` of `n_moves` of Smith's one-cycle policy, as PyTorch's `OneCycleLR` with its defaults: up from a 25th
/// of `highest` along half a cosine in 30 % of the moves, then down to a 10 000th of that; the momentum the other way,
/// from 0.95 to 0.85 and back.
pub fn one_cycle_rates(highest: f64, moves: u64, n_moves: u64) -> Rates {
    const UPWARD_SHARE: f64 = 0.3;
    let lowest = highest / 25.0;
    let top = UPWARD_SHARE * n_moves as f64 - 1.0;
    let end = n_moves as f64 - 1.0;
    let moves = moves as f64;
    let between = |from: f64, to: f64, share: f64| to + (from - to) / 2.0 * (1.0 + (PI * share).cos());
    let (learning_rate, momentum) = if moves <= top {
        let share = moves / top;
        (between(lowest, highest, share), between(0.95, 0.85, share))
    } else {
        let share = (moves - top) / (end - top);
        (between(highest, lowest / 1e4, share), between(0.85, 0.95, share))
    };
    Rates { learning_rate, momentum }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Architecture, DatasetName};

    fn options(steps: Option<u64>, epochs: Option<u64>) -> CollectOptions {
        let mut options = CollectOptions::new(DatasetName::Digits, Architecture::ConvNet, "out");
        (options.steps, options.epochs, options.grad_interval) = (steps, epochs, 1);
        options
    }

    #[test]
    fn the_last_batch_of_an_epoch_counts_as_a_step() {
        let schedule = Schedule::new(&options(None, Some(2)), 1437).unwrap();
        assert_eq!((schedule.n_steps, schedule.n_steps_per_epoch), (24, 12));
        assert_eq!(schedule.place(1), (0, 0));
        assert_eq!(schedule.place(12), (0, 11));
        assert_eq!(schedule.place(13), (1, 0));
        assert_eq!([11, 12, 13].map(|step| schedule.ends_epoch(step)), [false, true, false]);
    }

    #[test]
    fn the_course_covers_200_epochs_or_the_run() {
        let n_epochs = |steps, epochs| Schedule::new(&options(steps, epochs), 1437).unwrap().n_epochs;
        assert_eq!(n_epochs(Some(10), None), 200);
        assert_eq!(n_epochs(None, None), 200);
        assert_eq!(n_epochs(Some(200 * 12 + 1), None), 201);
        assert_eq!(n_epochs(None, Some(300)), 300);
        assert_eq!(Schedule::new(&options(None, None), 1437).unwrap().n_steps, 2400);
    }

    #[test]
    fn the_cosine_passes_through_known_values() {
        let rate = |epoch| cosine_learning_rate(0.1, epoch, 200);
        assert_eq!(rate(0), 0.1);
        assert!((rate(50) - 0.085_355_339_059_327_4).abs() < 1e-15);
        assert!((rate(100) - 0.05).abs() < 1e-15);
        assert!((rate(199) - 6.168_375_916_970_614e-6).abs() < 1e-15);
        assert!(rate(200).abs() < 1e-17);
    }

    #[test]
    fn one_cycle_is_that_of_pytorch() {
        // torch.optim.lr_scheduler.OneCycleLR(AdamW, max_lr=1e-3, steps_per_epoch=100, epochs=200)
        for (moves, learning_rate, momentum) in [
            (0, 3.999_999_999_999_999_6e-5, 0.95),
            (1, 4.000_006_581_929_912e-5, 0.949_999_993_143_823),
            (100, 4.065_804_259_694_697e-5, 0.949_931_453_896_151_3),
            (5_999, 0.001, 0.85),
            (6_000, 0.000_999_999_987_411_269_2, 0.850_000_001_258_878_1),
            (10_000, 0.000_811_657_925_165_236_7, 0.868_834_282_820_607_6),
            (19_999, 4e-9, 0.95),
        ] {
            let rates = one_cycle_rates(1e-3, moves, 20_000);
            assert!((rates.learning_rate / learning_rate - 1.0).abs() < 1e-9, "{moves}: {rates:?}");
            assert!((rates.momentum - momentum).abs() < 1e-12, "{moves}: {rates:?}");
        }
    }

    #[test]
    fn the_references_one_cycle_moves_once_an_epoch() {
        let mut options = options(None, None);
        options.optimizer = Some(OptimizerName::AdamW);
        let intended = Schedule::new(&options, 12_800).unwrap();
        options.schedule = ScheduleName::Reference;
        let reference = Schedule::new(&options, 12_800).unwrap();
        assert_eq!(intended.rates(6_000).learning_rate, 1e-3);
        assert_eq!(reference.rates(100), intended.rates(1));
        assert_eq!(reference.rates(6_000), one_cycle_rates(1e-3, 59, 20_000));
        assert_ne!(intended.describe(), reference.describe());
        assert!("onecycle".parse::<ScheduleName>().is_err());
    }
}
