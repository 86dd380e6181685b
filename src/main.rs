//! The `podzone` program.

fn main() {}
