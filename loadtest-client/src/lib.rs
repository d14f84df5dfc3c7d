//! A campus of DHCP clients behind a relay, and a ledger of every ACK that they got.
//!
//! | file | idea |
//! | --- | --- |
//! | `conduct` | the kinds of clients: orderly, and those that misbehave |
//! | `client` | one client: time and replies in, messages out (RFC 2131 section 4.4) |
//! | `message` | what a client sends and a server answers, as bytes |
//! | `ledger` | every ACK, in a file that survives a kill; what may never happen |
//! | `engine` | very many clients and relays, in batches and with timers that scale |
//! | `null_server` | a responder that answers from nothing, to measure the host with |
//! | `moment` | times as people read them |
//! | `histogram` | how often something took how long, in little memory |
//! | `registration` | from a lease to a usable network: DNS, the portal's call, what lies beyond the gate |
//! | `result` | what a run led to, as JSON |
//! | `report` | what a person sees of it: text, pages, comparisons |
//! | `random` | numbers from a seed |
//! | `driver` | many clients on one real socket |
//! | `scenario` | what a run does, in TOML |
//! | `run` | a scenario against servers, and its result |
//! | `limits` | what kept a run from being faster |
//! | `screen` | what a person sees while it goes on |
//! | `machine` | what the kernel says of this machine and of processes |
//! | `restart` | whether leases survive a restart of the server |
//! | `story` | what a client went through, for people |
//! | `steer` | rules for a server whose routers may not be touched |
//! | `descriptors` | enough file descriptors, or a word on what to do |
//! | `target` | which servers may be loaded without asking |
//! | `command` | the command line |
//!
//! The client and the ledger are pure: no clock, no socket, no thread. A simulator can drive them.

pub mod client;
pub mod command;
pub mod conduct;
pub mod descriptors;
pub mod driver;
pub mod engine;
pub mod histogram;
pub mod ledger;
pub mod limits;
pub mod machine;
pub mod message;
pub mod moment;
pub mod null_server;
pub mod random;
pub mod registration;
pub mod report;
pub mod restart;
pub mod result;
pub mod run;
pub mod scenario;
pub mod screen;
pub mod steer;
pub mod story;
pub mod target;
