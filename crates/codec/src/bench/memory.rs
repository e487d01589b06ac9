//! Memory of this process, where the system tells (Linux).

/// Most memory that this process has had in use, in bytes, since its start or the last [`reset_peak`].
pub fn peak_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

/// Memory that this process has in use now, in bytes.
pub fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

/// Lets [`peak_bytes`] begin with what is in use now; without effect where the system does not allow it.
pub fn reset_peak() {
    // proc(5): 5 resets the high-water mark. A system that refuses leaves the peak too high, never too low.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn status_bytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_at_least_what_is_in_use() {
        let block = vec![1u8; 32 << 20];
        let resident = resident_bytes().unwrap();
        assert!(resident >= std::hint::black_box(&block).len() as u64);
        assert!(peak_bytes().unwrap() >= 32 << 20);
    }
}
