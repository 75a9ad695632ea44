//! The 44 faults that a registry, a network or a machine can do to a push, and what must hold after each.

mod answers;
mod case;
mod connections;
mod elsewhere;
mod tokens;
