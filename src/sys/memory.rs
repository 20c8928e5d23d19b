//! Memory that is given back.

use core::ops::Range;

/// Gives the pages that lie whole inside `buffer` back to the kernel; they read as zero until written again.
/// For buffers that a burst filled and an idle process should not hold. Source: madvise(2), `MADV_DONTNEED`.
pub fn give_back(buffer: &mut [u8]) {
    let pages = whole_pages(buffer.as_ptr() as usize, buffer.len(), page_bytes());
    if pages.is_empty() {
        return;
    }
    let start = buffer[pages.clone()].as_mut_ptr();
    // SAFETY: the range is page-aligned and lies inside a slice we borrow mutably; anonymous memory then reads as zero,
    // which is a valid value of every byte.
    unsafe { libc::madvise(start.cast(), pages.len(), libc::MADV_DONTNEED) };
}

fn whole_pages(address: usize, length: usize, page: usize) -> Range<usize> {
    let start = address.next_multiple_of(page) - address;
    let end = ((address + length) / page * page).saturating_sub(address);
    if start < end { start..end } else { 0..0 }
}

fn page_bytes() -> usize {
    // SAFETY: sysconf has no memory effects.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_pages_inside_the_buffer_are_given_back() {
        assert_eq!(whole_pages(100, 10_000, 4096), 3996..8092);
        assert_eq!(whole_pages(4096, 4096, 4096), 0..4096);
        assert_eq!(whole_pages(1, 4095, 4096), 0..0);
        assert_eq!(whole_pages(10, 20, 4096), 0..0);
    }

    #[test]
    fn what_lies_beside_whole_pages_keeps_its_bytes() {
        let mut buffer = std::vec![7u8; 3 * 4096];
        give_back(&mut buffer);
        let pages = whole_pages(buffer.as_ptr() as usize, buffer.len(), page_bytes());
        assert!(buffer[..pages.start].iter().all(|&byte| byte == 7));
        assert!(buffer[pages.end..].iter().all(|&byte| byte == 7));
    }
}
