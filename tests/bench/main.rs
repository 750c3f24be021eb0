//! Placeholder while the parts come together.

fn main() {}
