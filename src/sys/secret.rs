//! Overwriting secrets in memory.

use alloc::string::String;
use core::sync::atomic::{Ordering, compiler_fence};

/// Overwrites bytes with zeros in a way that the compiler keeps. Copies made before are not found.
pub fn wipe(bytes: &mut [u8]) {
    for byte in bytes {
        // SAFETY: the pointer comes from a live mutable reference.
        unsafe { core::ptr::write_volatile(byte, 0) };
    }
    compiler_fence(Ordering::SeqCst);
}

/// As [`wipe`]; the string is empty afterwards.
pub fn wipe_string(text: &mut String) {
    wipe(&mut core::mem::take(text).into_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_secret_is_left() {
        let mut bytes = *b"secret";
        wipe(&mut bytes);
        assert_eq!(bytes, [0; 6]);
        let mut text = String::from("secret");
        wipe_string(&mut text);
        assert!(text.is_empty());
    }
}
