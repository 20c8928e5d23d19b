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

/// Slices of the program file that are mapped apart. The kernel brings in what lies around a page that is touched, up to
/// whole large folios of the page cache since 6.18, but never across mappings.
const SLICE_BYTES: usize = 8 * 1024;
/// Stack below the caller that may have been used, and that is given back.
const STACK_BYTES: usize = 256 * 1024;
/// Bytes below the variable of [`let_go_of_stack`] that are in use all the same: the rest of its frame, and the 128 below the stack
/// pointer that the ABI lets a function use.
const STACK_KEPT_BYTES: usize = 1024;

/// Makes what relocation wrote, pointers to functions above all, read-only for good: "full RELRO". musl's start code does not
/// do it for a static, position-independent program. Source: elf(5), `PT_GNU_RELRO`.
pub fn seal_relocations() {
    let Some(program) = Program::of_this_process() else { return };
    for header in program.headers.iter().filter(|header| header.p_type == libc::PT_GNU_RELRO) {
        let range = program.pages(header);
        // SAFETY: the linker says that nothing writes there once relocation is done.
        unsafe { libc::mprotect(range.start as *mut c_void, range.len(), libc::PROT_READ) };
    }
}

/// Has the kernel keep small slices of the program file apart, for [`let_go`] to bring back only what is used again. Once a process.
/// Source: madvise(2).
pub fn slice_program() {
    for range in Program::of_this_process().iter().flat_map(Program::unwritten) {
        // Every other slice gets an attribute that means nothing here: this process leaves no core dump.
        for slice in range.clone().step_by(2 * SLICE_BYTES) {
            // SAFETY: an attribute of a mapping of the program file; it changes no byte.
            unsafe { libc::madvise(slice as *mut c_void, SLICE_BYTES.min(range.end - slice), libc::MADV_DONTDUMP) };
        }
    }
}

/// Lets go of what an idle process does not need: pages of the program file, which come back from the page cache when they are used
/// again, and [the stack](let_go_of_stack). Source: madvise(2).
pub fn let_go() {
    for range in Program::of_this_process().iter().flat_map(Program::unwritten) {
        // SAFETY: a mapping of the program file that nobody ever wrote to: what is let go is read again, the same.
        unsafe { libc::madvise(range.start as *mut c_void, range.len(), libc::MADV_DONTNEED) };
    }
    let_go_of_stack();
}

/// Lets go of what deeper calls left of the stack below the caller. Source: madvise(2). Not part of another function, whose frame
/// might be larger than what is kept.
#[inline(never)]
fn let_go_of_stack() {
    let here = 0_u8;
    let end = (&raw const here as usize - STACK_KEPT_BYTES) / page_bytes() * page_bytes();
    // SAFETY: the stack grows down, and nothing that is alive stands further below than what is kept; where the stack was
    // never that deep there is no mapping, and nothing happens there.
    unsafe { libc::madvise((end - STACK_BYTES) as *mut c_void, STACK_BYTES, libc::MADV_DONTNEED) };
}

/// This program's file, as it is mapped.
struct Program {
    headers: &'static [ProgramHeader],
    bias: usize,
}

impl Program {
    /// Source: getauxval(3), `AT_PHDR`. `None` if the kernel does not say.
    fn of_this_process() -> Option<Program> {
        // SAFETY: getauxval has no memory effects.
        let (headers, count) = unsafe { (libc::getauxval(libc::AT_PHDR), libc::getauxval(libc::AT_PHNUM)) };
        let first = core::ptr::NonNull::new(headers as *mut ProgramHeader)?;
        // SAFETY: the kernel says that so many program headers stand there; they are never written and never go away.
        let headers = unsafe { core::slice::from_raw_parts(first.as_ptr(), usize::try_from(count).ok()?) };
        // They stand behind the file's own header, at the start of what is mapped from the file's beginning.
        let start = headers.iter().find(|header| header.p_type == libc::PT_LOAD && header.p_offset == 0)?;
        let start_address = first.as_ptr() as usize - size_of::<FileHeader>();
        Some(Program { headers, bias: start_address.wrapping_sub(number(start.p_vaddr)) })
    }

    /// The segments that are never written.
    fn unwritten(&self) -> impl Iterator<Item = Range<usize>> {
        let is_unwritten = |header: &&ProgramHeader| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0;
        self.headers.iter().filter(is_unwritten).map(|header| self.pages(header))
    }

    /// The whole pages from the one that the segment begins in.
    fn pages(&self, header: &ProgramHeader) -> Range<usize> {
        let start = self.bias.wrapping_add(number(header.p_vaddr));
        let end = start + number(header.p_memsz);
        start / page_bytes() * page_bytes()..end / page_bytes() * page_bytes()
    }
}

/// A number of a program header, which always fits the program's own address space.
fn number(field: impl TryInto<usize>) -> usize {
    field.try_into().unwrap_or(0)
}

fn whole_pages(address: usize, length: usize, page: usize) -> Range<usize> {
    let start = address.next_multiple_of(page) - address;
    let end = ((address + length) / page * page).saturating_sub(address);
    if start < end { start..end } else { 0..0 }
}

/// Bytes of a page of memory. Source: sysconf(3), `_SC_PAGESIZE`.
pub fn page_bytes() -> usize {
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
