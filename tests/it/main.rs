//! Every integration test, as one program: it links the crate once.

mod harness;

mod ab;
mod abort;
mod ari_call;
mod asterisk;
mod bad_input;
mod check;
mod ci;
mod command_line;
mod corpus;
mod doubt;
mod echo;
mod exit_codes;
mod far_ends;
mod fault;
mod files;
mod garbage;
mod instrument;
mod messages;
mod odd_media;
mod outputs;
mod own_service;
mod page;
mod report;
mod run;
mod search;
mod service;
mod service_program;
mod service_recovery;
mod setup;
mod terminal;
mod testbed;
mod tidy;
mod truth;
mod version_0_1_0;
