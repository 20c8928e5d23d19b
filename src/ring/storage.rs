//! What the ring asks of a disk.

use core::fmt;

/// One file that can be read and written anywhere.
pub trait Storage {
    /// Bytes in the file.
    fn file_bytes(&self) -> Result<u64, Fault>;
    /// Fills `bytes` from `offset` on; what lies beyond the end of the file reads as zeros.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Fault>;
    /// Writes all of `bytes`. After a failure any part of them may have been written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Fault>;
    /// Returns when everything written so far would survive a power cut.
    fn sync(&mut self) -> Result<(), Fault>;
    /// Makes the file at least this long and claims the space; what was there stays, what is new reads as zeros.
    fn allocate(&mut self, bytes: u64) -> Result<(), Fault>;
}

/// The name under which a ring file stands, and the one beside it under which its successor is built.
pub trait Place {
    /// What stands there.
    type Storage: Storage;
    /// The ring file, if there is one.
    fn current(&mut self) -> Result<Option<Self::Storage>, Fault>;
    /// An empty file beside it; what an interrupted attempt left there is gone.
    fn fresh(&mut self) -> Result<Self::Storage, Fault>;
    /// The fresh file, synced before by the caller, becomes the ring file: at once, and for good when this returns.
    fn adopt(&mut self) -> Result<(), Fault>;
}

/// A disk said no. The number is the kernel's `errno`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// As in errno(3); the numbers of Linux on x86.
    pub errno: i32,
}

impl Fault {
    /// EIO: the device failed.
    pub const DEVICE: Fault = Fault { errno: 5 };
    /// EAGAIN: another process has the file.
    pub const TAKEN: Fault = Fault { errno: 11 };
    /// ENOSPC.
    pub const NO_SPACE: Fault = Fault { errno: 28 };
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno {
            5 => f.write_str("input/output error (EIO)"),
            11 => f.write_str("another process has it open (EAGAIN)"),
            13 => f.write_str("permission denied (EACCES)"),
            27 => f.write_str("file too large (EFBIG)"),
            28 => f.write_str("no space left on device (ENOSPC)"),
            30 => f.write_str("read-only file system (EROFS)"),
            122 => f.write_str("disk quota exceeded (EDQUOT)"),
            errno => write!(f, "errno {errno}"),
        }
    }
}
