//! Memory that is given back.

use core::ffi::c_void;
use core::ops::Range;

#[cfg(target_pointer_width = "32")]
use libc::{Elf32_Ehdr as FileHeader, Elf32_Phdr as ProgramHeader};
#[cfg(target_pointer_width = "64")]
use libc::{Elf64_Ehdr as FileHeader, Elf64_Phdr as ProgramHeader};

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

/// Lets go of the pages of the program file that starting up brought in: code and constants. What is needed comes back from the
/// page cache when it is next used, and that is far less than was needed to start. Source: madvise(2); getauxval(3).
pub fn let_go_of_program() {
    // SAFETY: getauxval has no memory effects.
    let (headers, count) = unsafe { (libc::getauxval(libc::AT_PHDR), libc::getauxval(libc::AT_PHNUM)) };
    let Some(first) = core::ptr::NonNull::new(headers as *mut ProgramHeader) else { return };
    let Ok(count) = usize::try_from(count) else { return };
    // SAFETY: the kernel says that so many program headers of this file stand there; they are never written.
    let headers = unsafe { core::slice::from_raw_parts(first.as_ptr(), count) };
    // The headers stand behind the file's own header, at the start of what is mapped from its beginning.
    let Some(start) = headers.iter().find(|header| header.p_type == libc::PT_LOAD && header.p_offset == 0) else {
        return;
    };
    let bias = (first.as_ptr() as usize).wrapping_sub(size_of::<FileHeader>()).wrapping_sub(of_program(start.p_vaddr));
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0) {
        let address = bias.wrapping_add(of_program(header.p_vaddr)) / page_bytes() * page_bytes();
        // SAFETY: the range is a mapping of the program file that nobody ever wrote to: what is let go is read again,
        // the same, from the file.
        unsafe { libc::madvise(address as *mut c_void, of_program(header.p_memsz), libc::MADV_DONTNEED) };
    }
}

/// A number of a program header, which always fits the program's own address space.
fn of_program(number: impl TryInto<usize>) -> usize {
    number.try_into().unwrap_or(0)
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
