//! Every architecture against PyTorch: names, shapes and order of the parameters, and, with weights and images from a formula, the
//! loss and every gradient. `data/make_pytorch.py` made the fixtures and explains them.

use burn::tensor::{Device, Tensor, TensorData};
use lmgc_collect::Architecture;
use lmgc_collect::dataset::ImageShape;
use lmgc_collect::network::{Parameter, Pass, cross_entropy};
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

/// The script's `initial`.
fn weights(place: u32, parameter: &Parameter) -> Vec<f32> {
    let (name, shape) = (parameter.name(), parameter.shape());
    let fan_in = shape[1..].iter().product::<usize>() as f64;
    let rule = |x: f64| {
        if name.ends_with("pos_enc") || name.ends_with("pos_embedding") {
            x
        } else if shape.len() > 1 {
            x * 2.0 / fan_in.sqrt()
        } else if name.ends_with("bn3.weight") {
            (x + 1.0) / 8.0
        } else if name.ends_with("weight") || name.ends_with("gamma") {
            x + 1.0
        } else {
            x
        }
    };
    uniform(place, parameter.n_values()).map(|x| rule(x) as f32).collect()
}

/// The root mean square of the sketches' errors, which estimates the 2-norm of the gradient's error.
fn error(gradient: &[f32], sums: &[f64]) -> f64 {
    let squares = sums.iter().zip(2000..).map(|(sum, key)| (sketch(key, gradient) - sum).powi(2));
    (squares.sum::<f64>() / sums.len() as f64).sqrt()
}

/// `tolerance` is relative to a gradient's norm, or to a hundredth of its layer's weight's: a bias in front of a normalisation has
/// a gradient of zero but for rounding.
fn check(architecture: Architecture, case: &Value, tolerance: f64, ours: bool) {
    let number = |key: &str| case[key].as_u64().unwrap() as usize;
    let (channels, side, n_classes, batch) = (number("channels"), number("side"), number("n_classes"), number("batch"));
    let device = Device::flex().autodiff();
    let shape = ImageShape { channels, height: side, width: side };
    let (network, mut parameters) = architecture.build(shape, n_classes, 0, &device);
    assert_eq!(parameters.n_values(), number("n_values"));
    let nudges: Vec<(u32, usize, f32)> = serde_json::from_value(case["nudges"].clone()).unwrap();
    let mut place = 0;
    parameters.set_values(|parameter| {
        let mut values = weights(place, parameter);
        for &(_, channel, steps) in nudges.iter().filter(|nudge| nudge.0 == place) {
            values[channel] += steps / 1024.0;
        }
        place += 1;
        values
    });

    let image_key = number("image_key") as u32;
    let pixels: Vec<f32> = uniform(image_key, batch * shape.n_values()).map(|x| (x * 8.0) as f32).collect();
    let images = Tensor::<4>::from_data(TensorData::new(pixels, [batch, channels, side, side]), &device);
    let mut targets = vec![0.0f32; batch * n_classes];
    for image in 0..batch {
        targets[image * n_classes + image * 3 % n_classes] = 1.0;
    }
    let targets = Tensor::<2>::from_data(TensorData::new(targets, [batch, n_classes]), &device);

    let pass = Pass::training(&parameters);
    let mut pass = if ours { pass } else { pass.with_operations_of_burn() };
    let loss = cross_entropy(network.forward(&mut pass, images), targets);
    let gradients = loss.backward();
    let loss = f64::from(loss.into_scalar::<f32>());
    let expected = case["loss"].as_f64().unwrap();
    assert!((loss - expected).abs() < 1e-4, "{architecture}: loss {loss}, PyTorch {expected}");

    let fixtures = case["gradients"].as_array().unwrap();
    assert_eq!(parameters.len(), fixtures.len());
    let mut weight = (String::new(), 0.0);
    let mut worst = 0.0f64;
    for (parameter, fixture) in parameters.iter().zip(fixtures) {
        let name = parameter.name();
        assert_eq!(name, fixture[0].as_str().unwrap());
        let shape: Vec<usize> = serde_json::from_value(fixture[1].clone()).unwrap();
        assert_eq!(parameter.shape(), shape, "{name}");
        let gradient = parameter.values().grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(gradient.len(), parameter.n_values());

        let numbers: Vec<f64> = fixture.as_array().unwrap()[2..].iter().map(|x| x.as_f64().unwrap()).collect();
        let (norm, sums) = (numbers[0], &numbers[1..]);
        let layer = name.rsplit_once('.').map_or("", |(layer, _)| layer);
        if name.ends_with(".weight") {
            weight = (layer.to_owned(), norm);
        }
        let of_weight = if weight.0 == layer { weight.1 } else { 0.0 };
        let scale = norm.max(1e-2 * of_weight);
        let relative = error(&gradient, sums) / scale;
        let own_norm = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        worst = worst.max(relative);
        assert!(relative <= tolerance, "{architecture} {name}: error {relative:e} of {scale:e}");
        assert!((own_norm - norm).abs() <= tolerance * scale, "{architecture} {name}: norm {own_norm:e}, not {norm:e}");
    }
    println!(
        "{architecture} {channels}x{side}x{side}, {n_classes} classes: worst error {worst:.1e} of {tolerance:.0e}"
    );
}

/// All cases with the operations of our own; the first of each kind of network also with burn's, which other devices use.
fn check_all(name: &str, fixtures: &str, tolerance: f64) {
    let fixtures: Value = serde_json::from_str(fixtures).unwrap();
    assert_eq!(fixtures["arch"], name);
    let cases = fixtures["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    cases.iter().for_each(|case| check(name.parse().unwrap(), case, tolerance, true));
    if ["convnet", "vgg11", "resnet18", "resnet18bn", "resnet50", "vit"].contains(&name) {
        check(name.parse().unwrap(), &cases[0], tolerance, false);
    }
}

macro_rules! architectures {
    ($($name:ident: $tolerance:expr,)*) => {
        $(#[test]
        fn $name() {
            check_all(stringify!($name), include_str!(concat!("data/pytorch/", stringify!($name), ".json")), $tolerance);
        })*

        #[test]
        fn every_architecture_is_compared() {
            let compared = [$(stringify!($name)),*];
            assert_eq!(compared.as_slice(), Architecture::ALL.map(Architecture::as_str));
        }
    };
}

architectures! {
    convnet: 1e-4,
    vgg11: 1e-4,
    vgg13: 1e-4,
    vgg16: 1e-4,
    vgg19: 1e-4,
    resnet18: 1e-4,
    resnet34: 1e-4,
    resnet50: 1e-4,
    resnet101: 1e-3,
    resnet152: 1e-3,
    resnet18bn: 1e-4,
    vit: 1e-4,
}
