//! What the tests of the whole system share: the lab made of namespaces, and the demo that plays in it.

pub mod demo;
pub mod isolated;
pub mod lab;
