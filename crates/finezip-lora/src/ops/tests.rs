//! Each operation against finite differences, and against candle's basic operations.

use std::sync::Arc;

use candle_core::{D, Device, Tensor, Var};
use finezip_models::Activation;

use super::heads::HeadSizes;
use super::*;
use crate::frozen::FrozenMatrix;
use crate::random::Random;

type Operation<'a> = &'a dyn Fn(&[Tensor]) -> candle_core::Result<Tensor>;

fn numbers(seed: u64, count: usize) -> Vec<f64> {
    let mut random = Random::new(seed);
    (0..count).map(|_| f64::from(random.symmetric())).collect()
}

fn tensor(seed: u64, shape: &[usize]) -> Tensor {
    Tensor::from_vec(numbers(seed, shape.iter().product()), shape, &Device::Cpu).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// The sum of the result times fixed numbers: every element of the gradient counts.
fn weighed(operation: Operation<'_>, inputs: &[Tensor]) -> Tensor {
    let y = operation(inputs).unwrap();
    let weights = tensor(99, y.dims());
    (y * weights).unwrap().sum_all().unwrap()
}

fn gradients(operation: Operation<'_>, inputs: &[Tensor]) -> Vec<Vec<f64>> {
    let vars: Vec<Var> = inputs.iter().map(|input| Var::from_tensor(input).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let grads = weighed(operation, &tensors).backward().unwrap();
    vars.iter().map(|var| flat(grads.get(var).unwrap())).collect()
}

fn close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let bound = tolerance * (1.0 + expected.abs());
        assert!((found - expected).abs() < bound, "{what} {i}: {found} against {expected}");
    }
}

/// Holds every element of every gradient against a central difference.
fn check(name: &str, operation: Operation<'_>, inputs: &[Tensor]) {
    const STEP: f64 = 1e-5;
    let found = gradients(operation, inputs);
    for (number, input) in inputs.iter().enumerate() {
        let values = flat(input);
        let shifted = |place: usize, by: f64| {
            let mut values = values.clone();
            values[place] += by;
            let mut inputs = inputs.to_vec();
            inputs[number] = Tensor::from_vec(values, input.shape(), &Device::Cpu).unwrap();
            weighed(operation, &inputs).to_scalar::<f64>().unwrap()
        };
        let expected: Vec<f64> = (0..values.len())
            .map(|place| (shifted(place, STEP) - shifted(place, -STEP)) / (2.0 * STEP))
            .collect();
        close(&found[number], &expected, 1e-7, &format!("{name}, gradient of input {number}"));
    }
}

/// Holds results and gradients against those of other operations.
fn same(name: &str, operation: Operation<'_>, reference: Operation<'_>, inputs: &[Tensor]) {
    let (y, expected) = (operation(inputs).unwrap(), reference(inputs).unwrap());
    assert_eq!(y.dims(), expected.dims(), "{name}");
    close(&flat(&y), &flat(&expected), 1e-12, name);
    let references = gradients(reference, inputs);
    for (found, expected) in gradients(operation, inputs).iter().zip(&references) {
        close(found, expected, 1e-11, &format!("{name}, gradient"));
    }
}

#[test]
fn rms_norm() {
    let gain: Vec<f32> = numbers(1, 19).iter().map(|value| 1.0 + *value as f32 / 4.0).collect();
    let norm = RmsNorm { gain: Arc::new(gain.clone()), epsilon: 1e-3 };
    let operation = |x: &[Tensor]| x[0].apply_op1(norm.clone());
    let gain = gain.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
    let gain = Tensor::from_vec(gain, 19, &Device::Cpu).unwrap();
    let reference = |x: &[Tensor]| {
        let square = (x[0].sqr()?.mean_keepdim(D::Minus1)? + f64::from(1e-3_f32))?;
        x[0].broadcast_div(&square.sqrt()?)?.broadcast_mul(&gain)
    };
    let inputs = [tensor(2, &[37, 19])];
    check("rms-norm", &operation, &inputs);
    same("rms-norm", &operation, &reference, &inputs);
    assert!(tensor(2, &[3, 5]).apply_op1(norm).is_err());
}

#[test]
fn gated() {
    let inputs = [(tensor(3, &[5, 40]) * 4.0).unwrap(), tensor(4, &[5, 40])];
    let silu = |x: &[Tensor]| x[0].apply_op2(&x[1], Gated(Activation::Silu));
    check("silu", &silu, &inputs);
    same("silu", &silu, &|x| x[0].silu()? * &x[1], &inputs);
    let gelu = |x: &[Tensor]| x[0].apply_op2(&x[1], Gated(Activation::GeluTanh));
    check("gelu", &gelu, &inputs);
    // candle's own gelu has a rounded gradient.
    let reference = |x: &[Tensor]| {
        let cubic = (x[0].powf(3.0)? * 0.044_715)?;
        let u = ((&x[0] + cubic)? * (2.0 / std::f64::consts::PI).sqrt())?;
        ((&x[0] * 0.5)? * (u.tanh()? + 1.0)?)? * &x[1]
    };
    same("gelu", &gelu, &reference, &inputs);
}

const SIZES: HeadSizes = HeadSizes { sequences: 2, length: 70, kv_heads: 2, group: 3, width: 4 };

fn rotation() -> Rotation {
    let angles = numbers(5, SIZES.length * SIZES.width / 2);
    Rotation {
        cosines: Arc::new(angles.iter().map(|angle| (angle * 3.0).cos() as f32).collect()),
        sines: Arc::new(angles.iter().map(|angle| (angle * 3.0).sin() as f32).collect()),
    }
}

#[test]
fn heads_and_back() {
    let HeadSizes { sequences, length, kv_heads, group, width } = SIZES;
    let rotation = rotation();
    let pack = PackHeads { sizes: SIZES, rotation: Some(rotation.clone()) };
    let operation = |x: &[Tensor]| x[0].apply_op1(pack.clone());
    let table = |values: &[f32]| {
        let values = values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
        Tensor::from_vec(values, (1, length, 1, 1, width / 2), &Device::Cpu).unwrap()
    };
    let (cosines, sines) = (table(&rotation.cosines), table(&rotation.sines));
    let reference = |x: &[Tensor]| {
        let x = x[0].reshape((sequences, length, kv_heads, group, width))?;
        let (a, b) = (x.narrow(4, 0, width / 2)?, x.narrow(4, width / 2, width / 2)?);
        let first = (a.broadcast_mul(&cosines)? - b.broadcast_mul(&sines)?)?;
        let second = (b.broadcast_mul(&cosines)? + a.broadcast_mul(&sines)?)?;
        let rotated = Tensor::cat(&[first, second], 4)?.permute((0, 2, 1, 3, 4))?;
        rotated.contiguous()?.reshape((sequences, kv_heads, length * group, width))
    };
    let inputs = [tensor(6, &[sequences * length, kv_heads * group * width])];
    same("rotated heads", &operation, &reference, &inputs);

    let unrotated = PackHeads { sizes: SIZES, rotation: None };
    let there_and_back =
        |x: &[Tensor]| x[0].apply_op1(unrotated.clone())?.apply_op1(UnpackHeads(SIZES));
    same("heads and back", &there_and_back, &|x| x[0].affine(1.0, 0.0), &inputs);
}

/// Sees from the start of a piece: pieces of 1, 30, 39 tokens in the one row, of 70 in the other.
fn starts() -> Arc<Vec<u32>> {
    let first = (0..70).map(|token| {
        if token < 1 {
            0
        } else if token < 31 {
            1
        } else {
            31
        }
    });
    Arc::new(first.chain((0..70).map(|_| 0)).collect())
}

#[test]
fn attention() {
    let HeadSizes { sequences, length, kv_heads, group, width } = SIZES;
    let attention = Attention { sizes: SIZES, scale: 0.7, starts: starts() };
    let operation = |x: &[Tensor]| x[0].apply_op3(&x[1], &x[2], attention.clone());
    let hidden: Vec<f64> = (0..sequences * length * length)
        .flat_map(|place| {
            let (row, key) = (place / length, place % length);
            let seen = attention.starts[row] as usize <= key && key <= row % length;
            std::iter::repeat_n(if seen { 0.0 } else { -1e9 }, 1)
        })
        .collect();
    let mask = Tensor::from_vec(hidden, (sequences, 1, length, 1, length), &Device::Cpu).unwrap();
    let reference = |x: &[Tensor]| {
        let scores = (x[0].matmul(&x[1].t()?.contiguous()?)? * f64::from(0.7_f32))?;
        let scores = scores.reshape((sequences, kv_heads, length, group, length))?;
        let scores = scores.broadcast_add(&mask)?;
        let scores = scores.reshape((sequences, kv_heads, length * group, length))?;
        let most = scores.max_keepdim(D::Minus1)?.detach();
        let exponentials = scores.broadcast_sub(&most)?.exp()?;
        let sums = exponentials.sum_keepdim(D::Minus1)?;
        exponentials.broadcast_div(&sums)?.matmul(&x[2])
    };
    let queries = [sequences, kv_heads, length * group, width];
    let keys = [sequences, kv_heads, length, width];
    let inputs = [tensor(7, &queries), tensor(8, &keys), tensor(9, &keys)];
    same("attention", &operation, &reference, &inputs);
    assert!(inputs[0].apply_op3(&inputs[0], &inputs[2], attention).is_err());
}

#[test]
fn attention_against_finite_differences() {
    let sizes = HeadSizes { sequences: 2, length: 6, kv_heads: 2, group: 2, width: 4 };
    let starts = Arc::new(vec![0, 0, 2, 2, 2, 5, 0, 0, 0, 0, 1, 2]);
    let attention = Attention { sizes, scale: 0.5, starts };
    let operation = |x: &[Tensor]| x[0].apply_op3(&x[1], &x[2], attention.clone());
    let inputs = [tensor(7, &[2, 2, 12, 4]), tensor(8, &[2, 2, 6, 4]), tensor(9, &[2, 2, 6, 4])];
    check("attention", &operation, &inputs);
}

fn weight(out: usize, columns: usize, with_bias: bool) -> (Arc<LinearWeight>, Tensor, Tensor) {
    let values = tensor(10, &[out, columns]);
    let bias = numbers(11, out);
    let linear = LinearWeight {
        weight: FrozenMatrix::dense(flat(&values), columns),
        bias: with_bias.then(|| bias.iter().map(|value| *value as f32).collect()),
    };
    (Arc::new(linear), values, Tensor::from_vec(bias, out, &Device::Cpu).unwrap())
}

#[test]
fn frozen_linear() {
    let (linear, weight, bias) = weight(11, 7, true);
    let operation = |x: &[Tensor]| x[0].apply_op1(FrozenLinear(linear.clone()));
    let inputs = [tensor(12, &[5, 7])];
    check("frozen linear", &operation, &inputs);
    let reference = |x: &[Tensor]| x[0].matmul(&weight.t()?)?.broadcast_add(&bias);
    same("frozen linear", &operation, &reference, &inputs);
    assert!(tensor(1, &[5, 8]).apply_op1(FrozenLinear(linear)).is_err());
}

#[test]
fn lora_linear() {
    let (linear, weight, _) = weight(11, 7, false);
    for rank in [1, 4, 6] {
        let operation = |x: &[Tensor]| {
            let lora = LoraLinear { linear: linear.clone(), scale: 1.5, dropout: None };
            x[0].apply_op3(&x[1], &x[2], lora)
        };
        let reference = |x: &[Tensor]| {
            let added = x[0].matmul(&x[1].t()?)?.matmul(&x[2].t()?)?;
            x[0].matmul(&weight.t()?)? + (added * 1.5)?
        };
        let inputs = [tensor(13, &[37, 7]), tensor(14, &[rank, 7]), tensor(15, &[11, rank])];
        check("lora linear", &operation, &inputs);
        same("lora linear", &operation, &reference, &inputs);
    }
}

#[test]
fn lora_linear_with_dropout() {
    let (linear, _, _) = weight(11, 7, false);
    let lora = |dropout| LoraLinear { linear: linear.clone(), scale: 1.5, dropout };
    let inputs = [tensor(13, &[37, 7]), tensor(14, &[4, 7]), tensor(15, &[11, 4])];
    let dropped = Some(Dropout { rate: 0.4, key: 5 });
    let operation = |x: &[Tensor]| x[0].apply_op3(&x[1], &x[2], lora(dropped));
    check("lora linear with dropout", &operation, &inputs);
    // About the share that was asked for is dropped, and the mean is kept.
    let zero = tensor(13, &[500, 7]).zeros_like().unwrap();
    let ones = (&zero + 1.0).unwrap();
    let a = Tensor::from_vec(vec![1.0_f64; 7], (1, 7), &Device::Cpu).unwrap();
    let b = Tensor::from_vec(vec![1.0_f64; 11], (11, 1), &Device::Cpu).unwrap();
    let y = ones.apply_op3(&a, &b, lora(dropped)).unwrap();
    let plain = ones.apply_op1(FrozenLinear(linear.clone())).unwrap();
    let added = (y - plain).unwrap();
    let mean = flat(&added).iter().sum::<f64>() / (500.0 * 11.0);
    assert!((mean - 1.5 * 7.0).abs() < 0.4, "{mean}");
    assert!(flat(&added).iter().any(|value| (value - mean).abs() > 1.0));
}

/// A vocabulary of several blocks, tokens without targets among others.
fn head_loss(rows: usize) -> (Arc<FrozenMatrix>, Tensor, Arc<Vec<u32>>) {
    let head = tensor(16, &[rows, 6]);
    let targets = vec![3, IGNORED, rows as u32 - 1, 0, IGNORED, 700.min(rows as u32 - 2)];
    (Arc::new(FrozenMatrix::dense(flat(&head), 6)), head, Arc::new(targets))
}

#[test]
fn head_loss_is_the_cross_entropy() {
    for rows in [40, 512, 9000] {
        let (head, values, targets) = head_loss(rows);
        let operation =
            |x: &[Tensor]| x[0].apply_op1(HeadLoss::new(head.clone(), targets.clone(), 0.25));
        let reference = |x: &[Tensor]| {
            let kept: Vec<u32> = vec![0, 2, 3, 5];
            let wanted: Vec<u32> = kept.iter().map(|row| targets[*row as usize]).collect();
            let kept = Tensor::from_vec(kept, 4, &Device::Cpu)?;
            let wanted = Tensor::from_vec(wanted, (4, 1), &Device::Cpu)?;
            let logits = x[0].index_select(&kept, 0)?.matmul(&values.t()?)?;
            let sums = logits.exp()?.sum_keepdim(1)?.log()?;
            (sums - logits.gather(&wanted, 1)?)?.sum_all()? * 0.25
        };
        // Long states, so that later blocks bring larger logits.
        let inputs = [(tensor(17, &[6, 6]) * 3.0).unwrap()];
        check("head loss", &operation, &inputs);
        same("head loss", &operation, &reference, &inputs);
    }
}

#[test]
fn targets_outside_the_vocabulary_are_errors() {
    let (head, _, _) = head_loss(40);
    let loss = HeadLoss::new(head, Arc::new(vec![40]), 1.0);
    assert!(tensor(1, &[1, 6]).apply_op1(loss).is_err());
}
