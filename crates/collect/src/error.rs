use std::path::PathBuf;

/// What can go wrong while collecting gradients.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that is none of ours.
    #[error("unknown {what} `{name}`: choose one of {valid}")]
    UnknownName {
        /// What kind of thing was named, for instance `data set`.
        what: &'static str,
        /// The name that was given.
        name: String,
        /// The valid names, separated by commas.
        valid: String,
    },
    /// An option outside its range, or at odds with another one.
    #[error("{option} = {value}: {problem}")]
    InvalidOption {
        /// The option as the command line spells it, for instance `--steps`.
        option: &'static str,
        /// The value that was given.
        value: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A data set that lies in files, and nobody said where.
    #[error(
        "the data set `{dataset}` lies in files: give their folder with --data DIR (with --download they are fetched \
         there first)"
    )]
    DataRequired {
        /// The data set.
        dataset: &'static str,
    },
    /// A folder without the files of the data set.
    #[error(
        "no `{dataset}` data in {}: {problem}; give the right folder with --data DIR, or add --download to fetch the data \
         set there", path.display()
    )]
    DataMissing {
        /// The data set.
        dataset: &'static str,
        /// The folder.
        path: PathBuf,
        /// What was looked for, and what was found.
        problem: String,
    },
    /// A file or folder of a data set that is not what it should be.
    #[error("{}: {problem}; copy, fetch or unpack the data set anew", path.display())]
    BadData {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of a data set could not be read.
    #[error("cannot read {}", path.display())]
    ReadData {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// No server gave a file of a data set.
    #[error("cannot download {file}:{}", attempts.iter().map(|attempt| format!("\n  {attempt}")).collect::<String>())]
    Download {
        /// The file.
        file: String,
        /// Each address that was tried and what came of it, in order.
        attempts: Vec<String>,
    },
    /// A device that this build has no support for.
    #[error("device `{device}` is not built in: rebuild with `--features {feature}`, or use `cpu`")]
    DeviceNotBuilt {
        /// The device that was asked for.
        device: String,
        /// The Cargo feature of `lmgc-collect` that adds it.
        feature: &'static str,
    },
    /// The loss is not finite any more, so the gradients are worthless.
    #[error("training diverged: the loss is {loss} at step {step}; another seed or a larger batch may help")]
    Diverged {
        /// The step, from 1.
        step: u64,
        /// The loss, infinite or not a number.
        loss: f32,
    },
    /// A device failed to compute or to hand over its result.
    #[error("device `{device}` failed: {message}")]
    Device {
        /// The device in use.
        device: String,
        /// What burn says.
        message: String,
    },
    /// A directory could not be made.
    #[error("cannot create the directory {}", path.display())]
    CreateDirectory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file of tensors could not be written.
    #[error("cannot write {}", path.display())]
    WriteTensors {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: lmgc_tensors::Error,
    },
    /// A file of tensors could not be read.
    #[error("cannot read {}; take it away, or give --restart, to begin the run anew", path.display())]
    ReadTensors {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: lmgc_tensors::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Another process trains into the same directory.
    #[error("another lmgc is collecting into {}: wait for it, or give another --tag", path.display())]
    RunIsBusy {
        /// The run's directory.
        path: PathBuf,
    },
    /// There is a run in the directory that other settings made.
    #[error(
        "{} holds a run with {setting} = {found}, not {expected}: give the same settings to go on with it, \
         another --tag to keep it, or --restart to begin anew",
        path.display()
    )]
    OtherRun {
        /// The run's directory.
        path: PathBuf,
        /// The setting that differs.
        setting: String,
        /// Its value in the run that is there.
        found: String,
        /// Its value now.
        expected: String,
    },
    /// A state file is not one of this network and optimizer.
    #[error("cannot go on from {}: {problem}; take it away, or give --restart, to begin anew", path.display())]
    BrokenState {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}
