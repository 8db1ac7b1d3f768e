//! A far end's one loop: it reads, answers, echoes, and keeps the times that were asked for.

use std::net::SocketAddr;

use loadtest::sip::{Message, Method, parse};

use super::carrier::Here;
use super::{FarCall, Io, Odd, T2, media_socket, response};

/// A far end at work.
pub(super) struct Machine<T> {
    pub(super) odd: T,
    pub(super) io: Io,
    pub(super) here: Here,
    pub(super) calls: Vec<FarCall>,
}

impl<T: Odd> Machine<T> {
    /// Waits for a tick at most, and does what has come and what is due.
    pub(super) fn turn(&mut self) {
        let mut buffer = [0; 65_535];
        for (message, source) in self.io.wire.receive() {
            self.hear(&message, source);
        }
        let now = self.io.line.now();
        for call in &mut self.calls {
            for socket in [&call.rtp].into_iter().chain(&call.former) {
                while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                    call.heard_from = Some(from);
                    match call.is_on_hold {
                        true => call.heard_on_hold += 1,
                        false => {
                            let mouth = if call.speaks_ahead { &call.rtp } else { socket };
                            drop(mouth.send_to(&buffer[..len], from));
                        }
                    }
                }
            }
            if let Some(to) = call.heard_from.filter(|_| call.is_on_hold && call.plays_music) {
                call.turns = call.turns.wrapping_add(1);
                if call.turns % 20 == 0 {
                    let _ = call.rtp.send_to(&music(call.turns / 20), to);
                }
            }
            if let Some((ok, at, pause)) = &mut call.unacknowledged
                && *at <= now
            {
                self.io.wire.send(ok, call.source);
                *pause = (*pause * 2).min(T2);
                *at = now + *pause;
            }
            if call.wanted_at.take_if(|at| *at <= now).is_some() {
                self.odd.on_time(&mut self.io, call);
            }
        }
    }

    fn hear(&mut self, bytes: &[u8], source: SocketAddr) {
        let message = parse(bytes).expect("the driver speaks SIP");
        let known = self.calls.iter().position(|call| call.invite.call_id() == message.call_id());
        let Some(at) = known else {
            return match message.method() {
                Method::Invite if message.is_request() => self.invited(message, bytes, source),
                Method::Options if message.is_request() => {
                    let answer = response(&message, self.here, 200, "", None, b"");
                    self.io.wire.send(&self.odd.options(answer), source);
                }
                Method::Register if message.is_request() => {
                    if let Some((code, headers)) = self.odd.on_register(&message) {
                        let answer = response(&message, self.here, code, &headers, None, b"");
                        self.io.wire.send(&answer, source);
                    } else if self.odd.ends_connection() {
                        self.io.wire.close(source);
                    }
                }
                _ => {}
            };
        };
        let Machine { odd, io, calls, .. } = self;
        let call = &mut calls[at];
        call.heard = String::from_utf8_lossy(bytes).into_owned();
        // Another connection may have taken the place of one that has ended.
        call.source = source;
        match message.method() {
            _ if !message.is_request() => odd.on_response(io, call, &message),
            Method::Invite if message.branch() == call.invite.branch() => {}
            Method::Invite if message.to_tag().is_some() => odd.on_reinvite(io, call, &message),
            Method::Invite => {
                call.invite = message;
                odd.on_invite(io, call);
            }
            Method::Ack => {
                if call.unacknowledged.take().is_some() {
                    call.is_up = true;
                    odd.on_ack(io, call);
                }
            }
            Method::Bye => {
                (call.is_up, call.unacknowledged) = (false, None);
                io.send(call, &call.response(&message, 200, "", None, b""));
            }
            Method::Cancel => {
                call.unacknowledged = None;
                io.send(call, &call.response(&message, 200, "", None, b""));
                io.reply(call, 487);
            }
            _ => odd.on_request(io, call, &message),
        }
    }

    fn invited(&mut self, invite: Message, bytes: &[u8], source: SocketAddr) {
        let mut call = FarCall {
            number: self.calls.len(),
            invite,
            heard: String::from_utf8_lossy(bytes).into_owned(),
            contact: self.here,
            source,
            rtp: media_socket(),
            former: Vec::new(),
            speaks_ahead: false,
            cseq: 0,
            unacknowledged: None,
            wanted_at: None,
            is_up: false,
            is_on_hold: false,
            heard_on_hold: 0,
            plays_music: false,
            heard_from: None,
            turns: 0,
        };
        self.odd.on_invite(&mut self.io, &mut call);
        self.calls.push(call);
    }
}

/// A packet of audio of the far end's own.
fn music(number: u16) -> Vec<u8> {
    let timestamp = (u32::from(number) * 160).to_be_bytes();
    [&[0x80, 0][..], &number.to_be_bytes(), &timestamp, b"moh.", &[0x2A; 160]].concat()
}
