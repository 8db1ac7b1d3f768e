//! Shared by the tests: a place for a run, processes that end with their test, a private Asterisk with a
//! service before it, a small SIP caller, and a browser.

mod browser;
mod caller;
pub mod lab;
mod place;
mod ports;
mod process;
mod wait;
pub mod world;

pub use browser::Browser;
pub use caller::{Caller, Echo, Target, authorization};
pub use place::{Place, assert_replaced, cache, program, rows};
pub use ports::Lane;
pub use process::{Guarded, UsersAsterisk, child_of, ends_with, sentences, sipp, start_until, stderr};
pub use wait::{PATIENCE, comes_to_be, comes_true};
