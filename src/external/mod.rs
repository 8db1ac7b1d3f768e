//! Asterisk's media ways besides RTP, as bytes and messages without sockets: AudioSocket and chan_websocket.

pub mod audiosocket;
pub mod websocket;
