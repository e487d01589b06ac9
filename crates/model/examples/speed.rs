//! scratch
use std::time::Instant;
use lmgc_model::*;
fn main() {
    let path = std::path::PathBuf::from(std::env::var("HOME").unwrap()).join(".cache/lmgc/models/smollm2-135m/model.gguf");
    let bytes = std::fs::read(&path).unwrap();
    let gguf = lmgc_tensors::gguf::GgufFile::parse(&mut std::io::Cursor::new(&bytes)).unwrap();
    let model = Model::from_gguf_reader(&mut std::io::Cursor::new(&bytes), &gguf).unwrap();
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
                let t = Instant::now();
                for c in tokens.chunks(512) { engine.forward_each(&[Segment { sequence: 0, tokens: c }], |_, l| l[0]).unwrap(); }
                let dt = t.elapsed().as_secs_f64();
                println!("prefill {:.1} tokens/s ({:.3} s)", 2048.0 / dt, dt);
            }
        }
        for n in [16usize, 32, 4, 1] {
            if what != "all" && what != n.to_string() { continue; }
            let mut engine = Engine::new(&model, &output, kernels, n, 2048);
            for s in 0..n { for c in tokens[..1024].chunks(512) { engine.forward_each(&[Segment { sequence: s, tokens: c }], |_, l| l[0]).unwrap(); } }
            for _ in 0..2 {
            let t = Instant::now();
            let steps = 60;
            for i in 0..steps { let b: Vec<_> = (0..n).map(|s| Segment { sequence: s, tokens: &tokens[i..i + 1] }).collect(); engine.forward(&b).unwrap(); }
            let dt = t.elapsed().as_secs_f64();
            println!("decode {n}: {:.1} tokens/s", (n * steps) as f64 / dt);
            }
        }
    });
}
