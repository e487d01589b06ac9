//! `--reference`: files coded against earlier versions of themselves.

use lmgc_testkit::Random;

use crate::sandbox::Sandbox;

/// A one-dimensional npy file of f32 values.
fn npy(values: &[f32]) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}", values.len());
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&(header.len() as u16).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    values.iter().for_each(|value| file.extend_from_slice(&value.to_le_bytes()));
    file
}

/// Two checkpoints, `a.npy` and `b.npy`, a thousandth apart, and something else, `c.npy`.
fn checkpoints() -> (Sandbox, Vec<u8>) {
    let mut random = Random::new(1);
    let mut uniform = || (random.next_u64() >> 40) as f32 / (1 << 24) as f32 - 0.5;
    let before: Vec<f32> = (0..20_000).map(|_| uniform()).collect();
    let after: Vec<f32> = before.iter().map(|w| w + 1e-3 * uniform()).collect();
    let sandbox = Sandbox::new();
    let after = npy(&after);
    sandbox.write("a.npy", &npy(&before));
    sandbox.write("b.npy", &after);
    sandbox.write("c.npy", &npy(&before[..100]));
    (sandbox, after)
}

#[test]
fn a_checkpoint_comes_back_with_its_reference_alone() {
    let (sandbox, after) = checkpoints();
    sandbox.ok(&["compress", "b.npy", "-o", "alone"]);
    sandbox.ok(&["compress", "b.npy", "-o", "against", "--reference", "a.npy"]);
    assert!(sandbox.read("against").len() * 100 < sandbox.read("alone").len() * 75);
    sandbox.ok(&["verify", "against", "--reference", "a.npy"]);
    sandbox.ok(&["decompress", "against", "-o", "back.npy", "--reference", "a.npy"]);
    assert!(sandbox.read("back.npy") == after);
    let inspected = sandbox.ok(&["inspect", "against", "--json"]).json();
    let hash = inspected[0]["settings"]["reference"].as_str().unwrap().to_owned();

    for args in [&["decompress", "against", "-o", "x"][..], &["verify", "against"]] {
        let refused = sandbox.run(args);
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains("--reference") && refused.stderr.contains(&hash), "{}", refused.stderr);
    }
    let refused = sandbox.run(&["decompress", "against", "-o", "x", "--reference", "c.npy"]);
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("the one given has"), "{}", refused.stderr);
    let refused = sandbox.run(&["decompress", "against", "-o", "x", "--reference", "none.npy"]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("cannot use none.npy as the reference"), "{}", refused.stderr);
    assert!(!sandbox.path("x").exists());
}

#[test]
fn references_that_cannot_serve_are_refused() {
    let (sandbox, _) = checkpoints();
    for (args, message) in [
        (&["compress", "b.npy", "--reference", "c.npy"][..], "namesake"),
        (&["compress", "b.npy", "--reference", "a.npy", "-1"], "level -3"),
        (&["compress", "b.npy", "--reference", "a.npy", "--codec", "zstd"], "--codec structural"),
    ] {
        let refused = sandbox.run(args);
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains(message), "{}", refused.stderr);
        assert!(!sandbox.path("b.npy.lmgc").exists());
    }
}
