//! An SQLite VFS that records every write, plays power cuts back, and fails on demand.
