//! The identity catalogue over whole trees in memory, as each distribution lays them out.

mod cases;
mod house;
mod laws;
