use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use burn::tensor::{Device, Tensor, TensorData};

use crate::dataset::{Dataset, Split};
use crate::random::{Purpose, Stream};
use crate::schedule::Schedule;

/// Batches that are made before they are asked for.
const N_AHEAD: usize = 2;

/// Images of one step, in the main memory.
#[derive(Debug)]
pub(crate) struct HostBatch {
    /// `[batch, channels, height, width]`.
    pixels: Vec<f32>,
    labels: Vec<usize>,
}

impl HostBatch {
    /// Loads images by index; `epoch` (from 0) decides their augmentation.
    pub(crate) fn load(data: &dyn Dataset, split: Split, indices: &[usize], epoch: u64) -> Self {
        let n_values = data.image_shape().n_values();
        let mut pixels = vec![0.0f32; indices.len() * n_values];
        let images = indices.iter().zip(pixels.chunks_exact_mut(n_values));
        let labels = images.map(|(&index, image)| data.image(split, index, epoch, image)).collect();
        Self { pixels, labels }
    }

    /// Brings the batch to the device.
    pub(crate) fn upload(self, data: &dyn Dataset, device: &Device) -> Batch {
        let (shape, n_classes, n_images) = (data.image_shape(), data.n_classes(), self.labels.len());
        let mut targets = vec![0.0f32; n_images * n_classes];
        for (row, &label) in targets.chunks_exact_mut(n_classes).zip(&self.labels) {
            row[label] = 1.0;
        }
        let pixels = TensorData::new(self.pixels, [n_images, shape.channels, shape.height, shape.width]);
        let targets = TensorData::new(targets, [n_images, n_classes]);
        Batch {
            images: Tensor::from_data(pixels, device),
            targets: Tensor::from_data(targets, device),
            labels: self.labels,
        }
    }
}

/// Images and their classes on the device.
pub(crate) struct Batch {
    /// `[batch, channels, height, width]`.
    pub(crate) images: Tensor<4>,
    /// `[batch, classes]`: 1 at the image's class, else 0.
    pub(crate) targets: Tensor<2>,
    pub(crate) labels: Vec<usize>,
}

/// Which images the steps of a run see.
#[derive(Debug)]
pub(crate) struct BatchOrder {
    pub(crate) seed: u64,
    pub(crate) batch_size: usize,
}

/// Starts a thread that loads the batches of the steps from `first` on and keeps a few of them ready. It ends when the
/// receiver is dropped.
pub(crate) fn load_ahead<'scope>(
    scope: &'scope Scope<'scope, '_>,
    data: &'scope dyn Dataset,
    schedule: &'scope Schedule,
    order: BatchOrder,
    first: u64,
) -> Receiver<HostBatch> {
    let (sender, receiver) = sync_channel(N_AHEAD);
    scope.spawn(move || send_batches(data, schedule, &order, first, &sender));
    receiver
}

fn send_batches(
    data: &dyn Dataset,
    schedule: &Schedule,
    order: &BatchOrder,
    first: u64,
    sender: &SyncSender<HostBatch>,
) {
    let n_images = data.n_images(Split::Train);
    let mut permutation = Vec::new();
    for step in first..=schedule.n_steps {
        let (epoch, batch) = schedule.place(step);
        if batch == 0 || step == first {
            permutation = Stream::new(order.seed, Purpose::Shuffle, epoch, 0).permutation(n_images);
        }
        let start = batch as usize * order.batch_size;
        let indices = &permutation[start..n_images.min(start.saturating_add(order.batch_size))];
        if sender.send(HostBatch::load(data, Split::Train, indices, epoch)).is_err() {
            return;
        }
    }
}
