//! Exit codes of both programs.

/// The exit code for success.
pub const OK: i32 = 0;
/// The exit code for findings: of `--check`, `verify`, `diff` and `doctor`, or a budget of `cost`
/// that is exceeded.
pub const FINDINGS: i32 = 1;
/// The exit code for invalid arguments and invalid input.
pub const BAD_INPUT: i32 = 2;
/// The exit code for a request that the system rejected: missing privileges, an unsupported kernel,
/// a file that cannot be written.
pub const REFUSED: i32 = 3;
