//! A report from result files like those that `lmgc sweep` and `lmgc bench --json` write, and from some that nobody should.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use lmgc_report::{Results, Table, Written, summary, write_report};
use serde_json::{Value, json};

const PLOTS: [&str; 5] =
    ["rate-by-codec", "rate-by-bytes-per-group", "rate-by-window", "rate-by-throughput", "bits-by-field"];

fn cell(data: (&str, &str), draw: u32, codec: &str, rate: f64, settings: Value) -> Value {
    let mut all = json!({
        "dataset": data.0, "arch": data.1, "tag": "0", "draw": draw, "num_subsample": 1, "sample_bytes": 8192,
        "preprocess": "none", "model": null, "mix": false, "threads": 2, "versions": {"lmgc": "0.1.0"},
    });
    let name = format!("{}-{}/0 draw={draw} {codec} {settings}", data.0, data.1);
    for (key, value) in settings.as_object().unwrap() {
        all[key] = value.clone();
    }
    json!({
        "sweep": "small", "cell": name, "status": "ok", "measure": "file", "input": format!("{}-{}/0", data.0, data.1),
        "codec": codec, "settings": all, "files": ["grad_00000020.safetensors"], "raw_bytes": 8192,
        "compressed_bytes": (81.92 * rate) as u64, "rate_percent": rate, "bits_per_value": 0.32 * rate,
        "compress_mb_per_s": 1.0 / rate, "decompress_mb_per_s": 2.0 / rate, "seconds": 1.5, "round_trip": true,
        "error": null,
    })
}

/// Two data sets and architectures, two formats, windows and numbers of bytes, three draws; estimates, failures, lossy
/// steps and a torn line.
fn sweep() -> String {
    let mut cells = Vec::new();
    for data in [("digits", "convnet"), ("digits", "resnet18"), ("synthetic", "convnet"), ("synthetic", "resnet18")] {
        let base = if data.1 == "convnet" { 50.0 } else { 90.0 };
        for draw in 1..=3 {
            let off = f64::from(draw);
            for (format, n_bytes, window) in
                [("hex-space", 4, 256), ("hex-space", 4, 2048), ("hex-space", 1, 256), ("hex-none", 4, 256)]
            {
                let settings = json!({"model": "smollm2-135m", "format": format, "bytes_per_group": n_bytes,
                    "window": window, "mask": "alphabet"});
                let rate = base + off + f64::from(n_bytes) - f64::from(window) / 1024.0;
                let mut lm = cell(data, draw, "lm", rate, settings.clone());
                lm["bits_by_field"] = json!([{"field": "separators", "bits_per_value": 0.1},
                    {"field": "byte 3", "bits_per_value": 5.9}, {"field": "byte 2", "bits_per_value": 8.0}]);
                cells.push(lm);
                let mut estimate = cell(data, draw, "lm", rate - 10.0, settings);
                estimate["measure"] = json!("estimate");
                estimate["cell"] = json!(format!("estimate {}", estimate["cell"]));
                for none in ["compress_mb_per_s", "decompress_mb_per_s", "round_trip"] {
                    estimate[none] = Value::Null;
                }
                cells.push(estimate);
            }
            let mut structural = cell(data, draw, "structural", base - 12.0 + off, json!({}));
            structural["bits_by_field"] = json!([{"field": "sign", "bits_per_value": 1.0},
                {"field": "mantissa", "bits_per_value": 20.0}, {"field": "a field of another time", "bits_per_value": 2.0}]);
            cells.push(structural);
            cells.push(cell(data, draw, "gzip", base + 2.0 * off, json!({"level": 9})));
            cells.push(cell(data, draw, "gzip", 30.0 + off, json!({"level": 9, "preprocess": "quantization8"})));
            let mut failed = cell(data, draw, "fpzip", 0.0, json!({}));
            failed["status"] = json!("failed");
            failed["error"] = json!("<script>alert(\"1\")</script>, said | the codec\nand left");
            cells.push(failed);
        }
    }
    let lines: Vec<String> = cells.iter().map(Value::to_string).collect();
    lines.join("\n") + "\n{\"sweep\":\"small\",\"cell\":\"tor"
}

struct Report {
    directory: tempfile::TempDir,
    written: Written,
}

impl Report {
    fn of(results: &Results, title: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let written = write_report(results, title, &directory.path().join("new/report")).unwrap();
        Self { directory, written }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("new/report").join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn names(&self) -> BTreeSet<String> {
        fs::read_dir(self.path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// What holds for every report.
    #[track_caller]
    fn check(&self) {
        let listed: BTreeSet<String> =
            self.written.files.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        assert_eq!(self.names(), listed, "nothing else, and no temporary file");
        let html = self.text("index.html");
        check_page(&html);
        let skipped: Vec<&str> = self.written.skipped_plots.iter().map(|(name, _)| name.as_str()).collect();
        for name in PLOTS {
            let is_there = listed.contains(&format!("{name}.svg"));
            assert_eq!(is_there, listed.contains(&format!("{name}.png")));
            assert_eq!(is_there, !skipped.contains(&name), "{name}");
            if is_there {
                check_svg(&self.text(&format!("{name}.svg")));
                check_png(&self.path(&format!("{name}.png")));
                assert!(html.contains(&format!("<figure id=\"{name}\">")));
            } else {
                assert!(html.contains(&format!("No plot {name}: ")));
            }
        }
        for name in ["summary.csv", "cells.csv"] {
            let mut reader = csv::Reader::from_path(self.path(name)).unwrap();
            assert!(reader.headers().unwrap().len() > 20);
            // Rows of another length would be errors.
            assert!(reader.records().all(|record| record.is_ok()), "{name}");
        }
    }
}

/// Elements are closed, and nothing is fetched.
#[track_caller]
fn check_page(html: &str) {
    let without_doctype = html.strip_prefix("<!DOCTYPE html>\n").unwrap();
    for tag in ["table", "tr", "td", "th", "section", "figure", "svg", "dl", "p", "div", "button"] {
        let n_opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(n_opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    assert!(!without_doctype.replace("http://www.w3.org/2000/svg", "").contains("http"), "a page that fetches nothing");
    for fetching in ["<link", "<img", "<iframe", " src=", "url(", "@import"] {
        assert!(!html.contains(fetching), "{fetching}");
    }
    assert_eq!(html.matches("<script").count(), 1);
    assert!(!html.contains("NaN") && !html.contains(">inf"));
}

#[track_caller]
fn check_svg(svg: &str) {
    let document = roxmltree::Document::parse(svg).unwrap();
    assert_eq!(document.root_element().tag_name().name(), "svg");
    assert!(document.descendants().count() > 10);
    assert!(document.descendants().any(|node| node.text().is_some_and(|text| text.contains("lower is better"))));
    for node in document.descendants() {
        for attribute in node.attributes().filter(|attribute| attribute.name() != "class") {
            let value = attribute.value();
            assert!(!value.contains("NaN") && !value.contains("inf"), "{}={value}", attribute.name());
        }
    }
    assert!(!svg.contains("var("), "a picture by itself has colours of its own");
}

/// White at the corner, and enough that is not.
#[track_caller]
fn check_png(path: &Path) {
    let bytes = fs::read(path).unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.width, 1760, "twice 880");
    let size = info.color_type.samples();
    assert_eq!(pixels[..size], vec![255; size]);
    let n_dark = pixels.chunks(size).filter(|pixel| pixel[..3].iter().any(|&value| value < 160)).count();
    assert!(n_dark > 1000, "{}: {n_dark} dark pixels", path.display());
}

fn parse(text: &str) -> Results {
    Results::parse("results.jsonl", text.as_bytes()).unwrap()
}

fn row<'a>(table: &'a Table, name: &str) -> &'a [String] {
    table.rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("no row {name}: {table:?}"))
}

#[test]
fn a_sweep_becomes_a_page_tables_and_plots() {
    let results = parse(&sweep());
    assert_eq!((results.n_ok(), results.n_failed(), results.n_torn()), (132, 12, 1));
    let report = Report::of(&results, "A <small> sweep");
    report.check();
    assert_eq!(report.written.skipped_plots, []);
    assert_eq!(report.written.files.len(), 4 + 2 * PLOTS.len());
    let html = report.text("index.html");
    assert!(html.contains("<title>A &lt;small&gt; sweep</title>"));
    for part in ["132 ok, 12 failed", "smollm2-135m", "lmgc 0.1.0", "digits, synthetic", "One last line breaks off"] {
        assert!(html.contains(part), "{part}");
    }
    assert!(report.text("tables.md").starts_with("# A &lt;small&gt; sweep\n"));
}

#[test]
fn rates_are_those_counted_by_hand() {
    let tables = summary(&parse(&sweep()));
    assert_eq!(tables.len(), 2);
    let header = ["codec", "digits, convnet", "digits, resnet18", "synthetic, convnet", "synthetic, resnet18", "mean"];
    assert_eq!(tables[0].headers, header);
    // 50 + 1, 2, 3 + 4 - 0.25: mean 55.75, deviation 1.
    assert_eq!(row(&tables[0], "lm hex-space g4 w256")[1..3], ["55.75 ± 1.00", "95.75 ± 1.00"]);
    // 2, 4, 6 on top: deviation 2.
    assert_eq!(row(&tables[0], "gzip")[1..], ["54.00 ± 2.00", "94.00 ± 2.00", "54.00 ± 2.00", "94.00 ± 2.00", "74.00"]);
    assert_eq!(row(&tables[0], "structural")[1], "40.00 ± 1.00*");
    assert_eq!(row(&tables[0], "fpzip")[1..], ["failed", "failed", "failed", "failed", "–"]);
    // Less than any measured rate on these data would be; still not the best.
    assert_eq!(row(&tables[0], "lm hex-space g4 w2048 (est.)")[1], "≈ 44.00 ± 1.00");
    assert_eq!(tables[1].title, "Rate in percent, after quantization8");
    assert_eq!(row(&tables[1], "gzip")[1], "32.00 ± 1.00");
}

#[test]
fn estimates_are_labelled_everywhere() {
    let report = Report::of(&parse(&sweep()), "x");
    assert!(report.text("index.html").contains("ideal code lengths, for which nothing was written or decoded"));
    assert!(report.text("tables.md").contains("| lm hex-space g4 w256 (est.) | ≈ 45.75 ± 1.00 |"));
    assert!(report.text("summary.csv").contains(",estimate,3,0,45.75,1,"));
    let svg = report.text("rate-by-codec.svg");
    assert!(svg.contains("class=\"hollow k0\"") && svg.contains(">lm hex-space g4 w256 (est.)<"));
    assert!(svg.contains(">≈45.8<") || svg.contains(">≈45.7<"), "{svg}");
    assert!(svg.contains("hollow: estimate"));
    assert!(report.text("rate-by-window.svg").contains(">lm hex-space g4 (est.)<"));
}

#[test]
fn what_failed_is_escaped_and_quoted() {
    let report = Report::of(&parse(&sweep()), "x");
    let html = report.text("index.html");
    assert!(html.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;, said | the codec and left"));
    assert!(
        report.text("tables.md").contains("&lt;script&gt;alert(\"1\")&lt;/script&gt;, said \\| the codec and left |")
    );
    let mut reader = csv::Reader::from_path(report.path("cells.csv")).unwrap();
    let column = reader.headers().unwrap().iter().position(|name| name == "error").unwrap();
    let errors: BTreeSet<String> = reader.records().map(|record| record.unwrap()[column].to_owned()).collect();
    assert!(errors.contains("<script>alert(\"1\")</script>, said | the codec\nand left"));
}

#[test]
fn the_same_results_give_the_same_bytes() {
    let reports = [(); 2].map(|()| Report::of(&parse(&sweep()), "x"));
    for name in reports[0].names() {
        assert_eq!(fs::read(reports[0].path(&name)).unwrap(), fs::read(reports[1].path(&name)).unwrap(), "{name}");
    }
}

#[test]
fn bench_lines_stand_by_their_input() {
    let line = |input: &str, codec: &str, level: Value, scope: &str, rate: f64| {
        json!({"input": input, "codec": codec, "settings": {"level": level, "scope": scope, "chunk_bytes": null,
            "rounds": 3, "threads": 1, "model": null, "versions": {"lmgc": "0.1.0"}}, "dtypes": ["f32"], "n_tensors": 2,
            "raw_bytes": 1000, "compressed_bytes": (10.0 * rate) as u64, "rate_percent": rate,
            "compress_mb_per_s": 5.0, "round_trip": true, "error": null})
        .to_string()
    };
    let lines = [
        line("runs/a.safetensors", "zstd", json!(3), "whole", 90.0),
        line("runs/a.safetensors", "zstd", json!(19), "whole", 80.0),
        line("runs/b.safetensors", "zstd", json!(3), "whole", 70.0),
        line("runs/a.safetensors", "structural", json!(5), "file", 60.0),
        line("runs/a.safetensors", "zstd", json!(3), "whole", 91.0),
    ];
    let results = parse(&lines.join("\n"));
    assert_eq!((results.n_ok(), results.n_replaced()), (4, 1));
    let report = Report::of(&results, "x");
    report.check();
    let table = &summary(&results)[0];
    assert_eq!(table.headers, ["codec", "a.safetensors", "b.safetensors", "mean"]);
    assert_eq!(row(table, "zstd:3")[1..], ["91.00", "70.00", "80.50"]);
    assert!(table.notes.iter().any(|note| note.contains("n = 1")));
    let skipped: Vec<&str> = report.written.skipped_plots.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(skipped, ["rate-by-bytes-per-group", "rate-by-window", "bits-by-field"]);
}

#[test]
fn a_plot_that_is_no_more_is_removed() {
    let report = Report::of(&parse(&sweep()), "x");
    assert!(report.path("rate-by-window.png").exists());
    fs::write(report.path("notes.txt"), "mine").unwrap();
    let written = write_report(&parse(r#"{"codec":"gzip","rate_percent":50}"#), "x", &report.path("")).unwrap();
    assert_eq!(written.skipped_plots.len(), 4);
    assert!(!report.path("rate-by-window.png").exists() && !report.path("rate-by-window.svg").exists());
    assert!(report.path("notes.txt").exists());
}

#[test]
fn odd_results_still_come_out() {
    let long = "x".repeat(100_000);
    let many: Vec<String> = (0..300)
        .map(|n| format!(r#"{{"codec":"c{n}","input":"i{}","rate_percent":{n},"compress_mb_per_s":1}}"#, n % 30))
        .collect();
    let fields: Vec<Value> = (0..500).map(|n| json!({"field": format!("f{n}"), "bits_per_value": 1})).collect();
    for (name, lines) in [
        ("nothing", String::new()),
        ("torn", "{".to_owned()),
        ("one without figures", r#"{"codec":"x"}"#.to_owned()),
        ("one", r#"{"codec":"x","rate_percent":50,"compress_mb_per_s":1}"#.to_owned()),
        ("all failed", "{\"codec\":\"x\",\"error\":\"no\"}\n{\"codec\":\"y\",\"status\":\"failed\"}".to_owned()),
        ("no name", r#"{"codec":"","rate_percent":1,"settings":{"dataset":"","arch":"","preprocess":""}}"#.to_owned()),
        (
            "absurd numbers",
            [1e-300, 1e300, 1.7e308, 0.0, 5e-324]
                .map(|x| {
                    json!({"codec": "x", "rate_percent": x, "compress_mb_per_s": x, "bits_per_value": x,
                        "settings": {"dataset": "d", "window": u64::MAX, "level": x},
                        "bits_by_field": [{"field": "f", "bits_per_value": x}, {"field": "g", "bits_per_value": -x}]})
                    .to_string()
                })
                .join("\n"),
        ),
        (
            "long names",
            json!({"codec": long, "error": null, "rate_percent": 5, "compress_mb_per_s": 5, "input": long,
                "settings": {"level": long, "model": long, "preprocess": long, "versions": {"lmgc": long}},
                "bits_by_field": [{"field": long, "bits_per_value": 5}]})
            .to_string(),
        ),
        (
            "markup and controls",
            r#"{"codec":"<b>&\"'\u0000\u0001\ufffe|*","input":"</script><svg onload=x>","rate_percent":5,"compress_mb_per_s":5,
            "settings":{"model":"]]>","level":"-->"},"bits_by_field":[{"field":"<&\u0007","bits_per_value":1}]}"#
                .replace('\n', ""),
        ),
        ("many codecs and inputs", many.join("\n")),
        ("many fields", json!({"codec": "x", "rate_percent": 1, "bits_by_field": fields}).to_string()),
    ] {
        println!("{name}");
        Report::of(&parse(&lines), name).check();
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let message = write_report(&parse(""), "x", &file).unwrap_err().to_string();
    assert!(message.contains("file") && message.contains("give a directory"), "{message}");
}

#[test]
fn flipped_bits_are_an_error_or_another_result() {
    let sweep = sweep();
    let lines: Vec<&str> = sweep.lines().collect();
    let text = [lines[0], lines[1], lines[9]].join("\n") + "\n";
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            if let Ok(results) = Results::parse("x", &bytes) {
                assert!(results.records().len() <= 4);
                assert!(
                    summary(&results).iter().all(|table| table.rows.iter().all(|row| row.len() == table.headers.len()))
                );
            }
        }
    }
}
