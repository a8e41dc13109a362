//! Exit codes of both programs.

/// Done.
pub const OK: i32 = 0;
/// Done, and findings were reported: `--check`, `verify`, `diff`, `doctor`, a budget of `cost`.
pub const FINDINGS: i32 = 1;
/// Bad usage or bad input.
pub const BAD_INPUT: i32 = 2;
/// The system refused: privileges, the kernel, a file that cannot be written.
pub const REFUSED: i32 = 3;
