//! The ConvNet against PyTorch: with weights and images from a formula, the loss and every gradient agree.
//! `data/make_convnet_pytorch.py` made the fixture and explains it.

use burn::tensor::{Device, Tensor, TensorData};
use lmgc_collect::Architecture;
use lmgc_collect::dataset::ImageShape;
use lmgc_collect::network::{Parameter, cross_entropy};
use serde_json::Value;

/// `n` pseudo-random numbers; the script's `mix`.
fn mix(key: u32, n: usize) -> impl Iterator<Item = u32> {
    (0..n as u32).map(move |i| {
        let mut x = i.wrapping_mul(2_654_435_761).wrapping_add(key.wrapping_mul(40_503));
        for _ in 0..2 {
            x ^= x >> 16;
            x = x.wrapping_mul(0x45d_9f3b);
        }
        x ^ (x >> 16)
    })
}

fn uniform(key: u32, n: usize) -> impl Iterator<Item = f64> {
    mix(key, n).map(|x| f64::from(x >> 8) / f64::from(1 << 24) - 0.5)
}

fn sketch(key: u32, values: &[f32]) -> f64 {
    let signed = mix(key, values.len()).zip(values);
    signed.map(|(x, &value)| if x & 1 == 1 { -f64::from(value) } else { f64::from(value) }).sum()
}

fn weights(place: u32, parameter: &Parameter) -> Vec<f32> {
    let values = uniform(place, parameter.n_values());
    match parameter.shape() {
        [_] if parameter.name().starts_with("features") && parameter.name().ends_with("weight") => {
            values.map(|x| (x + 1.0) as f32).collect()
        }
        [_] => values.map(|x| x as f32).collect(),
        [_, rest @ ..] => {
            let fan_in = rest.iter().product::<usize>() as f64;
            values.map(|x| (x * 2.0 / fan_in.sqrt()) as f32).collect()
        }
        [] => unreachable!("no parameter is a scalar"),
    }
}

fn check(case: &Value) {
    let number = |key: &str| case[key].as_u64().unwrap() as usize;
    let (channels, side, n_classes, batch) = (number("channels"), number("side"), number("n_classes"), number("batch"));
    let device = Device::flex().autodiff();
    let shape = ImageShape { channels, height: side, width: side };
    let (network, mut parameters) = Architecture::ConvNet.build(shape, n_classes, 0, &device);
    let mut place = 0;
    parameters.set_values(|parameter| {
        place += 1;
        weights(place - 1, parameter)
    });

    let pixels: Vec<f32> = uniform(1000, batch * shape.n_values()).map(|x| (x * 4.0) as f32).collect();
    let images = Tensor::<4>::from_data(TensorData::new(pixels, [batch, channels, side, side]), &device);
    let mut targets = vec![0.0f32; batch * n_classes];
    for image in 0..batch {
        targets[image * n_classes + image * 3 % n_classes] = 1.0;
    }
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [batch, n_classes]), &device);

    let loss = cross_entropy(network.forward(&parameters, images), targets);
    let gradients = loss.backward();
    let loss = f64::from(loss.into_scalar::<f32>());
    let expected = case["loss"].as_f64().unwrap();
    assert!((loss - expected).abs() < 1e-4, "loss {loss}, PyTorch {expected}");

    let fixtures = case["gradients"].as_array().unwrap();
    assert_eq!(parameters.len(), fixtures.len());
    let mut norm_of_weight = 0.0;
    for (parameter, fixture) in parameters.iter().zip(fixtures) {
        assert_eq!(parameter.name(), fixture["name"].as_str().unwrap());
        let shape: Vec<usize> = serde_json::from_value(fixture["shape"].clone()).unwrap();
        assert_eq!(parameter.shape(), shape);
        let gradient = parameter.values().grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(gradient.len(), parameter.n_values());

        let norm = fixture["norm"].as_f64().unwrap();
        if parameter.name().ends_with("weight") {
            norm_of_weight = norm;
        }
        let sums: Vec<f64> = serde_json::from_value(fixture["sums"].clone()).unwrap();
        let squares = sums.iter().zip(2000..).map(|(sum, key)| (sketch(key, &gradient) - sum).powi(2));
        let error = (squares.sum::<f64>() / sums.len() as f64).sqrt();
        // A bias in front of a normalisation has a gradient of zero but for rounding, so the layer's weight counts too.
        let bound = 1e-4 * norm.max(1e-2 * norm_of_weight);
        println!("{:20} error {error:.2e} of {bound:.2e}", parameter.name());
        assert!(error <= bound, "{}: error {error:e}, allowed {bound:e}", parameter.name());
    }
}

#[test]
fn loss_and_gradients_agree_with_pytorch() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("data/convnet_pytorch.json")).unwrap();
    assert_eq!(cases.len(), 2);
    cases.iter().for_each(check);
}
