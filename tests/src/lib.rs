//! What the tests of the whole system share: the lab made of namespaces.

pub mod lab;
