//! Runs the fuzz targets: builds them all, runs each for some minutes, and says what they found.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
    sync::Mutex,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::{Workspace, run_visibly, stdout_of};

/// Folders whose files a target begins with, beside its seeds.
const MORE_INPUTS: [(&str, &str); 10] = [
    ("safetensors", "testdata/tensors"),
    ("npy", "testdata/tensors"),
    ("archive", "testdata/tensors"),
    ("gguf", "testdata/tensors"),
    ("tokenizer_json", "testdata/tokens/byte_level"),
    ("tokenizer_json", "testdata/tokens/sentence_piece"),
    ("sweep_config", "configs"),
    ("container", "fuzz/seeds/lmgc_file"),
    ("lmgc_file_repaired", "fuzz/seeds/lmgc_file"),
    ("salvage", "fuzz/seeds/lmgc_file"),
];

/// An input may take so many seconds, 256 MiB at once and 2 GiB in all. A second would do, were it not for the address
/// sanitizer and a busy machine.
const LIMITS: [&str; 3] = ["-timeout=10", "-malloc_limit_mb=256", "-rss_limit_mb=2048"];
const MAX_LEN: &str = "-max_len=16384";

/// What to fuzz.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Minutes for each target.
    #[arg(long, default_value_t = 1)]
    minutes: u64,
    /// Only this target; may be given several times.
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
    /// Targets that run at a time [default: the number of cores].
    #[arg(long)]
    jobs: Option<usize>,
}

/// Builds and runs targets. The exit code is 1 if one found something.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let fuzz = Fuzz::new(workspace)?;
    let targets = fuzz.targets(&options.targets)?;
    fuzz.build(&options.targets)?;
    let n_jobs = options.jobs.or_else(|| thread::available_parallelism().ok().map(usize::from)).unwrap_or(1).max(1);
    println!("{} targets, {} min each, {n_jobs} at a time", targets.len(), options.minutes);
    println!("{:<24} {:>12} {:>8} {:>9}  result", "target", "executions", "exec/s", "coverage");
    let queue = Mutex::new(targets.iter());
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..n_jobs.min(targets.len()) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.next());
                    let Some(target) = next else { return };
                    let outcome = fuzz.run_target(target, Duration::from_secs(60 * options.minutes));
                    match &outcome {
                        Ok(Outcome { figures, finding }) => println!("{}", row(target, figures, finding.is_some())),
                        Err(error) => eprintln!("error: {target}: {error:#}"),
                    }
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push((target.clone(), outcome));
                    }
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_default();
    let n_failed = outcomes.iter().filter(|(_, outcome)| outcome.is_err()).count();
    ensure!(n_failed == 0, "{n_failed} targets could not be run");
    let findings: Vec<_> = outcomes
        .iter()
        .filter_map(|(target, outcome)| Some((target, outcome.as_ref().ok()?.finding.as_ref()?)))
        .collect();
    for (target, finding) in &findings {
        println!("\n{target}: {}\n  log: {}", finding.what, fuzz.log(target).display());
        if let Some(input) = &finding.input {
            println!("  input: {}", input.display());
            println!("  again: cargo +nightly fuzz run {target} {} -- {}", input.display(), LIMITS.join(" "));
        }
    }
    match findings.len() {
        0 => println!("\nnothing found"),
        n => println!("\n{n} of {} targets found something", targets.len()),
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The workspace of the fuzz targets.
struct Fuzz {
    root: PathBuf,
    dir: PathBuf,
    target_dir: PathBuf,
    /// The machine that the compiler runs on, as it calls it.
    host: String,
}

impl Fuzz {
    fn new(workspace: &Workspace) -> Result<Self> {
        let rustc = stdout_of(nightly("rustc").arg("-vV"))
            .context("a nightly compiler is needed: `rustup toolchain install nightly`")?;
        stdout_of(nightly("cargo").args(["fuzz", "--version"]))
            .context("cargo-fuzz is needed: `cargo install cargo-fuzz --locked`")?;
        let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).context("`rustc -vV` names no host")?;
        let dir = workspace.root.join("fuzz");
        let own = Workspace::load_from(&dir.join("Cargo.toml"))?;
        Ok(Self { dir, root: workspace.root.clone(), target_dir: own.target_dir, host: host.to_owned() })
    }

    /// All targets, or those asked for.
    fn targets(&self, wanted: &[String]) -> Result<Vec<String>> {
        let path = self.dir.join("Cargo.toml");
        let manifest = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let all = targets_in(&manifest)?;
        if let Some(unknown) = wanted.iter().find(|target| !all.contains(target)) {
            bail!("there is no target {unknown}; there are {}", all.join(", "));
        }
        Ok(if wanted.is_empty() { all } else { wanted.to_vec() })
    }

    fn build(&self, wanted: &[String]) -> Result<()> {
        let mut command = nightly("cargo");
        command.args(["fuzz", "build", "--target", &self.host, "--fuzz-dir"]).arg(&self.dir);
        // One target or all of them is what cargo-fuzz builds.
        if let [only] = wanted {
            command.arg(only);
        }
        run_visibly(&mut command)
    }

    fn log(&self, target: &str) -> PathBuf {
        self.dir.join("artifacts").join(target).join("log")
    }

    fn more_inputs(&self, target: &str) -> impl Iterator<Item = PathBuf> {
        MORE_INPUTS.into_iter().filter(move |(of, _)| *of == target).map(|(_, folder)| self.root.join(folder))
    }

    fn run_target(&self, target: &str, duration: Duration) -> Result<Outcome> {
        let folder = |kind: &str| self.dir.join(kind).join(target);
        let (corpus, artifacts) = (folder("corpus"), folder("artifacts"));
        for folder in [&corpus, &artifacts] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let mut command = Command::new(self.target_dir.join(&self.host).join("release").join(target));
        command.args(LIMITS).args([MAX_LEN, "-print_final_stats=1"]);
        command.arg(format!("-max_total_time={}", duration.as_secs()));
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        // The first folder is where new inputs go.
        let own = [folder("seeds"), folder("regressions")];
        command.arg(&corpus).args(own.into_iter().chain(self.more_inputs(target)).filter(|folder| folder.is_dir()));
        // As cargo-fuzz has it; and each target has one core.
        command.env("ASAN_OPTIONS", "detect_odr_violation=0").env("RAYON_NUM_THREADS", "1");
        let log = File::create(self.log(target)).context("cannot write a log")?;
        command.stdout(log.try_clone().context("cannot write a log")?).stderr(log);
        let status = command.status().with_context(|| format!("cannot start {target}"))?;
        let bytes = fs::read(self.log(target)).context("cannot read a log")?;
        Ok(outcome(&String::from_utf8_lossy(&bytes), status))
    }
}

/// A command of the nightly toolchain, whichever runs this program.
fn nightly(program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", program]);
    // What cargo tells this program about itself; build scripts that look at it would run again and again.
    for (name, _) in env::vars_os() {
        let is_of_this_program = name.to_str().is_some_and(|name| {
            ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "RUSTUP_TOOLCHAIN"].contains(&name)
                || name.starts_with("CARGO_PKG_")
        });
        if is_of_this_program {
            command.env_remove(name);
        }
    }
    command
}

fn targets_in(manifest: &str) -> Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Manifest {
        bin: Vec<Target>,
    }
    #[derive(serde::Deserialize)]
    struct Target {
        name: String,
    }
    let manifest: Manifest = toml::from_str(manifest)?;
    Ok(manifest.bin.into_iter().map(|target| target.name).collect())
}

/// How a target ended.
struct Outcome {
    figures: Figures,
    finding: Option<Finding>,
}

#[derive(Default, PartialEq, Debug)]
struct Figures {
    n_executions: Option<u64>,
    executions_a_second: Option<u64>,
    /// Edges of the program that some input has reached.
    coverage: Option<u64>,
}

#[derive(PartialEq, Debug)]
struct Finding {
    what: String,
    input: Option<PathBuf>,
}

fn outcome(log: &str, status: ExitStatus) -> Outcome {
    let finding = (!status.success()).then(|| finding(log, &status.to_string()));
    Outcome { figures: figures(log), finding }
}

fn figures(log: &str) -> Figures {
    let stat = |name: &str| {
        let line = log.lines().rev().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
        line?.trim_start_matches(':').trim().parse().ok()
    };
    let coverage = log.lines().rev().find_map(|line| line.split_once(" cov: "));
    Figures {
        n_executions: stat("number_of_executed_units"),
        executions_a_second: stat("average_exec_per_sec"),
        coverage: coverage.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok()),
    }
}

/// What a log says of the input that ended the run.
fn finding(log: &str, status: &str) -> Finding {
    let tells = |line: &&str| line.contains("panicked at") || line.contains("ERROR: ") || line.contains("SUMMARY: ");
    let mut what = log.lines().find(tells).unwrap_or(status).trim().to_owned();
    // A panic's message stands below its place.
    let message = log.lines().skip_while(|line| !line.contains("panicked at")).nth(1);
    if let Some(message) = message {
        what = format!("{what} {message}");
    }
    let input = log.lines().rev().find_map(|line| line.split_once("Test unit written to "));
    Finding { what, input: input.map(|(_, path)| Path::new(path.trim()).to_owned()) }
}

fn row(target: &str, figures: &Figures, is_finding: bool) -> String {
    let [n_executions, speed, coverage] =
        [figures.n_executions, figures.executions_a_second, figures.coverage].map(|figure| match figure {
            Some(figure) => figure.to_string(),
            None => "-".to_owned(),
        });
    let result = if is_finding { "FOUND SOMETHING" } else { "ok" };
    format!("{target:<24} {n_executions:>12} {speed:>8} {coverage:>9}  {result}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "INFO: seed corpus: files: 6 min: 1b max: 40b total: 90b rss: 50Mb\n\
        #7\tINITED cov: 95 ft: 96 corp: 6/90b exec/s: 0 rss: 51Mb\n\
        #4096\tpulse  cov: 120 ft: 200 corp: 9/120b lim: 64 exec/s: 2048 rss: 60Mb\n\
        stat::number_of_executed_units: 5000\n\
        stat::average_exec_per_sec:     2500\n";

    #[test]
    fn figures_are_read() {
        let expected = Figures { n_executions: Some(5000), executions_a_second: Some(2500), coverage: Some(120) };
        assert_eq!(figures(LOG), expected);
        assert_eq!(figures("nothing"), Figures::default());
        assert!(row("zstd", &expected, false).ends_with("5000     2500       120  ok"));
    }

    #[test]
    fn findings_name_the_panic_and_the_input() {
        let log = format!(
            "{LOG}thread '<unnamed>' panicked at src/a.rs:1:2:\nno good\n==1== ERROR: libFuzzer: deadly signal\n\
            artifact_prefix='x/'; Test unit written to /f/artifacts/zstd/crash-1\n"
        );
        let found = finding(&log, "exit status: 77");
        assert_eq!(found.what, "thread '<unnamed>' panicked at src/a.rs:1:2: no good");
        assert_eq!(found.input, Some("/f/artifacts/zstd/crash-1".into()));
        assert_eq!(finding("", "signal: 9"), Finding { what: "signal: 9".into(), input: None });
    }

    #[test]
    fn targets_have_their_file() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let targets = targets_in(&fs::read_to_string(dir.join("Cargo.toml")).unwrap()).unwrap();
        let mut files: Vec<_> = fs::read_dir(dir.join("fuzz_targets"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        let mut sorted = targets.clone();
        sorted.sort();
        assert_eq!(sorted, files);
        for (target, folder) in MORE_INPUTS {
            assert!(targets.contains(&target.to_owned()) && dir.join("..").join(folder).is_dir(), "{target} {folder}");
        }
        for target in targets {
            let has_more = MORE_INPUTS.iter().any(|(of, _)| *of == target);
            assert!(has_more || dir.join("seeds").join(&target).is_dir(), "{target} has no seeds");
        }
    }
}
