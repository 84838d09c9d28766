//! The program `tunneld`: see the library of the same name.

use std::process::ExitCode;

/// glibc's allocator gives memory back too eagerly for bursts of bulk data, and that costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tunneld::main()
}
