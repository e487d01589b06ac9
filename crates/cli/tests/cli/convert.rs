//! Tensors carried over to other formats.

use std::io::Cursor;

use lmgc_tensors::find_spans;

use crate::sandbox::{Sandbox, tensor_fixtures};

fn with_fixture(name: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(name, &tensor_fixtures()[name]);
    sandbox
}

/// Names, shapes and bytes, in parameter order.
fn tensors(bytes: &[u8]) -> Vec<(String, Vec<u64>, Vec<u8>)> {
    let layout = find_spans(&mut Cursor::new(bytes)).unwrap();
    let span = |index: usize| &layout.spans[index];
    let data = |index| bytes[span(index).offset as usize..][..span(index).len as usize].to_vec();
    layout.parameter_order().into_iter().map(|i| (span(i).name.clone(), span(i).shape.clone(), data(i))).collect()
}

#[test]
fn checkpoints_go_through_every_format_and_back() {
    let sandbox = with_fixture("protocol4.pt");
    let original = tensors(&sandbox.read("protocol4.pt"));
    // It has a tensor of BF16, which NumPy lacks.
    let said = ["conv.bias", "BF16", "safetensors or pt"];
    sandbox.fails(&["convert", "protocol4.pt", "-o", "x.npz"], 1, &said);
    sandbox.ok(&["convert", "protocol4.pt", "-o", "a.safetensors"]);
    sandbox.ok(&["convert", "a.safetensors", "-o", "b.pth"]);
    sandbox.ok(&["convert", "b.pth", "-o", "c.ckpt"]);
    for name in ["a.safetensors", "b.pth", "c.ckpt"] {
        assert_eq!(tensors(&sandbox.read(name)), original, "{name}");
    }
    assert_eq!(sandbox.read("b.pth"), sandbox.read("c.ckpt"));

    sandbox.write("s.npz", &tensor_fixtures()["stored.npz"]);
    sandbox.write("d.npz", &tensor_fixtures()["compressed.npz"]);
    sandbox.ok(&["convert", "d.npz", "-o", "e.pt"]);
    sandbox.ok(&["convert", "e.pt", "-o", "f.npz"]);
    let stored = tensors(&sandbox.read("s.npz"));
    assert!(stored.len() == 4 && tensors(&sandbox.read("e.pt")) == stored);
    assert_eq!(tensors(&sandbox.read("f.npz")), stored);
}

#[test]
fn what_is_left_out_is_said_once() {
    let sandbox = with_fixture("nested.ckpt");
    let outcome = sandbox.ok(&["convert", "nested.ckpt", "-o", "n.pt"]);
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("epoch, big, lr"), "{}", outcome.stderr);
    assert!(outcome.text().contains("18 tensors"), "{}", outcome.text());
    let outcome = sandbox.ok(&["convert", "-q", "-f", "nested.ckpt", "-o", "n.pt"]);
    assert!(outcome.stderr.is_empty() && outcome.stdout.is_empty());
    let report = &sandbox.ok(&["convert", "--json", "-f", "nested.ckpt", "-o", "n.pt"]).json()[0];
    assert_eq!((&report["from"], &report["to"]), (&"torch".into(), &"pt".into()));
    assert_eq!(
        (&report["n_tensors"], &report["n_left_out"], &report["left_out"][0]),
        (&18.into(), &8.into(), &"epoch".into())
    );
}

#[test]
fn outputs_are_named_and_kept_as_elsewhere() {
    let sandbox = with_fixture("mixed.safetensors");
    let formats = ["--to", "safetensors", "npz", ".pt"];
    sandbox.fails(&["convert", "mixed.safetensors", "-o", "x.bin"], 2, &formats);
    sandbox.fails(&["convert", "mixed.safetensors", "-o", "x", "--to", "gguf"], 2, &["gguf", "npz"]);
    sandbox.fails(&["convert", "mixed.safetensors"], 2, &["--output"]);
    sandbox.fails(&["convert", "-f", "mixed.safetensors", "-o", "mixed.safetensors"], 2, &["input itself"]);
    sandbox.ok(&["convert", "mixed.safetensors", "-o", "x.bin", "--to", "pt"]);
    sandbox.fails(&["convert", "mixed.safetensors", "-o", "x.bin", "--to", "pt"], 1, &["x.bin", "-f"]);
    let original = sandbox.read("x.bin");
    sandbox.write("x.bin", b"precious");
    sandbox.ok(&["convert", "-f", "mixed.safetensors", "-o", "x.bin", "--to", "pt"]);
    assert_eq!(sandbox.read("x.bin"), original);
    let piped = sandbox.ok_pipe(&["convert", "-", "-o", "-", "--to", "pt"], &sandbox.read("mixed.safetensors"));
    assert_eq!(piped.stdout, original);
}

#[test]
fn what_cannot_be_converted_says_why() {
    let fixtures = tensor_fixtures();
    let sandbox = Sandbox::new();
    for (name, code, words) in [
        ("legacy.pt", 1, "torch.save"),
        ("kinds.pt", 1, "to_dense()"),
        ("mixed.gguf", 1, "safetensors, npy, npz"),
        ("text.npy", 1, "no tensors"),
        ("truncated.npy", 3, "truncated"),
        ("trailing.safetensors", 3, "corrupt"),
    ] {
        sandbox.write(name, &fixtures[name]);
        sandbox.fails(&["convert", name, "-o", "x.pt"], code, &[name, words]);
    }
    let whole = &fixtures["nested.ckpt"];
    sandbox.write("cut.ckpt", &whole[..whole.len() - 30]);
    sandbox.fails(&["convert", "cut.ckpt", "-o", "x.npz"], 3, &["cut.ckpt", "cut short"]);
    sandbox.write("noise", b"neither this nor that");
    sandbox.fails(&["convert", "noise", "-o", "x.npz"], 1, &["noise", "none of"]);
    sandbox.fails(&["convert", "absent.pt", "-o", "x.npz"], 1, &["cannot read absent.pt"]);
}
