//! One module an instruction set. The only place in this crate with `unsafe` code.

pub mod scalar;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub mod amx;
#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_rans;

/// Four consecutive values of a block, as the vector instructions take them: multiplied at once.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn four(x: &crate::quant::RowBlock, group: usize) -> i32 {
    let (groups, _) = x.0.as_chunks::<4>();
    i32::from_ne_bytes(groups[group].map(|x| x as u8))
}

/// Fetches block `at` of `weights`, if there is one, into the first-level cache. SSE, which every x86-64 machine has.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch(weights: &[crate::product::WeightBlock], at: usize) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    if let Some(block) = weights.get(at) {
        for line in block.0.chunks_exact(64) {
            // SAFETY: a prefetch has no effect but on caches.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr()) };
        }
    }
}
