//! What is fed hostile bytes: one function per thing that reads bytes from outside.
