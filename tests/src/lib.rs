//! What the tests of the whole system share: the lab made of namespaces, the demo that plays in it,
//! the servers that are compared in it, and the simulator that needs neither.

pub mod demo;
pub mod isolated;
pub mod lab;
pub mod servers;
pub mod simulator;
