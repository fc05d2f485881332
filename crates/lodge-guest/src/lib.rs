//! What happens inside a guest: seeds, agent, readiness.
