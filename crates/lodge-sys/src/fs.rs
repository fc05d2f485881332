//! Durable files: write, rename and sync so that a crash leaves old or new, never half.
