//! Tensors of few levels: f32 values that are whole multiples of one step, such as int8 gradients that were scaled back.
//! Without the step they are whole numbers, which end in zeros.

/// The step is this many times smaller than the smallest magnitude at most.
const MAX_DIVISOR: u32 = 16;
/// Multiples are within ± this.
const MAX_MULTIPLE: f32 = 32_768.0;
/// Values that are looked at before all are.
const N_LOOKS: usize = 256;
/// How far from a whole number a multiple of a step not yet exact may be.
const TOLERANCE: f32 = 0.01;
/// Fewer values are not worth a step.
const MIN_VALUES: usize = 64;

fn numbers(bytes: &[u8]) -> impl Iterator<Item = f32> + Clone {
    bytes.as_chunks::<4>().0.iter().map(|&element| f32::from_le_bytes(element))
}

/// The multiple of a step that a value is, if it is one to the bit.
#[inline(always)]
fn multiple(x: f32, step: f32) -> Option<f32> {
    let multiple = (x / step).round_ties_even();
    // What becomes of a NaN's payload, machines do not agree on.
    (x.is_finite() && (multiple * step).to_bits() == x.to_bits()).then_some(multiple)
}

/// The step of f32 values, little-endian, if all of them are multiples of one to the bit.
pub(super) fn find_step(bytes: &[u8]) -> Option<f32> {
    let n = bytes.len() / 4;
    if n < MIN_VALUES {
        return None;
    }
    // Most tensors are found out here.
    let looks = || numbers(bytes).step_by((n / N_LOOKS).max(1)).map(f32::abs).filter(|&x| x != 0.0);
    let seen = looks().fold(f32::INFINITY, f32::min);
    let is_likely = |step: f32| {
        step.is_normal()
            && looks().all(|x| {
                let multiple = x / step;
                multiple <= MAX_MULTIPLE && (multiple - multiple.round_ties_even()).abs() <= TOLERANCE
            })
    };
    (1..=MAX_DIVISOR).find(|&divisor| is_likely(seen / divisor as f32))?;

    let magnitudes = numbers(bytes).map(f32::abs);
    let (least, most) =
        magnitudes.filter(|&x| x != 0.0).fold((f32::INFINITY, 0.0f32), |(least, most), x| (least.min(x), most.max(x)));
    if !most.is_finite() {
        return None;
    }
    let about = (1..=MAX_DIVISOR).map(|divisor| least / divisor as f32).find(|&step| is_likely(step))?;
    // The largest value says it best; the quotient is rounded.
    let step = most / (most / about).round_ties_even();
    let steps = [step, step.next_down(), step.next_up(), step.next_down().next_down(), step.next_up().next_up()];
    steps.into_iter().find(|&step| step.is_normal() && numbers(bytes).all(|x| multiple(x, step).is_some()))
}

/// Values become the multiples of the step that they are.
pub(super) fn divide(bytes: &mut [u8], step: f32) {
    for element in bytes.as_chunks_mut::<4>().0 {
        let x = f32::from_le_bytes(*element);
        *element = multiple(x, step).unwrap_or(x).to_le_bytes();
    }
}

/// The other way.
pub(super) fn multiply(bytes: &mut [u8], step: f32) {
    for element in bytes.as_chunks_mut::<4>().0 {
        *element = (f32::from_le_bytes(*element) * step).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: impl Iterator<Item = f32>) -> Vec<u8> {
        values.flat_map(f32::to_le_bytes).collect()
    }

    #[test]
    fn steps_are_found_and_taken_away() {
        for step in [1.0, 0.1, 3.1e-7, 1.234_567e-20] {
            for smallest in [1, 3] {
                let levels = (0..1000).map(|i| (i * 37 % 255 - 127) as f32);
                let levels = levels.map(|k| if k.abs() < smallest as f32 { 0.0 } else { k });
                let original = bytes(levels.clone().map(|k| k * step));
                let mut changed = original.clone();
                let found = find_step(&original).unwrap();
                divide(&mut changed, found);
                assert_eq!(changed, bytes(levels), "{step}");
                multiply(&mut changed, found);
                assert_eq!(changed, original);
            }
        }
    }

    #[test]
    fn other_tensors_have_none() {
        let smooth = |i: i32| (i as f32 * 0.37).sin();
        assert_eq!(find_step(&bytes((0..1000).map(smooth))), None);
        let one_off = |i: i32| if i == 777 { 0.123 } else { (i % 100) as f32 * 0.1 };
        assert_eq!(find_step(&bytes((0..1000).map(one_off))), None);
        for odd in [f32::NAN, f32::INFINITY, 1e-45] {
            assert_eq!(find_step(&bytes((0..1000).map(|i| if i == 500 { odd } else { i as f32 * 0.1 }))), None);
        }
        for constant in [0.0, -0.0, 1.0, f32::NAN] {
            let values = bytes((0..100).map(|_| constant));
            if let Some(step) = find_step(&values) {
                let mut changed = values.clone();
                divide(&mut changed, step);
                multiply(&mut changed, step);
                assert_eq!(changed, values);
            }
        }
        assert_eq!(find_step(&bytes((0..10).map(|i| i as f32))), None);
    }
}
