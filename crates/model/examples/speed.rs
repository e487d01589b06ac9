//! scratch
use lmgc_model::*;
use std::time::Instant;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    let _ = s;
    let mut t = 0.0;
    for e in std::fs::read_dir("/proc/self/task").unwrap() {
        let p = e.unwrap().path().join("schedstat");
        t += std::fs::read_to_string(p).unwrap().split(' ').next().unwrap().parse::<f64>().unwrap() * 1e-9;
    }
    t
}
fn main() {
    let path =
        std::path::PathBuf::from(std::env::var("HOME").unwrap()).join(".cache/lmgc/models/smollm2-135m/model.gguf");
    let model = Model::load(&path, &LoadOptions::default()).unwrap();
    let arg: Vec<String> = std::env::args().collect();
    let kernels = Kernels::with_isa(arg[1].parse().unwrap()).unwrap();
    let threads: usize = arg[2].parse().unwrap();
    let what = arg.get(3).map_or("all", |s| s.as_str());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let output = OutputLayer::restricted(&model, &(0..300u32).map(|i| i * 100).collect::<Vec<_>>()).unwrap();
    let tokens: Vec<u32> = (0..2048u32).map(|i| (i.wrapping_mul(2654435761) >> 8) % 300 * 100).collect();
    pool.install(|| {
        if what == "all" || what == "prefill" {
            let mut engine = Engine::new(&model, &output, kernels, 1, 2048);
            for _ in 0..4 {
                engine.reset(0);
                let (t, c) = (Instant::now(), cpu());
                for c in tokens.chunks(512) {
                    engine.forward_each(&[Segment { sequence: 0, tokens: c }], |_, l| l[0]).unwrap();
                }
                let dt = t.elapsed().as_secs_f64();
                println!(
                    "prefill {:.1} tokens/s ({:.3} s) {:.3} cpu ms/token",
                    2048.0 / dt,
                    dt,
                    (cpu() - c) * 1e3 / 2048.0
                );
            }
        }
        for n in [16usize, 32, 4, 1] {
            if what != "all" && what != n.to_string() {
                continue;
            }
            let mut engine = Engine::new(&model, &output, kernels, n, 2048);
            for s in 0..n {
                for c in tokens[..1024].chunks(512) {
                    engine.forward_each(&[Segment { sequence: s, tokens: c }], |_, l| l[0]).unwrap();
                }
            }
            for _ in 0..2 {
                let (t, c) = (Instant::now(), cpu());
                let steps = 60;
                for i in 0..steps {
                    let b: Vec<_> = (0..n).map(|s| Segment { sequence: s, tokens: &tokens[i..i + 1] }).collect();
                    engine.forward(&b).unwrap();
                }
                let dt = t.elapsed().as_secs_f64();
                println!(
                    "decode {n}: {:.1} tokens/s, {:.3} cpu ms/token",
                    (n * steps) as f64 / dt,
                    (cpu() - c) * 1e3 / (n * steps) as f64
                );
            }
        }
    });
}
