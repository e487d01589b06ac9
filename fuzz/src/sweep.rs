//! Configurations of sweeps.

use lmgc_sweep::Config;

/// A sweep's TOML file. What it makes of it is not looked at: a matrix may be as large as its author wants.
pub fn sweep_config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(config) = Config::parse(text) {
        let _ = config.runs_dir();
    }
}
