//! The program `tunneld`: see the library of the same name.

use std::process::ExitCode;

/// See [`keep_freed_memory`].
const LESSON: usize = 4 << 20;

fn main() -> ExitCode {
    keep_freed_memory();
    tunneld::main()
}

/// Teaches glibc's allocator to keep what a burst of data has used: as it comes, it returns memory
/// to the kernel after every 128 KiB and asks for it back at once, which costs a tenth of the time
/// of a download. A block that is freed once raises that threshold to twice its size
/// (`M_MMAP_THRESHOLD`, mallopt(3)). The block is never touched, so it costs no memory; an
/// allocator of our own was as fast and held ten MiB at rest.
fn keep_freed_memory() {
    drop(std::hint::black_box(vec![0u8; LESSON]));
}
