//! `memcpy` for short pieces. musl's copies with a string instruction, whose start alone costs thirty cycles; a log line is
//! made of pieces of five to fifty bytes, and half of the time to render one went there.
//!
//! This definition takes the place of the C library's in a static program: the linker looks into the library only for what
//! is still missing.

#[cfg(all(target_arch = "x86", target_feature = "sse2"))]
use core::arch::x86::{__m128i, _mm_loadu_si128, _mm_storeu_si128};
#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_storeu_si128};

/// Above this many bytes the string instruction is the faster one.
const LONG_BYTES: usize = 512;

/// Copies `count` bytes; the ranges do not overlap. Source: ISO C, `memcpy`.
///
/// # Safety
///
/// As for [`core::ptr::copy_nonoverlapping`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: every load and store below lies within `count` bytes of `from` and `to`. Two that overlap each other copy
    // the same bytes twice.
    unsafe {
        match count {
            0 => {}
            1 => *to = *from,
            2..4 => ends::<u16>(to, from, count),
            4..8 => ends::<u32>(to, from, count),
            8..16 => ends::<u64>(to, from, count),
            16..LONG_BYTES => {
                let mut done = 0;
                while done + 16 <= count {
                    block(to.add(done), from.add(done));
                    done += 16;
                }
                block(to.add(count - 16), from.add(count - 16));
            }
            _ => string(to, from, count),
        }
    }
    to
}

/// Copies `count` bytes; the ranges may overlap. musl's own uses a second name of its `memcpy`: with that, the library's
/// whole `memcpy` would be linked beside ours. Source: ISO C, `memmove`.
///
/// # Safety
///
/// As for [`core::ptr::copy`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    let blocks_bytes = count / 16 * 16;
    // SAFETY: all within the ranges. What is stored lies only where everything was already loaded: towards lower addresses
    // from the front, towards higher ones from the end.
    unsafe {
        if (to as usize).wrapping_sub(from as usize) >= count {
            for done in (0..blocks_bytes).step_by(16) {
                block(to.add(done), from.add(done));
            }
            for done in blocks_bytes..count {
                to.add(done).write_volatile(*from.add(done));
            }
        } else {
            for left in (blocks_bytes..count).rev() {
                to.add(left).write_volatile(*from.add(left));
            }
            for left in (0..blocks_bytes).step_by(16).rev() {
                block(to.add(left), from.add(left));
            }
        }
    }
    to
}

/// Copies the first and the last `T` of a range.
///
/// # Safety
///
/// `count` is at least the size of `T`, and at most twice that.
unsafe fn ends<T: Copy>(to: *mut u8, from: *const u8, count: usize) {
    let last = count - size_of::<T>();
    // SAFETY: both lie within the range, at any alignment.
    unsafe {
        let (head, tail) = (from.cast::<T>().read_unaligned(), from.add(last).cast::<T>().read_unaligned());
        to.cast::<T>().write_unaligned(head);
        to.add(last).cast::<T>().write_unaligned(tail);
    }
}

/// Copies 16 bytes.
///
/// # Safety
///
/// Both ranges are that long.
unsafe fn block(to: *mut u8, from: *const u8) {
    #[cfg(target_feature = "sse2")]
    // SAFETY: as the caller says; the instructions take any alignment.
    unsafe {
        _mm_storeu_si128(to.cast::<__m128i>(), _mm_loadu_si128(from.cast::<__m128i>()));
    }
    #[cfg(not(target_feature = "sse2"))]
    // SAFETY: as the caller says.
    unsafe {
        ends::<u64>(to, from, 16);
    }
}

/// Copies by the processor's string instruction.
///
/// # Safety
///
/// As for [`memcpy`].
unsafe fn string(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: the ABI keeps the direction flag clear; the registers are given back changed, which is said.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        core::arch::asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
        // The compiler keeps esi for itself there.
        #[cfg(target_arch = "x86")]
        core::arch::asm!("xchg esi, {from}", "rep movsb", "mov esi, {from}", from = inout(reg) from => _,
            inout("ecx") count => _, inout("edi") to => _, options(nostack, preserves_flags));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_ranges_are_moved_as_if_by_way_of_a_third() {
        for count in [0, 1, 2, 15, 16, 17, 40, 200] {
            for (to, from) in [(8, 8), (8, 9), (9, 8), (8, 30), (30, 8), (8, 24), (24, 8)] {
                let before: alloc::vec::Vec<u8> = (0..250).collect();
                let mut expected = before.clone();
                expected[to..to + count].clone_from_slice(&before[from..from + count]);
                let mut found = before;
                let start = found.as_mut_ptr();
                // SAFETY: both ranges lie within the vector.
                unsafe { memmove(start.add(to), start.add(from), count) };
                assert_eq!(found, expected, "{count} bytes from {from} to {to}");
            }
        }
    }

    #[test]
    fn every_length_is_copied_and_nothing_beside_it() {
        let from: alloc::vec::Vec<u8> = (0..2000_u32).map(|number| number.to_le_bytes()[0] | 1).collect();
        for count in (0..600).chain([1024, 1999]) {
            for shift in 0..3 {
                let count = count.min(from.len() - shift);
                let mut to = alloc::vec![0; from.len() + 8];
                // SAFETY: both vectors are longer than that.
                unsafe { memcpy(to.as_mut_ptr().add(4), from.as_ptr().add(shift), count) };
                assert_eq!(&to[4..4 + count], &from[shift..shift + count]);
                assert!(to[..4].iter().chain(&to[4 + count..]).all(|&byte| byte == 0));
            }
        }
    }
}
